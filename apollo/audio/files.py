"""Read and write audio files of any format, whole or block by block.

Waveforms are float32 of shape (channels, samples), nominally within ±1. What is read is what FFmpeg and libsndfile read
(see `apollo.audio.decoders`); what is written is FLAC or WAV.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.atomic import replacing
from apollo.audio.decoders import AudioInfo, open_decoder
from apollo.errors import AudioFileError

__all__ = ["AudioInfo", "AudioReader", "AudioWriter", "info", "read", "write"]

_BLOCK = 1 << 18
_FORMATS = {".flac": "FLAC", ".wav": "WAV"}
_FLAC_CHANNELS = 8
_TAGS = {"title", "copyright", "software", "artist", "comment", "date", "album", "license", "tracknumber", "genre"}


def info(path: str | Path) -> AudioInfo:
    """Look at a file without decoding it; raises AudioFileError if it is not readable audio."""
    with AudioReader(path) as reader:
        return reader.info


def read(path: str | Path) -> tuple[npt.NDArray[np.float32], int]:
    """Read a whole file.

    Returns:
        The waveform, float32 of shape (channels, samples), and its sample rate in Hz.

    Raises:
        AudioFileError: The file is missing, is not audio, holds none, or is damaged.
    """
    with AudioReader(path) as reader:
        blocks = []
        while (block := reader.read(_BLOCK)).shape[1]:
            blocks.append(block)
    if not blocks:
        raise AudioFileError(f"{path} holds no audio samples; give another file.")
    return np.concatenate(blocks, axis=1), reader.sample_rate


class AudioReader:
    """Reads a file block by block, so that its length does not matter to memory.

    Args:
        path: The file.

    Raises:
        AudioFileError: The file is missing, is not audio, or is damaged; from `read` as well.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._source = open_decoder(self.path)
        self.info = self._source.info

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.info.sample_rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.info.channels

    @property
    def frames(self) -> int | None:
        """Samples a channel; None where only decoding would tell."""
        return self.info.frames

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n): n until the file ends, none from there on."""
        return self._source.read(n)

    def seek(self, frame: int) -> None:
        """Let the next `read` start at this sample; beyond the end, it will give none.

        What is read there is what reading up to it would have given: the very samples of a lossless format, those of a
        lossy one to 1e-4 of its peak. Where only decoding from the start gives them (AAC, WMA, video files), a seek
        takes as long as that does; elsewhere some milliseconds.

        Args:
            frame: Counted from 0, the first sample that a fresh reader gives.

        Raises:
            ValueError: The frame is negative.
        """
        if frame < 0:
            raise ValueError(f"Cannot seek to sample {frame}; the first one is 0.")
        self._source.seek(frame)

    def count(self) -> int:
        """Samples a channel: exactly as many as reading from start to end gives. Where reading stands does not change.

        Quick where the file tells (as `frames` does), some 0.1 s for minutes of MP3 or M4A, and as long as decoding
        for the rest.
        """
        return self._source.count()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def write(
    path: str | Path,
    waveform: npt.NDArray[np.floating[Any]],
    sample_rate: int,
    subtype: str = "PCM_24",
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a whole waveform of shape (channels, samples); all else as `AudioWriter`."""
    with AudioWriter(path, sample_rate, waveform.shape[0], subtype, tags) as writer:
        for start in range(0, waveform.shape[1], _BLOCK):
            writer.write(waveform[:, start : start + _BLOCK])


class AudioWriter:
    """Writes a WAV or FLAC file block by block; it appears under its name only when it is whole.

    Until then it is a hidden file beside its target. Leaving the `with` block normally renames it; leaving it by an
    exception removes it, and what was there before stays as it was.

    Args:
        path: The file; the format is that of its suffix, .flac or .wav.
        sample_rate: In Hz.
        channels: Number of channels.
        subtype: libsndfile's name of the sample format: PCM_16, PCM_24, for WAV also FLOAT. Integers are clipped at ±1.
        tags: Title, artist and the like, by the names of `AudioInfo.tags`; those that libsndfile lacks are left out.

    Raises:
        AudioFileError: The format cannot hold this, or the file cannot be written; from `write` as well.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        subtype: str = "PCM_24",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        file_format = _FORMATS.get(self.path.suffix.lower())
        if file_format is None:
            raise AudioFileError(f"{path} cannot be written: name it {' or '.join('*' + s for s in _FORMATS)}.")
        if not soundfile.check_format(file_format, subtype):
            known = ", ".join(soundfile.available_subtypes(file_format))
            raise AudioFileError(f"{path} cannot hold samples of kind {subtype!r}; {file_format} can: {known}.")
        if file_format == "FLAC" and channels > _FLAC_CHANNELS:
            raise AudioFileError(
                f"{path} cannot be written: FLAC holds at most {_FLAC_CHANNELS} channels, not {channels}; write .wav."
            )
        try:
            if self.path.is_dir() or not self.path.parent.is_dir():
                raise AudioFileError(
                    f"{path} cannot be written: it is a folder, or is to lie in one that does not exist."
                )
            with ExitStack() as stack:
                temporary = stack.enter_context(replacing(self.path))
                self._file = stack.enter_context(
                    soundfile.SoundFile(temporary, "w", sample_rate, channels, subtype, format=file_format)
                )
                for name, text in (tags or {}).items():
                    if name in _TAGS and text:  # libsndfile refuses empty ones
                        setattr(self._file, name, text)
                self._ending = stack.pop_all()
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            raise self._failed(error) from None

    def write(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Append a block of shape (channels, samples)."""
        if block.shape[0] != self.channels:
            raise AudioFileError(
                f"{self.path} has {self.channels} channel(s), but was given {block.shape[0]} to write."
            )
        try:
            self._file.write(np.ascontiguousarray(block.T, dtype=np.float32))
        except soundfile.LibsndfileError as error:
            raise self._failed(error) from None

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._ending.__exit__(kind, error, traceback)
        except (soundfile.LibsndfileError, OSError) as failure:
            raise self._failed(failure) from None

    def _failed(self, error: Exception) -> AudioFileError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
        return AudioFileError(f"{self.path} cannot be written ({reason}); check permissions and free space.")
