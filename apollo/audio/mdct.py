"""The MDCT, and the windows that audio codecs put before it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
Twiddles = npt.NDArray[np.complex64]


def mdct(windowed: Samples) -> Samples:
    """The orthonormal MDCT, (..., 2 · lines) → (..., lines): folded to a DCT-IV, which is an FFT of half its length."""
    a, b, c, d = np.split(windowed, 4, axis=-1)
    folded = np.concatenate([-c[..., ::-1] - d, a - b[..., ::-1]], axis=-1)
    before, after = _twiddles(folded.shape[-1])
    spectrum = np.fft.fft((folded[..., ::2] + 1j * folded[..., ::-2]) * before, axis=-1) * after
    lines = np.empty_like(folded)
    lines[..., ::2], lines[..., ::-2] = spectrum.real, -spectrum.imag
    return lines


@lru_cache(maxsize=8)
def _twiddles(lines: int) -> tuple[Twiddles, Twiddles]:
    steps = np.arange(lines // 2)
    before = np.exp(-1j * np.pi * (steps + 0.25) / lines).astype(np.complex64)
    return before, (np.sqrt(2 / lines) * np.exp(-1j * np.pi * steps / lines)).astype(np.complex64)


def sine_window(lines: int) -> Samples:
    """A sine, as in MP3 and AAC: (2 · lines)."""
    return np.sin(_phases(lines)).astype(np.float32)


def derived_window(lines: int, alpha: float) -> Samples:
    """Kaiser-Bessel derived (ISO/IEC 14496-3, 4.6.11.3.2): (2 · lines)."""
    rising = np.cumsum(np.kaiser(lines + 1, alpha * np.pi))
    half = np.sqrt(rising[:-1] / rising[-1])
    return np.concatenate([half, half[::-1]]).astype(np.float32)


def vorbis_window(lines: int) -> Samples:
    """That of the Vorbis I specification (4.3.1): (2 · lines)."""
    return np.sin(np.pi / 2 * np.sin(_phases(lines)) ** 2).astype(np.float32)


def celt_window(lines: int, overlap: int) -> Samples:
    """That of CELT (RFC 6716, 4.3.7): flat, with the slopes of Vorbis over `overlap` samples: (2 · lines)."""
    rise = vorbis_window(overlap)[:overlap]
    rest = (lines - overlap) // 2
    half = np.concatenate([np.zeros(rest), rise, np.ones(rest)])
    return np.concatenate([half, half[::-1]]).astype(np.float32)


def _phases(lines: int) -> npt.NDArray[np.float64]:
    return np.pi * (np.arange(2 * lines) + 0.5) / (2 * lines)
