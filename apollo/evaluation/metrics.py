"""How close a waveform is to the original it should equal.

Every metric takes `(original, estimate, sample_rate)`, both waveforms `(channels, samples)` at `sample_rate` in Hz,
computes in float64 and gives one float. Both waveforms must have one shape, hold at least one sample and be finite;
else `DataError`. NaN means "not defined for this original" (each function says when) and is left out of averages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apollo.audio.resampling import resample
from apollo.errors import DataError

if TYPE_CHECKING:
    from visqol import VisqolApi

Waveform = NDArray[np.floating[Any]]

SI_SDR_LIMIT = 100.0
LSD_N_FFT = 2048
LSD_HOP_LENGTH = 512
LSD_POWER_FLOOR = 1e-8
VISQOL_SAMPLE_RATE = 48_000
VISQOL_SECONDS = 30.0
# One ViSQOL patch of 30 frames, plus the 15 frames it keeps clear at the start, of 80 ms every 20 ms.
VISQOL_SHORTEST = 1.0


def si_sdr(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; higher is better.

    Le Roux et al., "SDR - half-baked or well done?" (ICASSP 2019), eq. 1-3, with the mean of both signals removed
    first: `10 log10(|a s|² / |a s - e|²)`, `a = <e, s> / |s|²`. Each channel is scored alone and the channels are
    averaged.

    Args:
        original: What the estimate should equal, `(channels, samples)`.
        estimate: What is scored, same shape.
        sample_rate: Not used; here so that all metrics are called alike.

    Returns:
        dB within ±100: identical signals give 100, an estimate that is silent or unrelated -100. A channel that is
        constant in the original is left out; NaN when all are.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored.
    """
    s, e = _pair(original, estimate)
    s = s - s.mean(axis=1, keepdims=True)
    e = e - e.mean(axis=1, keepdims=True)
    energy = np.sum(s * s, axis=1)
    # A constant leaves rounding noise behind when its mean is taken off.
    audible = energy > s.shape[1] * (1e-13 * np.abs(original).max(axis=1)) ** 2
    if not audible.any():
        return float("nan")
    s, e, energy = s[audible], e[audible], energy[audible]
    target = (np.sum(e * s, axis=1) / energy)[:, None] * s
    signal, distortion = np.sum(target**2, axis=1), np.sum((target - e) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10 * (np.log10(signal) - np.log10(distortion))
    # -inf - -inf: nothing came back at all.
    decibels = np.where(signal == 0, -SI_SDR_LIMIT, np.clip(decibels, -SI_SDR_LIMIT, SI_SDR_LIMIT))
    return float(decibels.mean())


def log_spectral_distance(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """Distance between log power spectra, in decades of power (times 10: dB); lower is better, 0 is best.

    Mean over frames of `sqrt(mean over bins of (log10 P - log10 P')²)` (Gray and Markel, "Distance measures for speech
    processing", 1976; in this unit it is the LSD of the bandwidth-extension literature). P is the power of the
    unnormalised STFT: periodic Hann window of 2048 samples, hop 512, waveform in ±1, the end padded with zeros to a
    whole frame. P is raised to a floor of 1e-8, 134 dB under a full-scale sine and just under the noise of 16-bit
    audio, so that digital silence has a finite distance. Channels are averaged.

    Args:
        original: What the estimate should equal, `(channels, samples)`.
        estimate: What is scored, same shape.
        sample_rate: Not used; here so that all metrics are called alike.

    Returns:
        0 for identical signals, two silent ones among them; always finite.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored.
    """
    pair = np.stack(_pair(original, estimate))
    samples = pair.shape[-1]
    frames = 1 + max(0, -(-(samples - LSD_N_FFT) // LSD_HOP_LENGTH))
    padding = (frames - 1) * LSD_HOP_LENGTH + LSD_N_FFT - samples
    pair = np.pad(pair, ((0, 0), (0, 0), (0, padding)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LSD_N_FFT) / LSD_N_FFT)
    framed = np.lib.stride_tricks.sliding_window_view(pair, LSD_N_FFT, axis=-1)[:, :, ::LSD_HOP_LENGTH]
    total = 0.0
    # A few hundred frames at a time: the spectra of a whole song would take gigabytes.
    for start in range(0, frames, 256):
        power = np.abs(np.fft.rfft(framed[:, :, start : start + 256] * window)) ** 2
        log_power = np.log10(np.maximum(power, LSD_POWER_FLOOR))
        total += float(np.sqrt(np.mean((log_power[0] - log_power[1]) ** 2, axis=-1)).sum())
    return float(total / (frames * pair.shape[1]))


def visqol(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """ViSQOL 3 in audio mode: predicted mean opinion score; higher is better.

    From 1 (bad) to 4.73, what identical signals get.

    Chinen et al., "ViSQOL v3" (QoMEX 2020), in the Python port `visqol-python` with its defaults. Both waveforms
    are mixed down to mono as the mean of their channels and resampled to 48 kHz. ViSQOL's search grows with the
    square of the length, so pieces longer than 30 s are cut into equal segments of at most 30 s and the scores of
    those that are not silent are averaged.

    Args:
        original: What the estimate should equal, `(channels, samples)`.
        estimate: What is scored, same shape.
        sample_rate: Of both, in Hz.

    Returns:
        The score. 1 where the estimate is silent and the original is not; NaN where the original is silent in mono
        or shorter than 1 s, which ViSQOL cannot score.

    Raises:
        DataError: The waveforms do not fit together or cannot be scored.
    """
    pair = np.stack(_pair(original, estimate)).mean(axis=1)
    pair = resample(pair, sample_rate, VISQOL_SAMPLE_RATE).astype(np.float64)
    segments = int(np.ceil(pair.shape[1] / (VISQOL_SECONDS * VISQOL_SAMPLE_RATE)))
    scores = [_visqol_segment(s, e) for s, e in np.array_split(pair, max(1, segments), axis=1)]
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else float("nan")


def _visqol_segment(original: NDArray[np.float64], estimate: NDArray[np.float64]) -> float:
    """Score one mono segment `(samples,)` at 48 kHz.

    The port gives 4.73 to anything compared with a silent original and NaN to a silent estimate, so neither gets there.
    """
    if original.size < VISQOL_SHORTEST * VISQOL_SAMPLE_RATE or not original.any():
        return float("nan")
    if not estimate.any():
        return 1.0
    score = _visqol_api().measure_from_arrays(
        np.ascontiguousarray(original), np.ascontiguousarray(estimate), VISQOL_SAMPLE_RATE
    )
    return float(score.moslqo)


@cache
def _visqol_api() -> VisqolApi:
    """Build the scorer once a process: it reads its regression model from disk."""
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api


def _pair(original: Waveform, estimate: Waveform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both waveforms as float64 `(channels, samples)`, checked to fit together."""
    s, e = np.asarray(original, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if s.shape != e.shape:
        raise DataError(
            f"Cannot compare waveforms of different shapes, {s.shape} and {e.shape}: align and trim them first."
        )
    if s.ndim != 2 or s.size == 0:
        raise DataError(f"A waveform to score must be (channels, samples) and not empty, but its shape is {s.shape}.")
    if not (np.isfinite(s).all() and np.isfinite(e).all()):
        raise DataError("A waveform to score holds NaN or infinite samples.")
    return s, e


@dataclass(frozen=True)
class Metric:
    """A metric and how to read it.

    Attributes:
        label: As a table shows it.
        unit: Of its value.
        higher_is_better: Whether a larger value is a better one.
        score: `(original, estimate, sample_rate)` to value.
    """

    label: str
    unit: str
    higher_is_better: bool
    score: Callable[[Waveform, Waveform, int], float]


METRICS = {
    "si_sdr": Metric("SI-SDR", "dB", True, si_sdr),
    "visqol": Metric("ViSQOL", "MOS", True, visqol),
    "lsd": Metric("Log-spectral distance", "log10 power", False, log_spectral_distance),
}
