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
from apollo.metrics import sdr, si_sdr, snr

SAMPLE_RATE = 44_100


def noisy(chords: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return chords + level * np.random.default_rng(seed).standard_normal(chords.shape)


def tensors(original: np.ndarray, estimate: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """As torchmetrics takes them: the estimate first."""
    return torch.from_numpy(estimate.astype(np.float64)), torch.from_numpy(original.astype(np.float64))


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_snr_equals_torchmetrics(chords: np.ndarray, level: float) -> None:
    estimate = noisy(chords, level)
    assert snr(chords, estimate) == pytest.approx(
        float(signal_noise_ratio(*tensors(chords, estimate)).mean()), abs=1e-6
    )


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_si_sdr_equals_torchmetrics(chords: np.ndarray, level: float) -> None:
    estimate = 0.3 * noisy(chords, level) + 0.05
    expected = scale_invariant_signal_distortion_ratio(*tensors(chords, estimate), zero_mean=True).mean()
    assert si_sdr(chords, estimate) == pytest.approx(float(expected), abs=1e-6)


def test_si_sdr_equals_its_formula_through_the_correlation(chords: np.ndarray) -> None:
    estimate = noisy(chords, 0.01)
    correlations = [np.corrcoef(s, e)[0, 1] for s, e in zip(chords.astype(np.float64), estimate, strict=True)]
    expected = np.mean([10 * np.log10(r**2 / (1 - r**2)) for r in correlations])
    assert si_sdr(chords, estimate) == pytest.approx(expected, abs=1e-6)


def test_si_sdr_ignores_gain_and_offset(chords: np.ndarray) -> None:
    estimate = noisy(chords, 0.01)
    assert si_sdr(chords, -7 * estimate - 3) == pytest.approx(si_sdr(chords, estimate), abs=1e-6)


def test_si_sdr_of_constant_and_unrelated_signals(chords: np.ndarray) -> None:
    assert math.isnan(si_sdr(np.full_like(chords, 0.3), chords))
    assert si_sdr(chords, np.random.default_rng(0).standard_normal(chords.shape)) < -30


@pytest.mark.parametrize("bitrate", [32_000, 128_000])
def test_sdr_of_mp3_equals_torchmetrics_without_its_regularisation(chords: np.ndarray, bitrate: int) -> None:
    estimate = degrade(chords, SAMPLE_RATE, bitrate=bitrate)
    expected = signal_distortion_ratio(*tensors(chords, estimate), filter_length=512, load_diag=None).mean()
    assert sdr(chords, estimate) == pytest.approx(float(expected), abs=1e-5)


def test_sdr_is_what_the_best_filter_of_512_taps_leaves(chords: np.ndarray) -> None:
    original, estimate = chords[:1, 20_000:23_000].astype(np.float64), noisy(chords, 0.01)[:1, 20_000:23_000]
    padded = np.append(estimate[0], np.zeros(511))
    delayed = toeplitz(np.append(original[0], np.zeros(511)), np.append(original[0, :1], np.zeros(511)))
    projection = delayed @ lstsq(delayed, padded)[0]
    expected = 10 * np.log10(np.sum(projection**2) / np.sum((padded - projection) ** 2))
    assert sdr(original, estimate) == pytest.approx(expected, abs=1e-6)


def test_sdr_forgives_a_filter(chords: np.ndarray) -> None:
    taps = np.random.default_rng(0).standard_normal(300) * np.exp(-np.arange(300) / 30)
    chords = np.pad(chords, ((0, 0), (0, 300)))
    filtered = np.stack([np.convolve(channel, taps)[: channel.size] for channel in chords.astype(np.float64)])
    assert si_sdr(chords, filtered) < 15
    assert sdr(chords, filtered) > 80


def test_sdr_of_a_sine_whose_equations_are_singular_is_defined() -> None:
    sine = np.sin(2 * np.pi * 441 * np.arange(44_100) / 44_100)[None]
    noise = 0.01 * np.random.default_rng(0).standard_normal(sine.shape)
    assert sdr(sine, sine) == 100
    assert sdr(sine, sine + noise) == pytest.approx(snr(sine, sine + noise), abs=0.2)
    assert sdr(sine, noise) < -10
