"""Ratios of the energy of the original to that of the error, in dB: SNR, SI-SDR, SDR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apollo.metrics.pairs import Pair, Waveform, average

DECIBEL_LIMIT = 100.0
SDR_TAPS = 512


def snr(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Signal-to-noise ratio in dB, `10 log10(|s|² / |s - e|²)`; higher is better.

    Returns:
        dB within ±100, averaged over channels: identical signals give 100, a silent estimate 0. A channel that is
        silent in the original is left out; NaN when all are.
    """
    pair = Pair(original, estimate)
    signal, noise = np.zeros(pair.channels), np.zeros(pair.channels)
    for s, e in pair.blocks():
        signal += np.sum(s**2, axis=1)
        noise += np.sum((s - e) ** 2, axis=1)
    return average(np.where(signal > 0, decibels(signal, noise), np.nan))


def si_sdr(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Scale-invariant signal-to-distortion ratio, also called SI-SNR, in dB; higher is better.

    Le Roux et al., "SDR - half-baked or well done?" (ICASSP 2019), eq. 1-3, with the mean of both signals removed
    first: `10 log10(|a s|² / |a s - e|²)`, `a = <e, s> / |s|²`.

    Returns:
        dB within ±100, averaged over channels: identical signals give 100, an estimate that is silent or unrelated
        -100. A channel that is constant in the original is left out; NaN when all are.
    """
    pair = Pair(original, estimate)
    mean, peak = np.zeros((2, pair.channels, 1)), np.zeros(pair.channels)
    for block in pair.blocks():
        mean += block.sum(axis=-1, keepdims=True) / pair.samples
        peak = np.maximum(peak, np.abs(block[0]).max(axis=-1))
    energy, product = np.zeros(pair.channels), np.zeros(pair.channels)
    for block in pair.blocks():
        s, e = block - mean
        energy += np.sum(s * s, axis=1)
        product += np.sum(e * s, axis=1)
    # A constant leaves rounding noise behind when its mean is taken off.
    audible = energy > pair.samples * (1e-13 * peak) ** 2
    gain = np.divide(product, energy, out=np.zeros(pair.channels), where=audible)[:, None]
    signal, distortion = np.zeros(pair.channels), np.zeros(pair.channels)
    for block in pair.blocks():
        s, e = block - mean
        signal += np.sum((gain * s) ** 2, axis=1)
        distortion += np.sum((gain * s - e) ** 2, axis=1)
    return average(np.where(audible, decibels(signal, distortion), np.nan))


def sdr(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Signal-to-distortion ratio of BSS Eval in dB; higher is better.

    Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation" (2006), for a single
    source: what a filter of 512 taps can make of the original counts as signal, the rest of the estimate as
    distortion. The filter that fits best solves the normal equations `R h = b` of the autocorrelation of the original
    and its correlation with the estimate (Scheibler, "SDR - medium rare with fast computations", ICASSP 2022), and the
    energy of what it makes is `b·h`. Where `R` is singular, as for a sine, its null space is left out.

    Returns:
        dB within ±100, averaged over channels: identical signals give 100, a silent estimate -100. A channel that is
        silent in the original is left out; NaN when all are.
    """
    pair = Pair(original, estimate)
    energy = np.zeros(pair.channels)
    correlations: NDArray[np.complex128] = np.zeros(0, dtype=np.complex128)
    for block in pair.blocks(ahead=SDR_TAPS - 1):
        s, e = block[0, :, : 1 - SDR_TAPS], block[1, :, : 1 - SDR_TAPS]
        energy += np.sum(e**2, axis=1)
        if not correlations.size:
            n_fft = 1 << (block.shape[-1] - 1).bit_length()
            correlations = np.zeros((2, pair.channels, n_fft // 2 + 1), dtype=np.complex128)
        correlations += np.conj(np.fft.rfft(s, n_fft)) * np.fft.rfft(block, n_fft)
    lags = np.fft.irfft(correlations)[..., :SDR_TAPS]
    signal = np.array([_filtered_energy(auto, cross) for auto, cross in zip(*lags, strict=True)])
    values = decibels(signal, np.maximum(energy - signal, 0))
    return average(np.where(lags[0, :, 0] > 0, values, np.nan))


def _filtered_energy(auto: NDArray[np.float64], cross: NDArray[np.float64]) -> float:
    """The energy of the best approximation, `b·R⁻¹b`, from the first row of R and from b."""
    lag = np.arange(SDR_TAPS)
    eigenvalues, vectors = np.linalg.eigh(auto[np.abs(lag[:, None] - lag)])
    kept = eigenvalues > SDR_TAPS * np.finfo(np.float64).eps * eigenvalues[-1]
    return float(np.sum((cross @ vectors[:, kept]) ** 2 / eigenvalues[kept]))


def decibels(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """`10 log10(signal / noise)` within ±100; -100 where there is no signal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * (np.log10(signal) - np.log10(noise))
    # -inf - -inf: nothing came back at all.
    return np.where(signal == 0, -DECIBEL_LIMIT, np.clip(ratio, -DECIBEL_LIMIT, DECIBEL_LIMIT))
