import math

import numpy as np
import pytest

from apollo.errors import DataError
from apollo.metrics import envelope_error, lost_band_bias, lost_band_level, lost_bands

SAMPLE_RATE = 44_100


def below(waveform: np.ndarray, frequency: float, gain_above: float = 0.0) -> np.ndarray:
    """A waveform with what lies above a frequency made softer or louder."""
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    loud = np.fft.rfftfreq(waveform.shape[1], 1 / SAMPLE_RATE) > frequency
    return np.fft.irfft(np.where(loud, gain_above, 1.0) * spectrum, waveform.shape[1])


def test_a_band_is_lost_where_the_damage_leaves_15_db_less(chords: np.ndarray) -> None:
    lost = lost_bands(chords, below(chords, 8_000), SAMPLE_RATE)
    first = int(np.argmax(lost)) * 500
    assert 7_500 < first < 8_700
    assert lost[first // 500 : 35].all()
    assert not lost_bands(chords, below(chords, 8_000, 10 ** (-12 / 20)), SAMPLE_RATE).any()
    assert lost_bands(chords, below(chords, 8_000, 10 ** (-18 / 20)), SAMPLE_RATE).any()
    assert not lost_bands(chords, chords, SAMPLE_RATE).any()
    assert not lost_bands(chords[:, :4_000], 0 * chords[:, :4_000], SAMPLE_RATE).any()


@pytest.mark.parametrize("decibels", [-12.0, 0.0, 6.0])
def test_lost_bands_that_are_too_loud_by_some_decibels_say_so(decibels: float) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 50_000))
    lost = lost_bands(noise, below(noise, 8_000), SAMPLE_RATE)
    estimate = below(noise, 7_000, 10 ** (decibels / 20))
    assert lost_band_bias(noise, estimate, SAMPLE_RATE, lost) == pytest.approx(decibels, abs=0.1)
    assert lost_band_level(noise, estimate, SAMPLE_RATE, lost) == pytest.approx(abs(decibels), abs=0.1)


def test_phase_plays_no_part_in_lost_bands(chords: np.ndarray) -> None:
    lost = lost_bands(chords, below(chords, 8_000), SAMPLE_RATE)
    assert lost_band_level(chords, -chords, SAMPLE_RATE, lost) == pytest.approx(0, abs=1e-9)


def test_errors_that_cancel_are_no_bias_but_an_error() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 100_000))
    lost = lost_bands(noise, below(noise, 8_000), SAMPLE_RATE)
    estimate = noise * np.where(np.arange(100_000) < 50_000, 2.0, 0.5)
    assert lost_band_bias(noise, estimate, SAMPLE_RATE, lost) == pytest.approx(0, abs=0.2)
    assert lost_band_level(noise, estimate, SAMPLE_RATE, lost) == pytest.approx(6, abs=0.2)


def test_nothing_is_said_where_nothing_is_lost_or_known(chords: np.ndarray) -> None:
    for lost in (None, np.zeros(45, dtype=bool)):
        assert math.isnan(lost_band_level(chords, chords, SAMPLE_RATE, lost))
        assert math.isnan(lost_band_bias(chords, chords, SAMPLE_RATE, lost))
    with pytest.raises(DataError, match="45 bands"):
        lost_band_level(chords, chords, SAMPLE_RATE, np.ones(7, dtype=bool))


def test_a_constant_gain_costs_no_envelope_error() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 30_000))
    assert envelope_error(noise, 0.1 * noise) == pytest.approx(0, abs=1e-9)


def test_envelope_error_is_the_spread_of_the_level() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 200_000))
    moving = noise * np.where(np.arange(200_000) < 100_000, 1.0, 10 ** (-6 / 20))
    assert envelope_error(noise, moving) == pytest.approx(3, abs=0.05)


def test_smeared_attacks_cost_more_than_sharp_ones() -> None:
    generator = np.random.default_rng(1)
    time = np.arange(40_000) % 10_000
    carrier = generator.standard_normal((1, 40_000))
    attack = carrier * np.exp(-time / 1_500)
    smeared = generator.standard_normal((1, 40_000)) * np.exp(-((time + 700) % 10_000) / 1_500)
    sharp = generator.standard_normal((1, 40_000)) * np.exp(-time / 1_500)
    assert envelope_error(attack, sharp) < 0.8 * envelope_error(attack, smeared)
