"""Whether levels are right, whatever the phase: in bands that a codec has thrown away, and from moment to moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apollo.audio.cliff import ROUNDING
from apollo.errors import DataError
from apollo.metrics.bands import FALL, HOP_LENGTH, N_FFT, Powers, band_starts
from apollo.metrics.pairs import Pair, Waveform, average
from apollo.metrics.spectral import LEVEL_FLOOR

LOST_BAND = 500.0  # Hz
ENVELOPE_N_FFT = 512
ENVELOPE_BAND = 2000.0  # Hz


def lost_bands(original: Waveform, degraded: Waveform, sample_rate: int) -> NDArray[np.bool_]:
    """Tell in which bands of 500 Hz the damage has left next to nothing of what the original holds; both are aligned.

    A band is lost where the power of the degraded waveform, averaged over time and channels (Hann window of 4096
    samples, hop 1024), is at least 15 dB below that of the original, and the original's at least 15 dB above what
    rounding to 16 bits leaves.

    Returns:
        `(bands,)`, from 0 Hz up; none is lost of fewer than 4096 samples.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored.
    """
    return lost_of(Powers.of(original, degraded), sample_rate)


def lost_of(powers: Powers, sample_rate: int) -> NDArray[np.bool_]:
    """`lost_bands` of waveforms whose powers are known."""
    _, level = powers.levels(sample_rate, LOST_BAND)
    lost: NDArray[np.bool_] = (level[0] > FALL * ROUNDING) & (level[0] >= FALL * level[1])
    return lost


def lost_band_level(
    original: Waveform, estimate: Waveform, sample_rate: int, lost: NDArray[np.bool_] | None = None
) -> float:
    """By how many dB the level in lost bands is wrong, mean of `|L' - L|`; lower is better, 0 is best.

    L and L' are the levels of original and estimate in a lost band and a frame: `10 log10` of the power in its bins
    (Hann window of 4096 samples, hop 1024, whole frames only), raised to a floor 80 dB under the level of the channel
    in the original. The mean is over lost bands and frames; where the original is under that floor, a frame tells
    nothing about a band and is left out. Phase plays no part, so this tells whether lost treble is back as loud as it
    was. Which bands are lost is told by `lost_bands` of the original and its damaged version.

    Returns:
        dB, averaged over channels. A channel is left out that holds nothing in lost bands; NaN when all are, where no
        band is lost or which are is not known (None), and for fewer than 4096 samples.
    """
    return _lost_levels(original, estimate, sample_rate, lost)[1]


def lost_band_bias(
    original: Waveform, estimate: Waveform, sample_rate: int, lost: NDArray[np.bool_] | None = None
) -> float:
    """By how many dB lost bands are too loud on average, mean of `L' - L`; nearer to 0 is better, below 0 is too soft.

    Levels, arguments, errors and what is not defined are those of `lost_band_level`.
    """
    return _lost_levels(original, estimate, sample_rate, lost)[0]


def _lost_levels(
    original: Waveform, estimate: Waveform, sample_rate: int, lost: NDArray[np.bool_] | None
) -> tuple[float, float]:
    """Bias and mean error of the levels in lost bands, in dB."""
    pair = Pair(original, estimate)
    floor = _floor(pair, N_FFT)
    if lost is None or not lost.any():
        return float("nan"), float("nan")
    starts = band_starts(sample_rate, N_FFT, LOST_BAND)
    if len(starts) != len(lost):
        raise DataError(f"At {sample_rate} Hz there are {len(starts)} bands that may be lost, not {len(lost)}.")
    bias, error, cells = np.zeros((3, pair.channels))
    for spectra in pair.spectra(N_FFT, HOP_LENGTH, padded=False):
        power = np.add.reduceat(np.abs(spectra) ** 2, starts, axis=-1)[..., lost]
        wrong = np.diff(10 * np.log10(np.maximum(power, floor)), axis=0)[0]
        told = power[0] > floor
        bias += np.sum(wrong, axis=(1, 2), where=told)
        error += np.sum(np.abs(wrong), axis=(1, 2), where=told)
        cells += np.sum(told, axis=(1, 2))
    defined = cells > 0
    cells[~defined] = np.nan
    return average(bias / cells), average(error / cells)


def envelope_error(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """How differently the level moves in time, in dB; lower is better, 0 is best.

    Mean over bands of 2 kHz of the standard deviation over time of `L' - L`, the difference of the levels of estimate
    and original in a band: `10 log10` of the power in its bins (Hann window of 512 samples, hop 128, whole frames only:
    11.6 and 2.9 ms at 44.1 kHz), raised to a floor 80 dB under the level of the channel in the original. A level that
    is wrong by the same amount all the time costs nothing here; smeared attacks and noise that does not move with the
    music do. Bands are left out in which the original never rises above the floor.

    Returns:
        dB, averaged over channels. A channel that is silent in the original is left out; NaN when all are, and for
        fewer than 512 samples.
    """
    pair = Pair(original, estimate)
    floor = _floor(pair, ENVELOPE_N_FFT)
    starts = band_starts(sample_rate, ENVELOPE_N_FFT, ENVELOPE_BAND)
    heard, frames = np.zeros((pair.channels, len(starts)), dtype=bool), 0
    sums, squares = np.zeros((2, pair.channels, len(starts)))
    for spectra in pair.spectra(ENVELOPE_N_FFT, ENVELOPE_N_FFT // 4, padded=False):
        power = np.add.reduceat(np.abs(spectra) ** 2, starts, axis=-1)
        wrong = np.diff(10 * np.log10(np.maximum(power, floor)), axis=0)[0]
        heard |= np.any(power[0] > floor, axis=1)
        sums += wrong.sum(axis=1)
        squares += np.sum(wrong**2, axis=1)
        frames += spectra.shape[2]
    if not frames:
        return float("nan")
    spread = np.sqrt(np.maximum(squares / frames - (sums / frames) ** 2, 0))
    return average(np.array([average(np.where(own, row, np.nan)) for own, row in zip(heard, spread, strict=True)]))


def _floor(pair: Pair, n_fft: int) -> NDArray[np.float64]:
    """The power in a band of an unnormalised STFT 80 dB under the level of each of the original's channels.

    By Parseval's theorem white noise of variance v has `v · n_fft · 3/8 · n_fft/2` in the bins of one side.

    Returns:
        `(channels, 1, 1)`, above 0 even for silence.
    """
    level = pair.energy() / pair.samples
    return np.maximum(LEVEL_FLOOR * level * 0.375 * n_fft * n_fft / 2, np.finfo(np.float64).tiny)[:, None, None]
