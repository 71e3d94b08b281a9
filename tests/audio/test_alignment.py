import numpy as np
import pytest

from apollo.audio import degrade, lag
from apollo.errors import ApolloError


def delayed(waveform, samples):
    """Delay by any fraction of a sample, exactly, as a turn of phase; the ends are padded, not wrapped."""
    padding = int(abs(samples)) + 2_000
    padded = np.pad(waveform.astype(np.float64), ((0, 0), (padding, padding)))
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(padded.shape[1]) * samples)
    return np.fft.irfft(np.fft.rfft(padded) * turn, padded.shape[1])[:, padding:-padding]


@pytest.mark.parametrize("delay", [0, 1, -7, 0.3, -0.55, 1105.25, -20_000.4])
def test_delay_is_found_to_a_twentieth_of_a_sample(music, delay):
    assert lag(music, delayed(music, delay)) == pytest.approx(delay, abs=0.05)


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", "vorbis"])
@pytest.mark.parametrize("delay", [0.25, -33.7])
def test_delay_is_found_through_a_lossy_codec(music, codec, delay):
    degraded = degrade(delayed(music, delay), 44_100, codec, 64_000)
    assert lag(music, degraded) == pytest.approx(delay, abs=0.05)


def test_lag_is_positive_where_the_other_is_late(music):
    assert lag(music, np.pad(music, ((0, 0), (100, 0)))) == pytest.approx(100, abs=0.05)
    assert lag(music, music[:, 100:]) == pytest.approx(-100, abs=0.05)


def test_delay_is_found_in_noise_and_at_another_gain(music):
    noise = np.random.default_rng(0).standard_normal(music.shape)
    noise *= np.sqrt(np.mean(music**2) / 10) / np.sqrt(np.mean(noise**2))
    assert lag(music, -0.0 + 0.1 * (delayed(music, 5.5) + noise)) == pytest.approx(5.5, abs=0.05)


def test_one_channel_may_be_given_flat(music):
    assert lag(music[0], music[0, 3:]) == pytest.approx(-3, abs=0.05)


def test_max_lag_bounds_the_search(music):
    assert abs(lag(music, delayed(music, 3_000), max_lag=50)) < 2_000


@pytest.mark.parametrize(
    ("reference", "other", "says"),
    [
        (np.ones((1, 2_000)), np.ones((2, 2_000)), "same number"),
        (np.ones((1, 100)), np.ones((1, 2_000)), "at least 1024"),
        (np.ones((1, 2_000)), np.zeros((1, 2_000)), "silent"),
    ],
)
def test_what_cannot_be_aligned_is_told(reference, other, says):
    with pytest.raises(ApolloError, match=says):
        lag(reference, other)
