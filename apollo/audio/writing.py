"""Write audio files block by block with FFmpeg, through PyAV: FLAC, WAV, MP3, M4A and Opus.

What a file cannot hold of tags and cover is told rather than lost in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream

from apollo.atomic import replacing
from apollo.audio.bitrates import coded_rate, highest_bitrate
from apollo.audio.formats import KNOWN_FORMATS, WRITTEN_SUFFIXES, Format, layout_of
from apollo.audio.pictures import Cover
from apollo.audio.resampling import Resampler
from apollo.audio.tags.embedding import Embedder
from apollo.audio.tags.gain import corrected_gains
from apollo.audio.tags.model import Metadata
from apollo.audio.tags.reading import read_metadata
from apollo.errors import ApolloError, AudioFileError

_BLOCK = 1 << 18


@dataclass(frozen=True)
class _Codec:
    """What the encoder is told; the bitrate (bit/s) is None for a lossless one."""

    encoder: str
    sample_format: str
    rate: int
    bitrate: int | None


def write(
    path: str | Path,
    waveform: npt.NDArray[np.floating[Any]],
    sample_rate: int,
    subtype: str = "PCM_24",
    tags: Mapping[str, str | Iterable[str]] | None = None,
    **options: Any,
) -> None:
    """Write a whole waveform of shape (channels, samples); all else as `AudioWriter`."""
    with AudioWriter(path, sample_rate, waveform.shape[0], subtype, tags, **options) as writer:
        for start in range(0, waveform.shape[1], _BLOCK):
            writer.write(waveform[:, start : start + _BLOCK])


class AudioWriter:
    """Writes a file block by block; it appears under its name only when it is whole.

    Until then it is a hidden file beside its target. Leaving the `with` block normally renames it; leaving it by an
    exception removes it, and what was there before stays as it was.

    What is read back has the length of what was written and a lag of 0. A lossy codec that cannot do the sample rate
    gets the best one that it can; then the length is that of `resampled_length`.

    Args:
        path: The file; its suffix tells the format: .flac, .wav, .mp3, .m4a (AAC), .opus or .ogg (both Opus).
        sample_rate: In Hz.
        channels: Number of channels.
        subtype: How FLAC and WAV keep samples: PCM_16, PCM_24, for WAV also FLOAT. Integers are clipped at ±1. Lossy
            formats keep none, so it does not matter to them.
        tags: Title, artist and the like, by the names of `AudioInfo.tags`; a text, or several.
        cover: The picture of the front.
        metadata: Tags, pictures and chapters of another file, in place of tags and cover.
        format: One of `FORMATS`, where the suffix does not tell.
        bitrate: Of a lossy codec, in bit/s, all channels together. By default 320 kbit/s for MP3 (fewer below 32 kHz,
            where it has no more); for two channels, 256 kbit/s for AAC and 192 for Opus.
        overwrite: Whether a file that is there when all is written is replaced.

    Attributes:
        file_rate: The file's sample rate in Hz.
        metadata: What is to be written; until the end, values of tags may be replaced by others of about that length.
        lost: When all is written, what the file could not hold, or what was not to be carried into it: names of tags,
            "cover", "chapters" and so on.
        gain: By how many dB what is written was turned up since the tags were made; until the end, it may be set, and
            then ReplayGain and R128 tags are corrected by it, and get the peak of what was written.

    Raises:
        AudioFileError: The format cannot hold this, or the file cannot be written; from `write` as well.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        subtype: str = "PCM_24",
        tags: Mapping[str, str | Iterable[str]] | None = None,
        *,
        cover: Cover | None = None,
        metadata: Metadata | None = None,
        format: str | None = None,  # noqa: A002
        bitrate: int | None = None,
        overwrite: bool = True,
    ) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self.lost: list[str] = []
        self.gain: float | None = None
        self._peak = 0.0
        self.metadata = metadata or Metadata.of(tags or {}, () if cover is None else (cover,))
        self._written = 0
        self._discarded = False
        self._format = self._known_format(format)
        encoder, self._sample_format = self._known_encoder(subtype)
        self.file_rate, bitrate = self._known_rates(bitrate)
        resamples = self.file_rate != sample_rate
        self._resampler = Resampler(sample_rate, self.file_rate, channels) if resamples else None
        try:
            if self.path.is_dir() or not self.path.parent.is_dir():
                raise AudioFileError(f"{path} cannot be written: it is a folder, or its folder does not exist.")
            with ExitStack() as stack:
                self._temporary = stack.enter_context(replacing(self.path, overwrite))
                # A file of Python's own: FFmpeg's would not tell of every failure to write.
                self._file = stack.enter_context(self._temporary.open("w+b"))
                stack.callback(self._abandon)
                codec = _Codec(encoder, self._sample_format, self.file_rate, bitrate)
                self._open(codec)
                self._ending = stack.pop_all()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from None

    def write(self, block: npt.NDArray[np.floating[Any]]) -> None:
        """Append a block of shape (channels, samples)."""
        if block.shape[0] != self.channels:
            raise AudioFileError(
                f"{self.path} has {self.channels} channel(s), but was given {block.shape[0]} to write."
            )
        if self.gain is not None:
            self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
        self._encode(block if self._resampler is None else self._resampler.process(block))

    def discard(self) -> None:
        """Let the file not appear when the `with` block ends: what was there before stays as it was."""
        self._discarded = True

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._discarded:
                self._ending.__exit__(GeneratorExit, GeneratorExit(), None)
                return
            if error is not None:
                self._ending.__exit__(kind, error, traceback)
                return
            with self._ending:
                self._finish()
        except (av.FFmpegError, OSError) as failure:
            raise self._failed(failure) from None

    def _known_format(self, name: str | None) -> Format:
        name = name or WRITTEN_SUFFIXES.get(self.path.suffix.lower())
        if name not in KNOWN_FORMATS:
            raise AudioFileError(
                f"{self.path} cannot be written: name it {' or '.join('*' + s for s in WRITTEN_SUFFIXES)}."
            )
        known = KNOWN_FORMATS[name]
        if self.channels not in known.channels:
            least = f"at most {max(known.channels)}" if self.channels > max(known.channels) else "only other numbers of"
            raise AudioFileError(
                f"{self.path} cannot be written: {known.name} holds {least} channels, not {self.channels}; write .wav."
            )
        return known

    def _known_encoder(self, subtype: str) -> tuple[str, str]:
        known = self._format
        encoder = known.encoders.get("" if known.codec else subtype)
        if encoder is None:
            raise AudioFileError(
                f"{self.path} cannot hold samples of kind {subtype!r}; {known.name} can: {', '.join(known.encoders)}."
            )
        return encoder

    def _known_rates(self, bitrate: int | None) -> tuple[int, int | None]:
        """Sample rate and bitrate of the codec; the latter is None for a lossless one."""
        codec = self._format.codec
        if codec is None:
            return self.sample_rate, None
        try:
            rate = coded_rate(codec, self.sample_rate, bitrate, self.channels)
        except ApolloError as error:
            raise AudioFileError(f"{self.path} cannot be written: {error}") from None
        if bitrate is None:
            usual = self._format.bitrate * (1 if codec == "mp3" else self.channels)
            bitrate = min(usual, highest_bitrate(codec, rate, self.channels))
        return rate, bitrate

    def _open(self, codec: _Codec) -> None:
        """Open the container and write what comes before the sound."""
        options = {"fflags": "+bitexact", **self._format.options}
        if self._format.muxer == "mp4":  # to tell the length to the sample rather than to the millisecond
            options["movie_timescale"] = str(codec.rate)
        self._embedder = Embedder(self._format.muxer, self._file, self.metadata)
        self._container = av.open(
            self._embedder.file, "w", format=self._format.muxer, options={**options, **self._embedder.options}
        )
        layout = layout_of(self.channels)
        self._stream = cast(AudioStream, self._container.add_stream(codec.encoder, rate=codec.rate, layout=layout))
        self._stream.format = av.AudioFormat(codec.sample_format)
        if codec.bitrate is not None:
            self._stream.bit_rate = codec.bitrate
        self._embedder.prepare(self._container)
        self._container.start_encoding()

    def _encode(self, block: npt.NDArray[np.floating[Any]]) -> None:
        for start in range(0, block.shape[1], _BLOCK):
            part = block[:, start : start + _BLOCK]
            # In one plane, whatever the encoder takes: PyAV cannot reach into frames of eight planes.
            kind = "flt" if self._format.codec else self._sample_format
            layout = self._stream.codec_context.layout.name
            frame = av.AudioFrame.from_ndarray(interleaved(part, kind).reshape(1, -1), kind, layout)
            frame.sample_rate = self._stream.codec_context.sample_rate
            frame.time_base = Fraction(1, frame.sample_rate)
            frame.pts = self._written
            self._written += part.shape[1]
            try:
                self._container.mux(self._stream.encode(frame))
            except (av.FFmpegError, OSError) as error:
                raise self._failed(error) from None

    def _finish(self) -> None:
        if self._resampler is not None:
            self._encode(self._resampler.process(np.zeros((self.channels, 0), np.float32), last=True))
        if self._written:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if self.gain is not None:
            self.metadata = corrected_gains(self.metadata, self.gain, self._peak)
        self._embedder.finish(self.metadata)
        self._file.close()
        if self.metadata:
            self.lost = self.metadata.missing_from(read_metadata(self._temporary))
        self.lost += self.metadata.dropped

    def _abandon(self) -> None:
        with suppress(Exception):  # what went wrong before is to be told, not that it cannot be brought to an end
            self._container.close()

    def _failed(self, error: Exception) -> AudioFileError:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).rstrip(".")
        return AudioFileError(f"{self.path} cannot be written ({reason}); check permissions and free space.")


def interleaved(block: npt.NDArray[np.floating[Any]], kind: str) -> npt.NDArray[Any]:
    """A block of shape (channels, samples) as FFmpeg takes it, (samples, channels): "flt", "s16" or "s32".

    Integers are the nearest ones, clipped at ±1, those of "s32" with 24 bits in the upper ones; what is no number
    becomes 0.
    """
    samples = np.ascontiguousarray(block.T, dtype=np.float32)
    if kind == "flt":
        return samples
    full = float(1 << 15 if kind == "s16" else 1 << 23)
    scaled: npt.NDArray[np.float32] = np.nan_to_num(np.rint(samples * np.float32(full)), posinf=full, neginf=-full)
    clipped = np.clip(scaled, np.float32(-full), np.float32(full - 1))
    return clipped.astype(np.int16) if kind == "s16" else clipped.astype(np.int32) << 8
