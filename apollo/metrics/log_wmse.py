"""log-WMSE: the logarithm of a mean squared error that is weighted by how well the ear hears each frequency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from apollo.audio.fir import FIR
from apollo.metrics.pairs import Block, Pair, Waveform, average

SAMPLE_RATE = 44_100
SCALE = -4.0
FLOOR = 1e-8
INAUDIBLE = 10 ** (-68 / 20)

# The weighting in dB at multiples of 44100 / 4096 Hz, read off the filter of log-wmse-audio-quality 0.2.0 (Nomono,
# Apache-2.0). A cubic spline over the logarithm of frequency meets that filter within 0.02 dB from 20 Hz to 20 kHz.
_WEIGHTING = {
    1: -41.89, 2: -29.85, 4: -17.86, 6: -11.07, 8: -6.72, 11: -2.99, 16: -0.62, 22: 0.35, 32: 1.45, 37: 2.0, 46: 2.53,
    64: 1.88, 74: 1.56, 90: 1.47, 128: 2.31, 178: 3.57, 256: 4.22, 362: 4.03, 512: 3.2, 733: 1.3, 1024: -2.38,
    1257: -6.55, 1376: -9.27, 1500: -12.73, 1599: -16.14, 1700: -20.52, 1796: -26.09, 1833: -28.84, 1857: -30.89,
    1950: -42.43, 2000: -54.73, 2030: -71.47, 2037: -79.73, 2043: -92.53, 2046: -106.14, 2047: -115.01,
}  # fmt: skip
_REACH = 2048  # samples to either side of the middle of the filter


def log_wmse(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Log of the frequency-weighted mean squared error, scaled like an SDR; higher is better.

    `-4 ln(mean(d²) + 1e-8)`, where d is the error after a filter that follows the sensitivity of the ear, relative to
    the RMS of the filtered original; where |d| is under -68 dB it counts as 0. Defined by Jordal's
    `log-wmse-audio-quality` (https://github.com/nomonosound/log-wmse-audio-quality), which relates the error to the
    unprocessed input: here the original takes that place, so that scores of differently degraded inputs compare. It is
    worked out here because that package needs a soxr below 1 and holds whole files in memory. At 44.1 kHz, to which
    other rates are resampled.

    Returns:
        Averaged over channels, at most 73.68, what identical signals give; 0 for a silent estimate. A channel that is
        silent in the original is left out; NaN when all are.
    """
    pair = Pair(original, estimate)
    energy, samples = np.zeros(pair.channels), 0
    for block in _weighted((s for s, _ in pair.resampled(sample_rate, SAMPLE_RATE)), pair.channels):
        energy += np.sum(block.astype(np.float64) ** 2, axis=1)
        samples += block.shape[1]
    rms = np.sqrt(energy / max(samples, 1))
    audible = rms > 0
    error = np.zeros(pair.channels)
    for block in _weighted((e - s for s, e in pair.resampled(sample_rate, SAMPLE_RATE)), pair.channels):
        relative = block / np.where(audible, rms, 1)[:, None]
        error += np.sum(np.where(np.abs(relative) < INAUDIBLE, 0, relative) ** 2, axis=1)
    return average(np.where(audible, SCALE * np.log(error / max(samples, 1) + FLOOR), np.nan))


def _weighted(blocks: Iterable[Block], channels: int) -> Iterator[NDArray[np.float32]]:
    """Filter a stream of blocks `(channels, samples)` without delay; as many samples come out as went in."""
    fir = FIR(_kernel(), channels)
    silence = np.zeros((channels, fir.reach))
    for block in chain([silence], blocks, [silence]):
        yield fir.push(block.astype(np.float32))
    yield fir.flush()


@cache
def _kernel() -> NDArray[np.float64]:
    """The filter of linear phase that has this weighting, symmetric about its middle."""
    from scipy.interpolate import CubicSpline

    knots = np.array(list(_WEIGHTING))
    gain = np.zeros(_REACH + 1)
    gain[1:] = 10 ** (CubicSpline(np.log(knots), list(_WEIGHTING.values()))(np.log(np.arange(1, gain.size))) / 20)
    half = np.fft.irfft(gain)[: _REACH + 1]
    half[-1] /= 2  # it stands at both ends
    return np.concatenate([half[:0:-1], half])
