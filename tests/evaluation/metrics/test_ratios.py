import math

import numpy as np
import pytest
import torch
from scipy.linalg import lstsq, toeplitz
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    signal_distortion_ratio,
    signal_noise_ratio,
)

from apollo.audio import degrade
from apollo.evaluation.metrics import sdr, si_sdr, snr

SAMPLE_RATE = 44_100


def noisy(music: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return music + level * np.random.default_rng(seed).standard_normal(music.shape)


def tensors(original: np.ndarray, estimate: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """As torchmetrics takes them: the estimate first."""
    return torch.from_numpy(estimate.astype(np.float64)), torch.from_numpy(original.astype(np.float64))


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_snr_equals_torchmetrics(music: np.ndarray, level: float) -> None:
    estimate = noisy(music, level)
    assert snr(music, estimate) == pytest.approx(float(signal_noise_ratio(*tensors(music, estimate)).mean()), abs=1e-6)


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_si_sdr_equals_torchmetrics(music: np.ndarray, level: float) -> None:
    estimate = 0.3 * noisy(music, level) + 0.05
    expected = scale_invariant_signal_distortion_ratio(*tensors(music, estimate), zero_mean=True).mean()
    assert si_sdr(music, estimate) == pytest.approx(float(expected), abs=1e-6)


def test_si_sdr_equals_its_formula_through_the_correlation(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    correlations = [np.corrcoef(s, e)[0, 1] for s, e in zip(music.astype(np.float64), estimate, strict=True)]
    expected = np.mean([10 * np.log10(r**2 / (1 - r**2)) for r in correlations])
    assert si_sdr(music, estimate) == pytest.approx(expected, abs=1e-6)


def test_si_sdr_ignores_gain_and_offset(music: np.ndarray) -> None:
    estimate = noisy(music, 0.01)
    assert si_sdr(music, -7 * estimate - 3) == pytest.approx(si_sdr(music, estimate), abs=1e-6)


def test_si_sdr_of_constant_and_unrelated_signals(music: np.ndarray) -> None:
    assert math.isnan(si_sdr(np.full_like(music, 0.3), music))
    assert si_sdr(music, np.random.default_rng(0).standard_normal(music.shape)) < -30


@pytest.mark.parametrize("bitrate", [32_000, 128_000])
def test_sdr_of_mp3_equals_torchmetrics_without_its_regularisation(music: np.ndarray, bitrate: int) -> None:
    estimate = degrade(music, SAMPLE_RATE, bitrate=bitrate)
    expected = signal_distortion_ratio(*tensors(music, estimate), filter_length=512, load_diag=None).mean()
    assert sdr(music, estimate) == pytest.approx(float(expected), abs=1e-5)


def test_sdr_is_what_the_best_filter_of_512_taps_leaves(music: np.ndarray) -> None:
    original, estimate = music[:1, 20_000:23_000].astype(np.float64), noisy(music, 0.01)[:1, 20_000:23_000]
    padded = np.append(estimate[0], np.zeros(511))
    delayed = toeplitz(np.append(original[0], np.zeros(511)), np.append(original[0, :1], np.zeros(511)))
    projection = delayed @ lstsq(delayed, padded)[0]
    expected = 10 * np.log10(np.sum(projection**2) / np.sum((padded - projection) ** 2))
    assert sdr(original, estimate) == pytest.approx(expected, abs=1e-6)


def test_sdr_forgives_a_filter(music: np.ndarray) -> None:
    taps = np.random.default_rng(0).standard_normal(300) * np.exp(-np.arange(300) / 30)
    music = np.pad(music, ((0, 0), (0, 300)))
    filtered = np.stack([np.convolve(channel, taps)[: channel.size] for channel in music.astype(np.float64)])
    assert si_sdr(music, filtered) < 15
    assert sdr(music, filtered) > 80


def test_sdr_of_a_sine_whose_equations_are_singular_is_defined() -> None:
    sine = np.sin(2 * np.pi * 441 * np.arange(44_100) / 44_100)[None]
    noise = 0.01 * np.random.default_rng(0).standard_normal(sine.shape)
    assert sdr(sine, sine) == 100
    assert sdr(sine, sine + noise) == pytest.approx(snr(sine, sine + noise), abs=0.2)
    assert sdr(sine, noise) < -10
