"""An original and its estimate, read block by block: what every metric iterates over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apollo.audio.resampling import Resampler
from apollo.errors import DataError

Block = NDArray[np.float64]
Spectra = NDArray[np.complex128]

# Samples read at once. With the 511 lags of SDR it fills a power of two, and a stereo pair of it is 2 MB in float64.
BLOCK = (1 << 16) - 511


class Waveform(Protocol):
    """What can be scored: an array `(channels, samples)`, a `numpy.memmap`, or anything that gives slices like them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(channels, samples)`."""

    def __getitem__(self, key: tuple[slice, slice], /) -> Any:
        """The samples asked for, as an array."""


@dataclass(frozen=True)
class Pair:
    """Two waveforms that fit together.

    Raises:
        DataError: Their shapes differ, are not `(channels, samples)`, or are empty; and from every method that reads,
            where a sample is NaN or infinite.
    """

    original: Waveform  # what the estimate should equal, `(channels, samples)`
    estimate: Waveform  # what is scored, same shape

    def __post_init__(self) -> None:
        shape, other = tuple(self.original.shape), tuple(self.estimate.shape)
        if shape != other:
            raise DataError(
                f"Cannot compare waveforms of different shapes, {shape} and {other}: align and trim them first."
            )
        if len(shape) != 2 or 0 in shape:
            raise DataError(f"A waveform to score must be (channels, samples) and not empty, but its shape is {shape}.")

    @property
    def channels(self) -> int:
        """Of each of the two."""
        return self.original.shape[0]

    @property
    def samples(self) -> int:
        """Of each channel."""
        return self.original.shape[1]

    def read(self, start: int, stop: int) -> Block:
        """Samples `start` to `stop` of both, `(2, channels, stop - start)`; zeros where there are none."""
        first, last = min(max(start, 0), self.samples), min(max(stop, 0), self.samples)
        block = np.zeros((2, self.channels, stop - start))
        for held, waveform in zip(block, (self.original, self.estimate), strict=True):
            held[:, first - start : last - start] = waveform[:, first:last]
        if not np.isfinite(block).all():
            raise DataError("A waveform to score holds NaN or infinite samples.")
        return block

    def blocks(self, ahead: int = 0) -> Iterator[Block]:
        """All samples once, `(2, channels, up to BLOCK)`, each block followed by `ahead` samples of what comes next."""
        for start in range(0, self.samples, BLOCK):
            yield self.read(start, min(start + BLOCK, self.samples) + ahead)

    def energy(self) -> NDArray[np.float64]:
        """The sum of squares of each of the original's channels."""
        energy = np.zeros(self.channels)
        for block in self.blocks():
            energy += np.sum(block[0] ** 2, axis=1)
        return energy

    def resampled(self, from_rate: int, to_rate: int) -> Iterator[Block]:
        """All samples once at another rate, `(2, channels, any number)`."""
        if from_rate == to_rate:
            yield from self.blocks()
            return
        resampler = Resampler(from_rate, to_rate, 2 * self.channels)
        for start in range(0, self.samples, BLOCK):
            stop = min(start + BLOCK, self.samples)
            block = self.read(start, stop).reshape(2 * self.channels, -1)
            ready = resampler.process(block, last=stop == self.samples)
            yield ready.reshape(2, self.channels, -1).astype(np.float64)

    def spectra(self, n_fft: int, hop_length: int, padded: bool = True) -> Iterator[Spectra]:
        """The unnormalised STFT with a periodic Hann window, `(2, channels, a few frames, n_fft // 2 + 1)` at a time.

        Args:
            n_fft: Length of window and transform, in samples.
            hop_length: From one frame to the next, in samples.
            padded: Whether zeros fill up a last frame. Without it frames that are not whole are left out, so that where
                a waveform is cut off does not show as a click, in all frequencies.
        """
        past_first = self.samples - n_fft
        frames = 1 + (max(0, -(-past_first // hop_length)) if padded else past_first // hop_length)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        at_once = max(1, BLOCK // hop_length)
        for frame in range(0, frames, at_once):
            start = frame * hop_length
            span = (min(at_once, frames - frame) - 1) * hop_length + n_fft
            framed = np.lib.stride_tricks.sliding_window_view(self.read(start, start + span), n_fft, axis=-1)
            yield np.fft.rfft(framed[:, :, ::hop_length] * window)
        if not padded:
            self.read(max(0, past_first), self.samples)  # What no frame reaches must be finite too.


def average(values: NDArray[np.float64]) -> float:
    """The mean over channels of those that are defined; NaN when none is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
