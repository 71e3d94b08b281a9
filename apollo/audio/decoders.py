"""Open an audio file with the library that can read it.

libsndfile (through soundfile) reads WAV, FLAC, AIFF, Ogg and their kin; FFmpeg (through PyAV) reads the rest: MP3, M4A,
WMA, and the sound of video files. MP3 goes to FFmpeg although libsndfile knows it, since FFmpeg reads past damaged
frames. Both skip the encoder's delay and padding as far as the file tells them: MP3 with a LAME header, Opus and Vorbis
come out at the length of their original; an M4A may keep up to a frame of padding at its end.

Both go to any sample of a file and give there what reading up to it would have given. libsndfile does so by itself.
FFmpeg's time stamps lead to the sample where they have no gaps and are fine enough; whether what is decoded there is
the same as well depends on the codec. MP3's is, once its bit reservoir has filled. AAC's is not: the noise that it
fills bands with (perceptual noise substitution, ISO/IEC 14496-3) comes from a generator that runs on from the start.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
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
_BLOCK = 1 << 18

# What libsndfile 1.2.2 gets wrong in Ogg: it misses samples of Vorbis less than 2 s ahead and those of the last page
# (at most 255 packets, RFC 3533, of 1024 samples, as libvorbis makes them), and after a read that ends within the last
# packet of Opus (at most 120 ms at 48 kHz, RFC 6716) it goes on at another sample.
_OGG_NEAR = 3.0
_OGG_PAGE = 255 * 1024
_OPUS_PACKET = 5_760

# How many seconds before a sample decoding must start to give the sample as decoding from the start would have. An MP3
# frame may draw on the 255 bytes (511 in MPEG-1) of sound before it, to which each frame of 24 ms adds as few as three:
# stereo at 8 kbit/s and 24 kHz (ISO/IEC 13818-3, main_data_begin). Of codecs that are not listed nothing is promised.
_MEMORY = {"mp3": 2.5, "alac": 0.0}
# Decoding to the end of the last seconds tells the length, for codecs whose packets all become their own duration.
_TAIL = 3.0
_STEADY = {"mp3", "aac", "alac"}


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
    except (OSError, ValueError) as error:  # ValueError: a name that is not valid text
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be read"
        raise AudioFileError(f"{path!s} cannot be opened ({reason}); check its name and permissions.") from None
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
        self._ahead = np.zeros((0, self._file.channels), np.float32)  # read but not given yet, (samples, channels)
        frames = self._file.frames
        self.info = AudioInfo(
            self._file.samplerate,
            self._file.channels,
            frames if frames < _UNKNOWN_LENGTH else None,
            {name.lower(): text for name, text in self._file.copy_metadata().items()},
        )

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        missing = max(0, n - len(self._ahead))
        stop = self._file.tell() + missing
        if self._file.subtype == "OPUS" and self._file.frames - _OPUS_PACKET < stop < self._file.frames:
            missing += self._file.frames - stop
        block = np.empty((missing, self.info.channels), dtype=np.float32)
        try:
            # Into a buffer of our own: asked for an array, soundfile sizes it by the header, which may lie.
            filled = self._file.read(out=block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _damaged(self._path, str(error)) from None
        ready = np.concatenate([self._ahead, filled]) if len(self._ahead) else filled
        self._ahead = ready[n:]
        return np.ascontiguousarray(ready[:n].T)

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first."""
        length = self.info.frames
        here = self._file.tell() - len(self._ahead)
        if length is None or not self._file.seekable():
            if frame < here:
                self._file.close()
                self._file, self._ahead, here = soundfile.SoundFile(self._path), self._ahead[:0], 0
        else:
            is_ogg = self._file.format == "OGG"
            frame = min(frame, length)
            sure = min(frame, max(0, length - _OGG_PAGE)) if is_ogg else frame
            if not (is_ogg and here <= frame and sure - here <= _OGG_NEAR * self.info.sample_rate):
                try:
                    here = self._file.seek(sure)
                except soundfile.LibsndfileError as error:
                    raise _damaged(self._path, str(error)) from None
                self._ahead = self._ahead[:0]
        while here < frame and (read := self.read(min(frame - here, _BLOCK)).shape[1]):
            here += read

    def count(self) -> int:
        """Samples a channel, as many as reading from the start to the end gives."""
        if self.info.frames is not None:
            return self.info.frames
        with closing(SoundFileDecoder(self._path)) as other:
            total = 0
            while read := other.read(_BLOCK).shape[1]:
                total += read
        return total

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class FFmpegDecoder:
    """A file that FFmpeg reads; damaged packets are left out, with a warning in the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self._damaged = 0
        self._frames = self._decode()
        self._pending: list[npt.NDArray[np.float32]] = []
        self._position = 0  # the first sample of what is pending
        try:
            # The first frame tells what the header may not: whether it decodes, and the true rate of HE-AAC.
            first = next(self._frames, None)
            if first is None:
                raise _not_audio(path)
        except BaseException:
            self._container.close()
            raise
        self._start = first.pts
        self._pending = [_samples(first)]
        tags = {**self._container.metadata, **self._stream.metadata}
        self.info = AudioInfo(
            first.sample_rate, self._pending[0].shape[0], None, {name.lower(): text for name, text in tags.items()}
        )

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        ready = sum(block.shape[1] for block in self._pending)
        while ready < n and (frame := next(self._frames, None)) is not None:
            self._pending.append(_samples(frame))
            ready += frame.samples
        joined = np.concatenate([np.zeros((self.info.channels, 0), np.float32), *self._pending], axis=1)
        self._pending = [joined[:, n:]]
        self._position += min(n, joined.shape[1])
        return joined[:, :n].copy()

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first.

        A damaged packet, which reading leaves out, counts as music unless its header shows it or a read has met it.
        """
        memory = _MEMORY.get(self._codec)
        preroll = round((memory or 0.0) * self.info.sample_rate)
        if not 0 <= frame - self._position <= preroll:
            if memory is not None and frame > preroll and not self._damaged and self._extent is not None:
                self._jump(frame - preroll)
            elif frame < self._position:
                self._restart()
        self._skip(frame)

    def count(self) -> int:
        """Samples a channel, as many as reading all gives; damaged packets count as they do for `seek`."""
        with closing(FFmpegDecoder(self._path)) as other:
            tail = round(_TAIL * self.info.sample_rate)
            if self._codec in _STEADY and not self._damaged and self._extent is not None and self._extent > 2 * tail:
                other._jump(self._extent - tail)
            other._skip(sys.maxsize)
            return other._position

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _open(self) -> None:
        try:
            self._container = av.open(str(self._path), metadata_errors="ignore")
        except (av.FFmpegError, ValueError):
            raise _not_audio(self._path) from None
        if not self._container.streams.audio:
            self._container.close()
            raise _not_audio(self._path)
        self._stream = self._container.streams.audio[0]
        self._codec = self._stream.codec_context.codec.canonical_name

    def _decode(self) -> Iterator[av.AudioFrame]:
        resampler: av.AudioResampler | None = None
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    self._damaged += 1
                    continue
                for frame in frames:
                    if resampler is None:
                        # Named once, so that a stream that changes its mind half-way still gives one kind of block.
                        resampler = av.AudioResampler("fltp", frame.layout, frame.sample_rate)
                    yield from resampler.resample(frame)
            if resampler is not None:
                yield from resampler.resample(None)
        except av.FFmpegError as error:
            raise _damaged(self._path, str(error)) from None
        if self._damaged:
            log.warning("%s: %d damaged packets were left out", self._path, self._damaged)

    @property
    def _per_sample(self) -> Fraction:
        """Units of the time stamps to a sample."""
        return 1 / (self._stream.time_base or Fraction(1)) / self.info.sample_rate

    @cached_property
    def _extent(self) -> int | None:
        """Where the last packet ends, in samples; None where time stamps are too coarse, have gaps or count junk."""
        if self._start is None or self._per_sample.denominator != 1:
            return None
        end = None
        try:
            with av.open(str(self._path), metadata_errors="ignore") as container:
                for packet in container.demux(container.streams.audio[0]):
                    if packet.size:
                        in_step = packet.pts is not None and end in (None, packet.pts) and packet.duration
                        if not in_step or (self._codec == "mp3" and memoryview(packet)[0] != 0xFF):
                            return None
                        end = (packet.pts or 0) + (packet.duration or 0)
        except av.FFmpegError:
            return None
        return None if end is None else int((end - self._start) / self._per_sample)

    def _jump(self, frame: int) -> None:
        """Go on at this sample or a little before it by time stamps, or from the start if they lead nowhere."""
        start = self._start or 0
        try:
            self._container.seek(start + int(frame * self._per_sample), stream=self._stream)
            self._frames = self._decode()
            first = next(self._frames, None)
        except (av.FFmpegError, AudioFileError):
            first = None
        if first is None or first.pts is None or first.pts < start:
            self._restart()
        else:
            self._position = int((first.pts - start) / self._per_sample)
            self._pending = [_samples(first)]

    def _restart(self) -> None:
        # With a decoder of its own: even when it is flushed, that of AAC keeps the state of its noise.
        self._container.close()
        self._open()
        self._frames, self._pending, self._position, self._damaged = self._decode(), [], 0, 0

    def _skip(self, frame: int) -> None:
        """Leave out what comes before a sample; most of it never becomes an array, which takes as long as decoding."""
        while self._position < frame:
            if not self._pending:
                decoded = next(self._frames, None)
                if decoded is None:
                    return
                if self._position + decoded.samples <= frame:
                    self._position += decoded.samples
                    continue
                self._pending = [_samples(decoded)]
            left_out = min(self._pending[0].shape[1], frame - self._position)
            self._position += left_out
            self._pending[0] = self._pending[0][:, left_out:]
            if not self._pending[0].shape[1]:
                del self._pending[0]


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    return frame.to_ndarray().astype(np.float32, copy=False)


def _not_audio(path: Path) -> AudioFileError:
    return AudioFileError(f"{path} is no audio that can be read, or its header is damaged; convert it to WAV or FLAC.")


def _damaged(path: Path, reason: str) -> AudioFileError:
    return AudioFileError(f"{path} is damaged and cannot be read to its end ({reason.rstrip('.')}); copy it again.")
