"""What happened below and above the frequency at which a codec cuts: the cut-off, and the SNR of a band."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apollo.audio.cliff import ROUNDING
from apollo.errors import DataError
from apollo.metrics.pairs import Pair, Waveform, average
from apollo.metrics.ratios import decibels

N_FFT = 4096
HOP_LENGTH = 1024
WINDOW_ENERGY = 0.375 * N_FFT  # of a Hann window
LOST = 15.0  # dB
FALL = 10 ** (LOST / 10)
CUTOFF_BAND = 100.0  # Hz


def band_snr(original: Waveform, estimate: Waveform, sample_rate: int, low: float, high: float) -> float:
    """SNR of what lies between two frequencies in Hz, in dB; higher is better.

    The energies of the original and of the error are summed over the bins `low <= f < high` of an STFT (Hann window of
    4096 samples, hop 1024, whole frames only), and by Parseval's theorem the ratio of the sums is that of the energies
    in the band. A `high` of half the sample rate or more includes the last bin. The window blurs the ends of the band
    by 2 bins, 22 Hz at 44.1 kHz.

    Returns:
        dB within ±100, averaged over channels: identical signals give 100, an estimate that is empty in the band, like
        a decoded MP3 above its cut-off, 0, and one that would better be empty less than 0. A channel is left out in
        whose original the band holds less than rounding to 16 bits puts there; NaN when all are, where the band
        begins at or above half the sample rate, and for fewer than 4096 samples.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored, or the band is not one.
    """
    if not 0 <= low < high:
        raise DataError(f"A band must go from 0 Hz or more to a higher frequency, not from {low} to {high} Hz.")
    pair = Pair(original, estimate)
    frequency = np.arange(N_FFT // 2 + 1) * sample_rate / N_FFT
    weight = np.where((frequency >= low) & ((frequency < high) | (high >= sample_rate / 2)), 2.0, 0.0)
    weight[[0, -1]] /= 2  # of the others the transform of a real signal shows one of two
    signal, noise, frames = np.zeros(pair.channels), np.zeros(pair.channels), 0
    for spectra in pair.spectra(N_FFT, HOP_LENGTH, padded=False):
        frames += spectra.shape[2]
        signal += np.sum(np.abs(spectra[0]) ** 2 @ weight, axis=1)
        noise += np.sum(np.abs(spectra[0] - spectra[1]) ** 2 @ weight, axis=1)
    rounding = ROUNDING * WINDOW_ENERGY * frames * weight.sum()
    return average(np.where(signal > rounding, decibels(signal, noise), np.nan))


def snr_below(original: Waveform, estimate: Waveform, sample_rate: int, cutoff: float | None = None) -> float:
    """`band_snr` from 0 Hz to the codec's cut-off; NaN where the cut-off is None (not known) or 0."""
    return _snr_between(original, estimate, sample_rate, 0.0, cutoff)


def snr_above(original: Waveform, estimate: Waveform, sample_rate: int, cutoff: float | None = None) -> float:
    """`band_snr` from the codec's cut-off up; NaN where it is None (not known) or half the sample rate (nothing cut).

    0 dB for what comes out of the codec; above 0 where something was restored that is nearer to the original than
    nothing is; below where nothing would have been nearer, as for a treble that sounds right but has other phases.
    """
    return _snr_between(original, estimate, sample_rate, cutoff, math.inf)


def _snr_between(
    original: Waveform, estimate: Waveform, sample_rate: int, low: float | None, high: float | None
) -> float:
    if low is None or high is None or low >= high or low >= sample_rate / 2:
        for _ in Pair(original, estimate).blocks():  # What cannot be scored is refused whether or not there is a band.
            pass
        return float("nan")
    return band_snr(original, estimate, sample_rate, low, high)


@dataclass(frozen=True)
class Powers:
    """Power spectra of an original and its degraded version, `(2, bins)`, summed over so many frames."""

    sums: NDArray[np.float64]
    frames: int

    @classmethod
    def of(cls, original: Waveform, degraded: Waveform) -> Powers:
        """Add up the spectra; raises DataError where the waveforms do not fit together or cannot be scored."""
        sums, frames = np.zeros((2, N_FFT // 2 + 1)), 0
        for spectra in Pair(original, degraded).spectra(N_FFT, HOP_LENGTH, padded=False):
            sums += np.sum(np.abs(spectra) ** 2, axis=(1, 2))
            frames += spectra.shape[1] * spectra.shape[2]
        return cls(sums, frames)

    def levels(self, sample_rate: int, width: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The first bins of bands of a width in Hz, and the mean power a bin in each, `(2, bands)`."""
        starts = band_starts(sample_rate, N_FFT, width)
        sizes = np.diff(np.append(starts, self.sums.shape[1]))
        return starts, np.add.reduceat(self.sums, starts, axis=1) / (sizes * max(self.frames, 1) * WINDOW_ENERGY)


def codec_cutoff(original: Waveform, degraded: Waveform, sample_rate: int) -> float:
    """Find the frequency from which on a codec has left out what the original holds; both waveforms are aligned.

    Compares the power spectra of both, averaged over time and channels (Hann window of 4096 samples), in bands of 100
    Hz: from the cut-off up, the degraded waveform is at least 15 dB below the original in each band. Bands where the
    original is less than 15 dB above what rounding to 16 bits leaves tell nothing and are passed over.

    Returns:
        Hz, the lower edge of a band; 0 where everything is lost, and half the sample rate where nothing is, as where
        the original is silent or both are shorter than 4096 samples.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored.
    """
    return cutoff_of(Powers.of(original, degraded), sample_rate)


def cutoff_of(powers: Powers, sample_rate: int) -> float:
    """`codec_cutoff` of waveforms whose powers are known."""
    starts, level = powers.levels(sample_rate, CUTOFF_BAND)
    told = level[0] > FALL * ROUNDING
    cutoff = sample_rate / 2
    for band in reversed(range(len(starts))):
        if told[band]:
            if level[0, band] < FALL * level[1, band]:
                break
            cutoff = float(starts[band] * sample_rate / N_FFT)
    return cutoff


def band_starts(sample_rate: int, n_fft: int, width: float) -> NDArray[np.intp]:
    """The first bins of bands of a width in Hz; the last one may be narrower."""
    return np.arange(0, n_fft // 2 + 1, max(1, round(width * n_fft / sample_rate)))
