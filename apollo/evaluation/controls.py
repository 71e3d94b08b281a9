"""What restores nothing and must not win: the damaged signal with a hiss, and with its treble turned up.

A metric that ranks one of them above a model does not measure restoration, and is not a headline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from apollo.audio.signal import Signal
from apollo.data.folders import Waveform
from apollo.evaluation.results import NOISE
from apollo.evaluation.waveforms import SAMPLE_RATE, filled

NOISE_DBFS = -70.0
SHELF_HZ, SHELF_DB = 5000.0, 6.0


def controlled(control: str, damaged: Waveform, scratch: Path) -> Waveform:
    """The damaged waveform, `(channels, samples)` at 44.1 kHz, as a control leaves it.

    `NOISE` adds white noise of -70 dBFS (RMS), always the same; `SHELF` raises what lies above 5 kHz by 6 dB with a
    shelving filter of the second order (Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter
    coefficients", slope 1).
    """
    return filled((_noisy if control == NOISE else _shelved)(damaged), damaged.shape, scratch)


def _noisy(damaged: Waveform) -> Iterator[Waveform]:
    generator = np.random.default_rng(0)
    for block in Signal.of_array(damaged, SAMPLE_RATE).blocks():
        noise = generator.standard_normal(block.shape, dtype=np.float32)
        yield block + np.float32(10 ** (NOISE_DBFS / 20)) * noise


def _shelved(damaged: Waveform) -> Iterator[Waveform]:
    from scipy.signal import sosfilt

    sections = _shelf()
    state = np.zeros((1, damaged.shape[0], 2))
    for block in Signal.of_array(damaged, SAMPLE_RATE).blocks():
        shelved, state = sosfilt(sections, block, axis=1, zi=state)
        yield shelved.astype(np.float32)


def _shelf() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    a, w = 10 ** (SHELF_DB / 40), 2 * math.pi * SHELF_HZ / SAMPLE_RATE
    cosine, slope = math.cos(w), math.sqrt(2 * a) * math.sin(w)
    numerator = (
        a * (a + 1 + (a - 1) * cosine + slope),
        -2 * a * (a - 1 + (a + 1) * cosine),
        a * (a + 1 + (a - 1) * cosine - slope),
    )
    denominator = (a + 1 - (a - 1) * cosine + slope, 2 * (a - 1 - (a + 1) * cosine), a + 1 - (a - 1) * cosine - slope)
    return np.array([[*numerator, *denominator]]) / denominator[0]
