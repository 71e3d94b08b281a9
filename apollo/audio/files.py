"""Read and write audio files of any format, whole or block by block.

libsndfile (through soundfile) reads WAV, FLAC, AIFF, Ogg and their kin; FFmpeg (through PyAV) reads the rest: MP3, M4A,
WMA, and the sound of video files. MP3 goes to FFmpeg although libsndfile knows it, since FFmpeg reads past damaged
frames. Both skip the encoder's delay and padding as far as the file tells them: MP3 with a LAME header, Opus and Vorbis
come out at the length of their original; an M4A may keep up to a frame of padding at its end.

Waveforms are float32 of shape (channels, samples), nominally within ±1.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

from apollo.audio.resampling import resample
from apollo.errors import AudioFileError

__all__ = ["AudioInfo", "AudioReader", "AudioWriter", "info", "read", "resample", "write"]

log = logging.getLogger(__name__)

_BLOCK = 1 << 18
_UNKNOWN_LENGTH = 1 << 62  # what libsndfile reports for a stream without an end in its header, or above
_FORMATS = {".flac": "FLAC", ".wav": "WAV"}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself.

    Attributes:
        sample_rate: In Hz.
        channels: Number of channels.
        frames: Samples a channel; None where only decoding would tell.
        tags: Title, artist and the like, by lower-case name.
    """

    sample_rate: int
    channels: int
    frames: int | None
    tags: dict[str, str] = field(default_factory=dict)


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
        self._source = _open(self.path)
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

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _open(path: Path) -> _SoundFileSource | _FFmpegSource:
    if path.is_dir():
        raise AudioFileError(f"{path} is a folder, not an audio file; name a file in it.")
    try:
        with path.open("rb") as file:
            head = file.read(3)
    except FileNotFoundError:
        raise AudioFileError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise AudioFileError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from None
    if not head:
        raise AudioFileError(f"{path} is empty (0 bytes); copy or download it again.")
    named_mpeg = path.suffix.lower() in {".mp1", ".mp2", ".mp3"}
    looks_like_mpeg = head == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if not (named_mpeg or looks_like_mpeg):  # libsndfile's MPEG decoder also writes its complaints to stderr
        try:
            return _SoundFileSource(path)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
            pass
    return _FFmpegSource(path)


class _SoundFileSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = soundfile.SoundFile(path)
        frames = self._file.frames
        self.info = AudioInfo(
            self._file.samplerate,
            self._file.channels,
            frames if frames < _UNKNOWN_LENGTH else None,
            {name.lower(): text for name, text in self._file.copy_metadata().items()},
        )

    def read(self, n: int) -> npt.NDArray[np.float32]:
        block = np.empty((n, self.info.channels), dtype=np.float32)
        try:
            # Into a buffer of our own: asked for an array, soundfile sizes it by the header, which may lie.
            filled = self._file.read(out=block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(self._path, str(error)) from None
        return np.ascontiguousarray(filled.T)

    def close(self) -> None:
        self._file.close()


class _FFmpegSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._container = av.open(str(path), metadata_errors="ignore")
        except (av.FFmpegError, ValueError):
            raise _not_audio(path) from None
        if not self._container.streams.audio:
            self._container.close()
            raise _not_audio(path)
        self._blocks = self._decode()
        self._pending: list[npt.NDArray[np.float32]] = []
        try:
            # The first frame tells what the header may not: whether it decodes, and the true rate of HE-AAC.
            first = next(self._blocks, None)
            if first is None:
                raise _not_audio(path)
        except BaseException:
            self._container.close()
            raise
        self._pending = [first]
        stream = self._container.streams.audio[0]
        tags = {**self._container.metadata, **stream.metadata}
        self.info = AudioInfo(
            self._sample_rate, first.shape[0], None, {name.lower(): text for name, text in tags.items()}
        )

    def read(self, n: int) -> npt.NDArray[np.float32]:
        ready = sum(block.shape[1] for block in self._pending)
        while ready < n and (block := next(self._blocks, None)) is not None:
            self._pending.append(block)
            ready += block.shape[1]
        joined = np.concatenate([np.zeros((self.info.channels, 0), np.float32), *self._pending], axis=1)
        self._pending = [joined[:, n:]]
        return joined[:, :n].copy()

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        stream = self._container.streams.audio[0]
        resampler: av.AudioResampler | None = None
        damaged = 0
        try:
            for packet in self._container.demux(stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    damaged += 1
                    continue
                for frame in frames:
                    if resampler is None:
                        self._sample_rate = frame.sample_rate
                        # Named once, so that a stream that changes its mind half-way still gives one kind of block.
                        resampler = av.AudioResampler("fltp", frame.layout, frame.sample_rate)
                    for converted in resampler.resample(frame):
                        yield converted.to_ndarray().astype(np.float32, copy=False)
            if resampler is not None:
                for converted in resampler.resample(None):
                    yield converted.to_ndarray().astype(np.float32, copy=False)
        except av.FFmpegError as error:
            raise _damaged(self._path, str(error)) from None
        if damaged:
            log.warning("%s: %d damaged packets were left out", self._path, damaged)

    def close(self) -> None:
        self._container.close()


def _not_audio(path: Path) -> AudioFileError:
    return AudioFileError(f"{path} is no audio that can be read, or its header is damaged; convert it to WAV or FLAC.")


def _damaged(path: Path, reason: str) -> AudioFileError:
    return AudioFileError(f"{path} is damaged and cannot be read to its end ({reason.rstrip('.')}); copy it again.")


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
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise AudioFileError(f"{path} cannot be written: it is a folder, or is to lie in one that does not exist.")
        self._temporary = self.path.with_name(f".{self.path.stem}-{secrets.token_hex(4)}.part")
        try:
            self._file = soundfile.SoundFile(self._temporary, "w", sample_rate, channels, subtype, format=file_format)
        except (soundfile.LibsndfileError, ValueError) as error:
            self._temporary.unlink(missing_ok=True)
            raise self._failed(error) from None
        for name, text in (tags or {}).items():
            if name in soundfile._str_types:
                setattr(self._file, name, text)

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
            self._file.close()
            if kind is None:
                self._temporary.replace(self.path)
        except (soundfile.LibsndfileError, OSError) as failure:
            raise self._failed(failure) from None
        finally:
            self._temporary.unlink(missing_ok=True)

    def _failed(self, error: Exception) -> AudioFileError:
        return AudioFileError(
            f"{self.path} cannot be written ({str(error).rstrip('.')}); check permissions and free space."
        )
