"""What can be done to a waveform that comes block by block, so that its length does not matter to memory.

A waveform in blocks is an iterable of float32 arrays of shape (channels, any number of samples); joined along the
samples they are the waveform. What comes out, joined, never depends on how the waveform was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from apollo.audio.resampling import Resampler

__all__ = ["between", "joined", "low_pass", "mirrored", "recut", "resampled"]

Block = npt.NDArray[np.float32]

_RESAMPLED = 1 << 14  # soxr takes up to twice the time over blocks much longer or shorter
_FFT = 1 << 16
_TRANSITION_HZ = 600.0  # about as steep as the low-pass that encoders come with
_KAISER_BETA = 8.0  # 80 dB of attenuation


def joined(blocks: Iterable[Block], channels: int) -> Block:
    """The whole waveform, of shape (channels, samples)."""
    ready = list(blocks)
    return ready[0] if len(ready) == 1 else np.concatenate([np.zeros((channels, 0), np.float32), *ready], axis=1)


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


def between(blocks: Iterable[Block], start: int, stop: int) -> Iterator[Block]:
    """The samples from `start` to `stop`; the blocks are drawn to their end all the same."""
    position = 0
    for block in blocks:
        part = block[:, max(0, start - position) : max(0, stop - position)]
        position += block.shape[1]
        if part.shape[1]:
            yield part


def mirrored(blocks: Iterable[Block], margin: int) -> Iterator[Block]:
    """The samples with `margin` more on either side, mirrored there as by the mode "symmetric" of `numpy.pad`."""
    source = iter(blocks)
    held: list[Block] = []
    while sum(block.shape[1] for block in held) < margin and (block := next(source, None)) is not None:
        held.append(block)
    if not any(block.shape[1] for block in held):
        return
    first = np.concatenate(held, axis=1)
    if first.shape[1] < margin:
        yield np.pad(first, ((0, 0), (margin, margin)), mode="symmetric")
        return
    yield first[:, :margin][:, ::-1]
    yield first
    tail = first[:, first.shape[1] - margin :]
    for block in source:
        yield block
        tail = np.concatenate([tail, block[:, -margin:]], axis=1)[:, block[:, -margin:].shape[1] :]
    yield tail[:, ::-1]


def resampled(blocks: Iterable[Block], from_rate: int, to_rate: int, channels: int) -> Iterator[Block]:
    """The waveform at another rate in Hz: what `apollo.audio.resample` makes of it."""
    if from_rate == to_rate:
        yield from blocks
        return
    resampler = Resampler(from_rate, to_rate, channels)
    for block in recut(blocks, _RESAMPLED):
        yield resampler.process(block)
    yield resampler.process(np.zeros((channels, 0), np.float32), last=True)


def low_pass(blocks: Iterable[Block], sample_rate: int, frequency: float) -> Iterator[Block]:
    """Take away what lies above a frequency, without moving what lies below: linear phase, and a lag of 0.

    A windowed sinc (Kaiser, 80 dB). The edges are mirrored, so that they do not fade.

    Args:
        blocks: The waveform.
        sample_rate: In Hz.
        frequency: In Hz, where the level has fallen by 6 dB: 300 Hz below nothing is lost, 300 Hz above all is. Half
            the sample rate and more leave the waveform as it is.

    Yields:
        As many samples as went in.
    """
    if frequency >= sample_rate / 2:
        yield from blocks
        return
    kernel = _kernel(sample_rate, frequency)
    around = len(kernel) - 1
    n_fft = max(_FFT, 1 << (4 * around).bit_length())
    response = np.fft.rfft(kernel, n_fft)
    past: Block | None = None
    for block in recut(mirrored(blocks, around // 2), n_fft - around):
        # Overlap-save: the first `around` samples of a circular convolution are those that wrap.
        known = block if past is None else np.concatenate([past, block], axis=1)
        past = known[:, max(0, known.shape[1] - around) :]
        filtered = np.fft.irfft(np.fft.rfft(known.astype(np.float64), n_fft) * response, n_fft)
        yield filtered[:, around : known.shape[1]].astype(np.float32)


def _kernel(sample_rate: int, frequency: float) -> npt.NDArray[Any]:
    # Kaiser's formula for the length: (attenuation - 8 dB) / (2.285 · transition in radians a sample).
    half = int(np.ceil((80 - 8) / (2.285 * 2 * np.pi * _TRANSITION_HZ / sample_rate) / 2))
    kernel = np.sinc(2 * frequency / sample_rate * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, _KAISER_BETA)
    return np.asarray(kernel / kernel.sum())
