"""Sound on its way: a waveform that can be read again and again, block by block, whatever its length.

A block is a float32 array of shape (channels, any number of samples); joined along the samples, the blocks are the
waveform. What is done to a `Signal` gives another one, which does its work while it is read. The result never depends
on how the blocks are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apollo.audio.files import LARGEST, AudioReader
from apollo.audio.fir import FIR, low_pass_kernel
from apollo.audio.remarks import Remarks
from apollo.audio.resampling import Resampler, resampled_length
from apollo.errors import ApolloError

Block = npt.NDArray[np.float32]

_BLOCK = 1 << 16
_RESAMPLED = 1 << 14  # soxr takes up to twice the time over blocks much longer or shorter
_TRANSITION_HZ = 600.0  # about as steep as the low-pass that encoders come with


@dataclass(frozen=True)
class Signal:
    """A waveform that can be read again and again."""

    sample_rate: int  # in Hz
    channels: int
    samples: int | None  # samples a channel; None where only reading would tell
    blocks: Callable[[], Iterator[Block]] = field(repr=False)  # gives them from the start, each time it is called
    name: str = "the audio"  # what errors call it

    @classmethod
    def of_array(cls, waveform: npt.NDArray[np.floating[Any]], sample_rate: int) -> Signal:
        """A waveform in memory, (channels, samples); its blocks are views where it is float32."""

        def read() -> Iterator[Block]:
            for start in range(0, waveform.shape[1], _BLOCK):
                yield np.asarray(waveform[:, start : start + _BLOCK], np.float32)

        return cls(sample_rate, waveform.shape[0], waveform.shape[1], read)

    @classmethod
    def of_file(
        cls, path: str | Path, track: int | None = None, ended: Callable[[Remarks], None] = lambda remarks: None
    ) -> Signal:
        """A track of an audio file, opened again each time it is read; raises AudioFileError as `AudioReader` does.

        `ended` is called with what a listener would not expect of the file, each time it was read to its end.
        """

        def read() -> Iterator[Block]:
            with AudioReader(path, track) as reader:
                yield from reader.blocks(_BLOCK)
                ended(reader.remarks)

        with AudioReader(path, track) as reader:
            return cls(reader.sample_rate, reader.channels, reader.frames, read, str(path))

    def array(self) -> Block:
        """The whole waveform, (channels, samples)."""
        blocks = list(self.blocks())
        return blocks[0] if len(blocks) == 1 else np.concatenate([self._nothing(), *blocks], axis=1)

    def count(self) -> int:
        """Samples a channel; read to the end if need be."""
        return sum(block.shape[1] for block in self.blocks()) if self.samples is None else self.samples

    def measure(self) -> tuple[list[float], int]:
        """Largest magnitude in each channel, and the samples a channel that there truly are.

        Raises:
            ApolloError: If a sample is NaN, infinite or beyond `LARGEST`.
        """
        peaks, samples = np.zeros(self.channels, np.float32), 0
        for block in self.blocks():
            if block.shape[1]:
                peaks = np.maximum(peaks, np.maximum(block.max(axis=1), -block.min(axis=1)))
                samples += block.shape[1]
            if not (peaks <= LARGEST).all():
                raise ApolloError(f"{self.name} contains NaN or infinite samples")
        return [float(peak) for peak in peaks], samples

    def resampled(self, sample_rate: int) -> Signal:
        """The waveform at another rate in Hz: what `apollo.audio.resample` makes of it."""
        if sample_rate == self.sample_rate:
            return self

        def read() -> Iterator[Block]:
            resampler = Resampler(self.sample_rate, sample_rate, self.channels)
            for block in recut(self.blocks(), _RESAMPLED):
                yield resampler.process(block)
            yield resampler.process(self._nothing(), last=True)

        samples = None if self.samples is None else resampled_length(self.samples, self.sample_rate, sample_rate)
        return replace(self, sample_rate=sample_rate, samples=samples, blocks=read)

    def low_passed(self, frequency: float) -> Signal:
        """The waveform without what lies above a frequency in Hz; what lies below stays where it is.

        At the frequency the level has fallen by 6 dB: 300 Hz below nothing is lost, 300 Hz above all is. Half the
        sample rate and more leave the waveform as it is. The edges are mirrored, so that they do not fade.
        """
        if frequency >= self.sample_rate / 2:
            return self

        def read() -> Iterator[Block]:
            fir = FIR(low_pass_kernel(self.sample_rate, frequency, _TRANSITION_HZ), self.channels)
            for block in self.mirrored(fir.reach).blocks():
                yield fir.push(block)
            yield fir.flush()

        return replace(self, blocks=read)

    def mirrored(self, margin: int) -> Signal:
        """The waveform with `margin` more samples on either side, mirrored there as by numpy.pad's "symmetric"."""
        samples = self.samples + 2 * margin if self.samples else self.samples
        return replace(self, samples=samples, blocks=lambda: _mirrored(self.blocks(), margin))

    def between(self, start: int, stop: int) -> Signal:
        """The samples from `start` to `stop`; they are read to the end all the same."""

        def read() -> Iterator[Block]:
            position = 0
            for block in self.blocks():
                part = block[:, max(0, start - position) : max(0, stop - position)]
                position += block.shape[1]
                if part.shape[1]:
                    yield part

        samples = None if self.samples is None else max(0, min(stop, self.samples) - start)
        return replace(self, samples=samples, blocks=read)

    def in_channels(self, channels: int) -> Signal:
        """Mono in every channel, and of another number of channels their mean."""
        if channels == self.channels:
            return self

        def read() -> Iterator[Block]:
            for block in self.blocks():
                yield np.repeat(block.mean(axis=0, keepdims=True), channels, axis=0)

        return replace(self, channels=channels, blocks=read)

    def __getitem__(self, channels: slice) -> Signal:
        """Some of the channels."""
        count = len(range(self.channels)[channels])
        return replace(self, channels=count, blocks=lambda: (block[channels] for block in self.blocks()))

    def _nothing(self) -> Block:
        return np.zeros((self.channels, 0), np.float32)


def recut(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """The same samples in blocks of `size`, but for the last."""
    held: list[Block] = []
    ready = 0
    for block in blocks:
        while block.shape[1] >= size - ready:
            rest = size - ready
            yield np.concatenate([*held, block[:, :rest]], axis=1)
            held, ready, block = [], 0, block[:, rest:]
        if block.shape[1]:
            held.append(block)
            ready += block.shape[1]
    if ready:
        yield np.concatenate(held, axis=1)


def _mirrored(blocks: Iterator[Block], margin: int) -> Iterator[Block]:
    held: list[Block] = []
    while sum(block.shape[1] for block in held) < margin and (block := next(blocks, None)) is not None:
        held.append(block)
    if not any(block.shape[1] for block in held):
        yield from blocks
        return
    first = np.concatenate(held, axis=1)
    if first.shape[1] < margin:
        yield np.pad(first, ((0, 0), (margin, margin)), mode="symmetric")
        return
    yield first[:, :margin][:, ::-1]
    yield first
    tail = first[:, first.shape[1] - margin :]
    for block in blocks:
        yield block
        tail = np.concatenate([tail, block[:, -margin:]], axis=1)[:, block[:, -margin:].shape[1] :]
    yield tail[:, ::-1]
