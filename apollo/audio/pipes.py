"""Audio through pipes: WAV and raw PCM, read from and written to streams that cannot seek.

In the header of a WAV that is written so, the length is 0xFFFFFFFF, as FFmpeg and SoX have it: the sound goes on until
the stream ends. Blocks are float32 of shape (channels, samples).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt

from apollo.audio.formats import KNOWN_FORMATS, layout_of
from apollo.audio.remarks import Remarks, tell
from apollo.audio.signal import Block
from apollo.audio.stated_sizes import HEADER, share_missing
from apollo.audio.writing import interleaved
from apollo.errors import AudioFileError

_BLOCK = 1 << 16  # samples
RAW_FORMATS = {"PCM_16": "s16le", "PCM_24": "s24le", "FLOAT": "f32le"}  # by subtype
_CHANNELS = range(1, 9)


@dataclass(frozen=True)
class _Samples:
    """How a raw format keeps a sample: in so many bytes, as FFmpeg's kind in which `interleaved` gives it."""

    size: int
    kind: str


_RAW = {"s16le": _Samples(2, "s16"), "s24le": _Samples(3, "s32"), "f32le": _Samples(4, "flt")}


@dataclass(frozen=True)
class RawFormat:
    """How a stream of raw PCM is to be read.

    Raises:
        AudioFileError: Unknown kind, or a rate or number of channels that is none.
    """

    kind: str  # a value of `RAW_FORMATS`
    sample_rate: int  # in Hz
    channels: int  # number of channels, interleaved

    def __post_init__(self) -> None:
        _known(self.kind)
        if self.sample_rate < 1 or self.channels not in _CHANNELS:
            raise AudioFileError(
                f"raw samples need 1 Hz or more and 1 to {max(_CHANNELS)} channels, "
                f"not at {self.sample_rate} Hz in {self.channels}."
            )

    @classmethod
    def parse(cls, text: str) -> RawFormat:
        """Read `FORMAT,RATE,CHANNELS`, such as `s16le,44100,2`."""
        match text.split(","):
            case [kind, rate, channels] if rate.strip().isdecimal() and channels.strip().isdecimal():
                return cls(kind.strip(), int(rate), int(channels))
        raise AudioFileError(f"raw samples are described as FORMAT,RATE,CHANNELS, such as s16le,44100,2; not {text!r}.")


def read_wav_stream(stream: BinaryIO) -> tuple[int, int, Iterator[Block]]:
    """Read a WAV file from a stream that need not be able to seek, such as standard input.

    Args:
        stream: Opened for reading bytes; it is left open.

    Returns:
        The sample rate in Hz, the number of channels, and the blocks, as they come.

    Raises:
        AudioFileError: It holds no WAV, or one that cannot be decoded; while blocks are drawn as well.
    """
    refused = AudioFileError("standard input is not a readable WAV; pipe a WAV, or describe its raw samples (--raw).")
    try:
        incoming = _Unseekable(stream)
        container = av.open(incoming, "r", format="wav", metadata_errors="ignore")
        frames = container.decode(audio=0)
        first = next(frames, None)
    except (av.FFmpegError, ValueError, IndexError, OSError):
        raise refused from None
    if not container.streams.audio:
        raise refused
    stream_info = container.streams.audio[0].codec_context
    channels, rate = stream_info.channels, stream_info.sample_rate

    def blocks() -> Iterator[Block]:
        resampler = av.AudioResampler("flt", first.layout, rate) if first is not None else None
        frame = first
        samples = 0
        try:
            with container:
                while frame is not None and resampler is not None:
                    for piece in resampler.resample(frame):
                        samples += piece.samples
                        yield np.ascontiguousarray(piece.to_ndarray().reshape(-1, channels).T, dtype=np.float32)
                    frame = next(frames, None)
        except (av.FFmpegError, OSError) as error:
            raise AudioFileError(f"standard input cannot be read to its end ({error}); pipe it again.") from None
        missing = share_missing(io.BytesIO(incoming.head), incoming.end) * samples / rate
        tell(Path("standard input"), Remarks(missing=missing))

    return rate, channels, blocks()


def read_raw_stream(stream: BinaryIO, kind: str, channels: int) -> Iterator[Block]:
    """Read raw PCM, little-endian and interleaved, from a stream.

    Args:
        stream: Opened for reading bytes.
        kind: A value of `RAW_FORMATS`.
        channels: Number of channels; what is left over of the last sample is dropped.

    Yields:
        Blocks, as they come.

    Raises:
        AudioFileError: Unknown kind.
    """
    size = _known(kind).size * channels
    rest = b""
    while data := stream.read(_BLOCK * size):
        data = rest + data
        whole = len(data) - len(data) % size
        rest = data[whole:]
        if whole:
            yield np.ascontiguousarray(_decoded(data[:whole], kind).reshape(-1, channels).T)


class RawStreamWriter:
    """Writes raw PCM, little-endian and interleaved, to a stream.

    Args:
        stream: Opened for writing bytes; it is left open.
        kind: A value of `RAW_FORMATS`. Integers are clipped at ±1.

    Raises:
        AudioFileError: Unknown kind.
    """

    def __init__(self, stream: BinaryIO, kind: str) -> None:
        self._stream, self._kind = stream, kind
        _known(kind)

    def write(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Append a block of shape (channels, samples); it is on its way when this returns.

        Raises:
            OSError: The stream takes no more; BrokenPipeError where nobody reads it.
        """
        self._stream.write(_encoded(block, self._kind))
        self._stream.flush()

    def __enter__(self) -> RawStreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.flush()


class WavStreamWriter(RawStreamWriter):
    """Writes a WAV file to a stream that need not be able to seek, such as standard output.

    Args:
        stream: Opened for writing bytes; it is left open.
        sample_rate: In Hz.
        channels: Number of channels.
        subtype: PCM_16, PCM_24 or FLOAT. Integers are clipped at ±1.

    Raises:
        AudioFileError: Unknown subtype.
    """

    def __init__(self, stream: BinaryIO, sample_rate: int, channels: int, subtype: str = "PCM_24") -> None:
        if subtype not in RAW_FORMATS:
            raise AudioFileError(f"WAV cannot hold samples of kind {subtype!r}; it can: {', '.join(RAW_FORMATS)}.")
        super().__init__(stream, RAW_FORMATS[subtype])
        stream.write(_header(sample_rate, channels, subtype))


def _header(sample_rate: int, channels: int, subtype: str) -> bytes:
    """What FFmpeg writes of a WAV before its sound, where it cannot come back to tell the length."""
    memory = io.BytesIO()
    with av.open(_WriteOnly(memory), "w", format="wav", options={"fflags": "+bitexact"}) as container:
        encoder, _ = KNOWN_FORMATS["wav"].encoders[subtype]
        container.add_stream(encoder, rate=sample_rate, layout=layout_of(channels))
        container.start_encoding()
    return memory.getvalue()


def _known(kind: str) -> _Samples:
    if kind not in _RAW:
        raise AudioFileError(f"raw samples of kind {kind!r} are not known; give one of: {', '.join(_RAW)}.")
    return _RAW[kind]


def _encoded(block: npt.NDArray[np.floating[Any]], kind: str) -> bytes:
    samples = interleaved(block, _RAW[kind].kind)
    little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
    if kind == "s24le":
        return little.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    return little.tobytes()


def _decoded(data: bytes, kind: str) -> Block:
    if kind == "f32le":
        return np.frombuffer(data, "<f4").astype(np.float32)
    if kind == "s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(1 << 15)
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)


class _Unseekable:
    """A stream that PyAV can only read: it would seek where a pipe only claims that it can."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.head = b""  # the first bytes that were read, as many as a header may have
        self.end = 0  # bytes read so far

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self._stream.read(size)
        self.head += data[: HEADER - len(self.head)]
        self.end += len(data)
        return data


class _WriteOnly:
    """A stream that PyAV cannot seek in."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write = stream.write
