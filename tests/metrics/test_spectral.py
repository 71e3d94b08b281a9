import numpy as np
import pytest
import torch
from scipy.signal import stft

from apollo.audio import degrade
from apollo.metrics import log_spectral_distance, multi_resolution_stft_distance, raw_log_spectral_distance


def noisy(chords: np.ndarray, level: float) -> np.ndarray:
    return chords + level * np.random.default_rng(0).standard_normal(chords.shape)


def test_log_spectral_distance_equals_scipy(chords: np.ndarray) -> None:
    chords = chords[:, : 2048 + 512 * 100]
    estimate = noisy(chords, 1e-3)
    log_powers = []
    for waveform in (chords, estimate):
        options = {"nperseg": 2048, "noverlap": 1536, "boundary": None, "padded": False}
        # SciPy divides the spectrum by the sum of the window, which for a Hann window is half its length.
        spectrum = 1024 * stft(waveform.astype(np.float64), window="hann", **options)[2]
        log_powers.append(np.log10(np.abs(spectrum) ** 2 + 1e-300))
    floor = np.log10(1e-8 * 2048**2 / 8 * np.mean(chords.astype(np.float64) ** 2))
    for distance, lowest in ((raw_log_spectral_distance, -8), (log_spectral_distance, floor)):
        one, other = np.maximum(log_powers, lowest)
        expected = np.sqrt(((one - other) ** 2).mean(axis=1)).mean()
        assert distance(chords, estimate) == pytest.approx(expected, rel=1e-9)


def test_log_spectral_distance_of_a_gain_is_that_gain() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 30_000))
    noise[:, -2048:] = 0.5 * np.random.default_rng(1).standard_normal((2, 2048))
    assert log_spectral_distance(noise, 10 * noise) == pytest.approx(2, rel=1e-3)


def test_noise_that_nobody_hears_brings_no_better_log_spectral_distance(chords: np.ndarray) -> None:
    coded = degrade(chords, 44_100, bitrate=32_000)
    # As far below the music as -70 dBFS is below a dense modern master.
    level = 10 ** (-56 / 20) * np.sqrt(np.mean(chords**2))
    hissing = coded + level * np.random.default_rng(0).standard_normal(coded.shape)
    assert raw_log_spectral_distance(chords, hissing) < 0.8 * raw_log_spectral_distance(chords, coded)
    assert log_spectral_distance(chords, hissing) > 0.97 * log_spectral_distance(chords, coded)


def test_log_spectral_distance_is_the_same_at_every_level(chords: np.ndarray) -> None:
    coded = degrade(chords, 44_100, bitrate=64_000)
    expected = log_spectral_distance(chords, coded)
    assert log_spectral_distance(chords / 4, coded / 4) == pytest.approx(expected, rel=1e-6)


def test_log_spectral_distance_sees_every_sample() -> None:
    silence = np.zeros((1, 5000))
    click = silence.copy()
    click[0, -1000] = 1
    assert log_spectral_distance(silence, click) > 0
    assert log_spectral_distance(silence[:, :100], click[:, -1000:-900]) >= 0


@pytest.mark.parametrize("level", [1e-4, 1e-1])
def test_multi_resolution_stft_distance_equals_its_formula_in_torch(chords: np.ndarray, level: float) -> None:
    chords = chords[:, : 2048 + 512 * 100]
    estimate = noisy(chords, level)
    terms = []
    for n_fft in (512, 1024, 2048):
        for s, e in zip(torch.from_numpy(chords.astype(np.float64)), torch.from_numpy(estimate), strict=True):
            window = torch.hann_window(n_fft, dtype=torch.float64)
            magnitudes = [
                torch.stft(w, n_fft, n_fft // 4, window=window, center=False, return_complex=True).abs().clamp(min=1e-4)
                for w in (s, e)
            ]
            convergence = torch.linalg.norm(magnitudes[0] - magnitudes[1]) / torch.linalg.norm(magnitudes[0])
            terms.append(float(convergence + torch.nn.functional.l1_loss(magnitudes[0].log(), magnitudes[1].log())))
    assert multi_resolution_stft_distance(chords, estimate) == pytest.approx(np.mean(terms), rel=1e-9)


def test_multi_resolution_stft_distance_of_a_gain_is_its_logarithm_and_its_error() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 30_000))
    assert multi_resolution_stft_distance(noise, 3 * noise) == pytest.approx(np.log(3) + 2, rel=1e-3)
