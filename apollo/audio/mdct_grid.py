"""Whether a recording has been through an encoder that works by one MDCT, as AAC and Vorbis do.

As for MP3 (`apollo.audio.mp3_grid`), what such an encoder puts to zero is near zero in its own transform, on its own
grid only: an MDCT of 1024 lines every 1024 samples, with the window of ISO/IEC 14496-3 (sine, or Kaiser-Bessel derived
with alpha 4) or that of the Vorbis I specification (4.3.1). A single sample beside the grid, or with another window,
the coefficients are of middling size. So the mean logarithm of the coefficients is taken at all 1024 offsets, and one
that stands out gives the encoder away (after J. Herre and M. Schug, "Analysis of decompressed audio - the inverse
decoder", AES 109, 2000).

A click is small where it lies at the edge of a window, but in one or two frames only: so the median over frames counts.
Vorbis leaves its grid at every short block, so each stretch of sound has an offset of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["LENGTH", "mdct_traces", "standing_out"]

_LINES = 1024  # of a long block in AAC, and in Vorbis at 44.1 and 48 kHz
_FRAMES = 8  # compared at once
_AT_ONCE = 64  # offsets
LENGTH = (_FRAMES + 2) * _LINES  # samples that are looked at

Samples = npt.NDArray[np.float32]


def mdct_traces(blocks: Sequence[Samples], floor: float) -> dict[str, float]:
    """By how many dB coefficients are smaller at one offset than at any other, in the stretch where it shows best.

    Args:
        blocks: Stretches of one channel, of `LENGTH` samples or more.
        floor: Energy that is added to each coefficient, so that rounding errors count for nothing.

    Returns:
        For "aac" and "vorbis", the dB; 0 where there are no blocks.
    """
    traces = dict.fromkeys(_WINDOWS, 0.0)
    for codec, windows in _WINDOWS.items():
        for window in windows:
            for block in blocks:
                traces[codec] = max(traces[codec], _collapse(block, window, floor))
    return traces


def _collapse(block: Samples, window: Samples, floor: float) -> float:
    size = np.empty(_LINES)
    frames = np.lib.stride_tricks.sliding_window_view(block[:LENGTH], 2 * _LINES)
    starts = _LINES * np.arange(_FRAMES)
    for first in range(0, _LINES, _AT_ONCE):
        offsets = np.arange(first, first + _AT_ONCE)[:, None]
        energy = _mdct(frames[offsets + starts] * window) ** 2
        size[offsets[:, 0]] = 10 * np.median(np.log10(energy + np.float32(floor)).mean(axis=2), axis=1)
    return standing_out(size)


def standing_out(size: npt.NDArray[np.float64]) -> float:
    """By how much the smallest of values at the offsets of a grid is below all that are not next to it."""
    best, offsets = int(np.argmin(size)), len(size)
    apart = np.abs((np.arange(offsets) - best + offsets // 2) % offsets - offsets // 2) > 2
    return float(size[apart].min() - size[best])


def _mdct(windowed: Samples) -> Samples:
    """The orthonormal MDCT of the last axis: folded to a DCT-IV, which is an FFT of half its length."""
    a, b, c, d = np.split(windowed, 4, axis=-1)
    folded = np.concatenate([-c[..., ::-1] - d, a - b[..., ::-1]], axis=-1)
    turned = (folded[..., ::2] + 1j * folded[..., ::-2]) * _BEFORE
    spectrum = np.fft.fft(turned, axis=-1) * _AFTER
    lines = np.empty_like(folded)
    lines[..., ::2], lines[..., ::-2] = spectrum.real, -spectrum.imag
    return lines


def _windows() -> dict[str, list[Samples]]:
    sine = np.sin(np.pi * (np.arange(2 * _LINES) + 0.5) / (2 * _LINES))
    rising = np.cumsum(np.kaiser(_LINES + 1, 4 * np.pi))
    half = np.sqrt(rising[:-1] / rising[-1])
    derived = np.concatenate([half, half[::-1]])
    vorbis = np.sin(np.pi / 2 * sine**2)
    return {
        "aac": [sine.astype(np.float32), derived.astype(np.float32)],
        "vorbis": [vorbis.astype(np.float32)],
    }


_WINDOWS = _windows()
_STEPS = np.arange(_LINES // 2)
_BEFORE = np.exp(-1j * np.pi * (_STEPS + 0.25) / _LINES).astype(np.complex64)
_AFTER = (np.sqrt(2 / _LINES) * np.exp(-1j * np.pi * _STEPS / _LINES)).astype(np.complex64)
