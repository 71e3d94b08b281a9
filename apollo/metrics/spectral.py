"""Distances between magnitude spectrograms, for which phase plays no part."""

from __future__ import annotations

import numpy as np

from apollo.metrics.pairs import Pair, Waveform, average

LSD_N_FFT = 2048
LSD_HOP_LENGTH = 512
MRSTFT_N_FFTS = (512, 1024, 2048)
# 134 dB under a full-scale sine in a window of 2048 samples, and just under the noise of 16-bit audio.
POWER_FLOOR = 1e-8
LEVEL_FLOOR = 1e-8  # 80 dB under the level of the original


def log_spectral_distance(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Distance between log power spectra above a floor that the original's level sets; lower is better, 0 is best.

    As `raw_log_spectral_distance`, but P is raised to a floor 80 dB under a sine as loud as the original,
    `10^-8 · N²/8 · mean(s²)`, where N is the window's 2048 samples and the mean is over all samples and channels (and
    never to less than 1e-8). Under such a floor lie the noise of the recording and what nobody hears. Without it, that
    noise decides: white noise at -70 dBFS, added to an MP3, halves the raw distance.

    Returns:
        Decades of power (times 10: dB); 0 for identical signals, two silent ones among them; always finite.
    """
    pair = Pair(original, estimate)
    level = float(pair.energy().sum()) / (pair.samples * pair.channels)
    return _distance(pair, max(POWER_FLOOR, LEVEL_FLOOR * level * LSD_N_FFT**2 / 8))


def raw_log_spectral_distance(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Distance between log power spectra as it is published, in decades of power (times 10: dB); lower is better.

    Mean over frames of `sqrt(mean over bins of (log10 P - log10 P')²)` (Gray and Markel, "Distance measures for speech
    processing", 1976; in this unit it is the LSD of the bandwidth-extension literature). P is the power of the
    unnormalised STFT: periodic Hann window of 2048 samples, hop 512, waveform in ±1, the end padded with zeros to a
    whole frame. P is raised to a floor of 1e-8, 134 dB under a full-scale sine and just under the noise of 16-bit
    audio, so that digital silence has a finite distance. Channels are averaged.

    Returns:
        0 for identical signals, two silent ones among them; always finite.
    """
    return _distance(Pair(original, estimate), POWER_FLOOR)


def _distance(pair: Pair, floor: float) -> float:
    total, frames = 0.0, 0
    for spectra in pair.spectra(LSD_N_FFT, LSD_HOP_LENGTH):
        log_power = np.log10(np.maximum(np.abs(spectra) ** 2, floor))
        total += float(np.sqrt(np.mean((log_power[0] - log_power[1]) ** 2, axis=-1)).sum())
        frames += spectra.shape[2]
    return total / (frames * pair.channels)


def multi_resolution_stft_distance(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Spectral convergence plus log-magnitude distance, mean of three resolutions; lower is better, 0 is best.

    The multi-resolution STFT loss of Yamamoto, Song and Kim, "Parallel WaveGAN" (ICASSP 2020), eq. 3-6:
    `‖S - S'‖ / ‖S‖` (Frobenius norms over the whole waveform) plus the mean of `|ln S - ln S'|`, S being magnitudes.
    Transforms have 512, 1024 and 2048 samples as theirs, with Hann windows as long and hops of a quarter: 12, 23 and
    46 ms at 44.1 kHz, where theirs were 10, 25 and 50 ms at 24 kHz. Squared magnitudes are raised to a floor of 1e-8.
    The end is padded with zeros to a whole frame.

    Returns:
        0 for identical signals, averaged over channels. A channel that is silent in the original is left out, its
        norm being 0; NaN when all are.
    """
    pair = Pair(original, estimate)
    audible = np.zeros(pair.channels, dtype=bool)
    distances = np.zeros(pair.channels)
    for n_fft in MRSTFT_N_FFTS:
        error, energy, logs = np.zeros(pair.channels), np.zeros(pair.channels), np.zeros(pair.channels)
        frames = 0
        for spectra in pair.spectra(n_fft, n_fft // 4):
            audible |= np.any(spectra[0] != 0, axis=(1, 2))
            s, e = np.sqrt(np.maximum(np.abs(spectra) ** 2, POWER_FLOOR))
            error += np.sum((s - e) ** 2, axis=(1, 2))
            energy += np.sum(s**2, axis=(1, 2))
            logs += np.abs(np.log(s) - np.log(e)).mean(axis=2).sum(axis=1)
            frames += spectra.shape[2]
        distances += (np.sqrt(error / energy) + logs / frames) / len(MRSTFT_N_FFTS)
    return average(np.where(audible, distances, np.nan))
