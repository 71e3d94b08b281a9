"""Open an audio file with the library that can read it.

libsndfile (through soundfile) reads WAV, FLAC, AIFF, Ogg and their kin; FFmpeg (through PyAV) reads the rest: MP3, M4A,
WMA, and the sound of video files. MP3 goes to FFmpeg although libsndfile knows it, since FFmpeg reads past damaged
frames. Both skip the encoder's delay and padding as far as the file tells them: MP3 with a LAME header, Opus and Vorbis
come out at the length of their original; an M4A may keep up to a frame of padding at its end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from apollo.errors import AudioFileError

__all__ = ["SUFFIXES", "AudioInfo", "FFmpegDecoder", "SoundFileDecoder", "open_decoder"]

log = logging.getLogger(__name__)

# What to look for in folders; a file that is named is tried whatever it is called.
SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".caf", ".flac", ".m4a", ".mp2", ".mp3", ".mp4"}
    | {".oga", ".ogg", ".opus", ".w64", ".wav", ".wma"}
)

_UNKNOWN_LENGTH = 1 << 62  # what libsndfile reports for a stream without an end in its header, or above


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


def open_decoder(path: Path) -> SoundFileDecoder | FFmpegDecoder:
    """Open a file with the library that can read it; raises AudioFileError if none can."""
    try:
        if path.is_dir():
            raise AudioFileError(f"{path} is a folder, not an audio file; name a file in it.")
        with path.open("rb") as file:
            head = file.read(3)
    except FileNotFoundError:
        raise AudioFileError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise AudioFileError(f"{path} cannot be opened ({error.strerror}); check its name and permissions.") from None
    if not head:
        raise AudioFileError(f"{path} is empty (0 bytes); copy or download it again.")
    named_mpeg = path.suffix.lower() in {".mp1", ".mp2", ".mp3"}
    looks_like_mpeg = head == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if not (named_mpeg or looks_like_mpeg):  # libsndfile's MPEG decoder also writes its complaints to stderr
        try:
            return SoundFileDecoder(path)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
            pass
    return FFmpegDecoder(path)


class SoundFileDecoder:
    """A file that libsndfile reads."""

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
        """The next samples, float32 of shape (channels, at most n)."""
        block = np.empty((n, self.info.channels), dtype=np.float32)
        try:
            # Into a buffer of our own: asked for an array, soundfile sizes it by the header, which may lie.
            filled = self._file.read(out=block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(self._path, str(error)) from None
        return np.ascontiguousarray(filled.T)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FFmpegDecoder:
    """A file that FFmpeg reads; damaged packets are left out, with a warning in the log."""

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
        """The next samples, float32 of shape (channels, at most n)."""
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
        """Close the file."""
        self._container.close()


def _not_audio(path: Path) -> AudioFileError:
    return AudioFileError(f"{path} is no audio that can be read, or its header is damaged; convert it to WAV or FLAC.")


def _damaged(path: Path, reason: str) -> AudioFileError:
    return AudioFileError(f"{path} is damaged and cannot be read to its end ({reason.rstrip('.')}); copy it again.")
