import math

import numpy as np
import pytest
import torch
from scipy.signal import stft
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from apollo.audio.codecs import degrade
from apollo.errors import DataError
from apollo.evaluation.metrics import METRICS, log_spectral_distance, si_sdr, visqol

SAMPLE_RATE = 44_100


def noisy(music: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return music + level * np.random.default_rng(seed).standard_normal(music.shape)


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_si_sdr_equals_torchmetrics(music: np.ndarray, level: float) -> None:
    estimate = 0.3 * noisy(music, level) + 0.05
    expected = scale_invariant_signal_distortion_ratio(
        torch.from_numpy(estimate), torch.from_numpy(music.astype(np.float64)), zero_mean=True
    ).mean()
    assert si_sdr(music, estimate) == pytest.approx(float(expected), abs=1e-6)


def test_si_sdr_equals_its_formula_through_the_correlation(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    correlations = [np.corrcoef(s, e)[0, 1] for s, e in zip(music.astype(np.float64), estimate, strict=True)]
    expected = np.mean([10 * np.log10(r**2 / (1 - r**2)) for r in correlations])
    assert si_sdr(music, estimate) == pytest.approx(expected, abs=1e-6)


def test_si_sdr_ignores_gain_and_offset(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    assert si_sdr(music, -7 * estimate - 3) == pytest.approx(si_sdr(music, estimate), abs=1e-6)


def test_si_sdr_of_identical_silent_and_unrelated_signals(music: np.ndarray) -> None:
    silence = np.zeros_like(music)
    assert si_sdr(music, music) == 100
    assert si_sdr(music, silence) == -100
    assert math.isnan(si_sdr(silence, music))
    assert math.isnan(si_sdr(np.full_like(music, 0.3), music))
    assert si_sdr(music, np.random.default_rng(0).standard_normal(music.shape)) < -30


def test_si_sdr_leaves_out_a_silent_channel(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    half_silent = np.stack([music[0], np.zeros_like(music[0])])
    assert si_sdr(half_silent, estimate) == pytest.approx(si_sdr(music[:1], estimate[:1]))


def test_log_spectral_distance_equals_scipy(music: np.ndarray) -> None:
    music = music[:, : 2048 + 512 * 100]
    estimate = noisy(music, 1e-3)
    log_powers = []
    for waveform in (music, estimate):
        options = {"nperseg": 2048, "noverlap": 1536, "boundary": None, "padded": False}
        # SciPy divides the spectrum by the sum of the window, which for a Hann window is half its length.
        spectrum = 1024 * stft(waveform.astype(np.float64), window="hann", **options)[2]
        log_powers.append(np.log10(np.maximum(np.abs(spectrum) ** 2, 1e-8)))
    expected = np.sqrt(((log_powers[0] - log_powers[1]) ** 2).mean(axis=1)).mean()
    assert log_spectral_distance(music, estimate) == pytest.approx(expected, rel=1e-9)


def test_log_spectral_distance_of_a_gain_is_that_gain() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 30_000))
    noise[:, -2048:] = 0.5 * np.random.default_rng(1).standard_normal((2, 2048))
    assert log_spectral_distance(noise, 10 * noise) == pytest.approx(2, rel=1e-3)


def test_log_spectral_distance_of_identical_and_silent_signals(music: np.ndarray) -> None:
    silence = np.zeros_like(music)
    assert log_spectral_distance(music, music) == 0
    assert log_spectral_distance(silence, silence) == 0
    assert 2 < log_spectral_distance(music, silence) < 20


def test_log_spectral_distance_sees_every_sample() -> None:
    silence = np.zeros((1, 5000))
    click = silence.copy()
    click[0, -1000] = 1
    assert log_spectral_distance(silence, click) > 0
    assert log_spectral_distance(silence[:, :100], click[:, -1000:-900]) >= 0


def test_visqol_of_identical_signals_is_its_maximum(music: np.ndarray) -> None:
    assert visqol(music, music, SAMPLE_RATE) == pytest.approx(4.73, abs=0.01)


def test_every_metric_gets_worse_as_the_bitrate_falls(music: np.ndarray) -> None:
    decoded = [degrade(music, SAMPLE_RATE, codec="mp3", bitrate=bitrate) for bitrate in (128_000, 64_000, 32_000)]
    for name, metric in METRICS.items():
        scores = [metric.score(music, estimate, SAMPLE_RATE) for estimate in decoded]
        assert scores == sorted(scores, reverse=metric.higher_is_better), name


def test_visqol_mixes_down_to_mono(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    mono = visqol(music.mean(axis=0, keepdims=True), estimate.mean(axis=0, keepdims=True), SAMPLE_RATE)
    assert visqol(music, estimate, SAMPLE_RATE) == pytest.approx(mono, abs=1e-6)


def test_visqol_of_silent_and_short_signals(music: np.ndarray) -> None:
    silence = np.zeros_like(music)
    assert visqol(music, silence, SAMPLE_RATE) == 1
    assert math.isnan(visqol(silence, music, SAMPLE_RATE))
    assert math.isnan(visqol(silence, silence, SAMPLE_RATE))
    assert math.isnan(visqol(music[:, :40_000], music[:, :40_000], SAMPLE_RATE))
    assert visqol(music[:, :44_200], music[:, :44_200], SAMPLE_RATE) > 4.5


def test_visqol_averages_the_segments_of_a_long_piece(music: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = np.concatenate([music, noisy(music, 0.02)], axis=1)
    original = np.concatenate([music, music], axis=1)
    parts = [
        visqol(original[:, half], estimate[:, half], SAMPLE_RATE) for half in (slice(132_300), slice(132_300, None))
    ]
    monkeypatch.setattr("apollo.evaluation.metrics.VISQOL_SECONDS", 3.0)
    assert visqol(original, estimate, SAMPLE_RATE) == pytest.approx(np.mean(parts), abs=0.02)


@pytest.mark.parametrize("name", METRICS)
def test_what_cannot_be_compared_is_refused(name: str, music: np.ndarray) -> None:
    score = METRICS[name].score
    broken = music.copy()
    broken[0, 5] = np.nan
    with pytest.raises(DataError, match="different shapes"):
        score(music, music[:, :-1], SAMPLE_RATE)
    with pytest.raises(DataError, match="different shapes"):
        score(music, music[:1], SAMPLE_RATE)
    with pytest.raises(DataError, match="not empty"):
        score(music[:, :0], music[:, :0], SAMPLE_RATE)
    with pytest.raises(DataError, match="channels, samples"):
        score(music[0], music[0], SAMPLE_RATE)
    with pytest.raises(DataError, match="NaN"):
        score(music, broken, SAMPLE_RATE)
