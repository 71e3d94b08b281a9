import numpy as np
import pytest

from apollo.metrics import log_wmse

SAMPLE_RATE = 44_100

# calculate_log_wmse(music, estimate, music, sample_rate) of log-wmse-audio-quality 0.2.0: (change, sample rate, score).
PUBLISHED = [
    ("noise of -80 dB", 44_100, 48.66385),
    ("noise of -40 dB", 44_100, 11.82454),
    ("noise of 0 dB", 44_100, -25.01682),
    ("half as loud", 44_100, 5.54518),
    ("treble cut", 44_100, 21.46026),
    ("noise of -40 dB", 48_000, 12.37993),
    ("treble cut", 48_000, 22.81795),
]


@pytest.mark.parametrize(("change", "sample_rate", "score"), PUBLISHED)
def test_log_wmse_is_that_of_the_package_that_defines_it(
    change: str, sample_rate: int, score: float, chords: np.ndarray
) -> None:
    if change == "half as loud":
        estimate = chords / 2
    elif change == "treble cut":
        spectrum = np.fft.rfft(chords)
        estimate = np.fft.irfft(spectrum * (np.arange(spectrum.shape[1]) < 24_000), chords.shape[1])
    else:
        level = 10 ** (float(change.split()[2]) / 20)
        estimate = chords + level * np.random.default_rng(0).standard_normal(chords.shape)
    assert log_wmse(chords, estimate, sample_rate) == pytest.approx(score, abs=0.01)


@pytest.mark.parametrize(
    ("frequency", "decibels"), [(50, -15.32), (500, 2.53), (1000, 1.49), (3150, 4.23), (16_000, -12.3)]
)
def test_an_error_weighs_as_much_as_the_ear_hears_of_it(frequency: int, decibels: float) -> None:
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    original = np.sin(2 * np.pi * 1000 * time)[None]
    error = 0.1 * np.sin(2 * np.pi * frequency * time)[None]
    expected = -4 * np.log(0.01 * 10 ** ((decibels - 1.49) / 10))
    assert log_wmse(original, original + error, SAMPLE_RATE) == pytest.approx(expected, abs=0.03)


def test_log_wmse_does_not_depend_on_the_volume(chords: np.ndarray) -> None:
    estimate = chords + 0.01 * np.random.default_rng(0).standard_normal(chords.shape)
    assert log_wmse(0.01 * chords, 0.01 * estimate, SAMPLE_RATE) == pytest.approx(
        log_wmse(chords, estimate, SAMPLE_RATE), abs=1e-5
    )


def test_an_error_that_nobody_hears_counts_as_none(chords: np.ndarray) -> None:
    assert log_wmse(chords, chords * (1 + 1e-6), SAMPLE_RATE) == pytest.approx(-4 * np.log(1e-8))
