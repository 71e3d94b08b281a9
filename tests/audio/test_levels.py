import numpy as np
import pytest

from apollo.audio import AudioReader, write
from apollo.audio.levels import Clipping, measure_levels

RATE = 48_000


def sine(seconds, dbfs, frequency=1_000.0, rate=RATE):
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def levels(tmp_path, waveform, rate=RATE):
    write(tmp_path / "a.wav", np.atleast_2d(waveform), rate, "FLOAT")
    with AudioReader(tmp_path / "a.wav") as reader:
        return measure_levels(reader)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
def test_loudness_of_a_stereo_tone(tmp_path, dbfs, rate):
    """Cases 1 and 2 of EBU Tech 3341."""
    tone = sine(5, dbfs, rate=rate)
    assert levels(tmp_path, np.stack([tone, tone]), rate).loudness == pytest.approx(dbfs, abs=0.1)


@pytest.mark.parametrize("dbfs", [(-36, -23, -36), (-72, -36, -23, -36, -72)])
def test_soft_passages_do_not_count_for_loudness(tmp_path, dbfs):
    """Cases 3 and 4 of EBU Tech 3341, a quarter as long."""
    parts = [sine(15.0 if level == -23 else 2.5, level) for level in dbfs]
    tone = np.concatenate(parts)
    assert levels(tmp_path, np.stack([tone, tone])).loudness == pytest.approx(-23.0, abs=0.1)


def test_loudness_of_surround_weighs_channels(tmp_path):
    """Case 6 of EBU Tech 3341: left and right at -28, centre at -24, surrounds at -30 dBFS; the bass does not count."""
    waveform = np.stack([sine(5, level) for level in (-28, -28, -24, -6, -30, -30)])
    assert levels(tmp_path, waveform).loudness == pytest.approx(-23.0, abs=0.1)


def test_loudness_range(tmp_path):
    """Case 1 of EBU Tech 3342, half as long: tones at -20 and -30 dBFS."""
    tone = np.concatenate([sine(10, -20), sine(10, -30)])
    assert levels(tmp_path, np.stack([tone, tone])).loudness_range == pytest.approx(10.0, abs=1.0)


@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_true_peak_is_that_between_samples(tmp_path, gain):
    """A quarter of the sample rate, sampled 45 degrees off its peaks: case 17 of EBU Tech 3341."""
    tone = gain * 0.5 * np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4)
    tone *= np.minimum(1, np.arange(RATE) / 1_000) * np.minimum(1, np.arange(RATE)[::-1] / 1_000)
    found = levels(tmp_path, tone)
    assert found.peak_db == pytest.approx(20 * np.log10(gain * 0.5 * np.sqrt(0.5)), abs=0.01)
    assert found.true_peak_db == pytest.approx(20 * np.log10(gain * 0.5), abs=0.3)


def test_silence_has_no_levels(tmp_path):
    found = levels(tmp_path, np.zeros((2, RATE)))
    assert (found.loudness, found.peak_db, found.true_peak_db, found.silent) == (None, None, None, 1.0)


def test_share_of_silence(tmp_path):
    found = levels(tmp_path, np.concatenate([np.zeros(RATE), sine(3, -20)]))
    assert found.silent == pytest.approx(0.25, abs=0.01)


def test_no_numbers_are_told_and_spoil_nothing(tmp_path):
    tone = sine(2, -20)
    tone[1_000], tone[2_000] = np.nan, np.inf
    found = levels(tmp_path, tone)
    assert not found.finite
    assert found.peak_db == pytest.approx(-20, abs=0.1)


@pytest.mark.parametrize("channels", [1, 3, 5, 7, 8, 9])
@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_any_channels_and_rates_are_measured(tmp_path, channels, rate):
    assert levels(tmp_path, np.tile(sine(1, -20, 500, rate), (channels, 1)), rate).loudness is not None


@pytest.mark.parametrize("frames", [1, 100, 10_000])
def test_what_is_too_short_for_loudness_has_peaks(tmp_path, frames):
    found = levels(tmp_path, np.full((2, frames), 0.5))
    assert found.loudness is None
    assert found.peak_db == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_clipped_peaks_are_counted_across_blocks(size):
    left = [0, 1, 1, 1, 0, 1, 1, 0, -1, -1, -1, -1, 0, 0, 1, 1]
    right = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    waveform = np.array([left, right], np.float32)
    clipping = Clipping()
    for start in range(0, waveform.shape[1], size):
        clipping.take(waveform[:, start : start + size])
    assert clipping.peaks == 3


@pytest.mark.parametrize(("seconds", "told"), [(3.0, False), (3.3, False), (3.5, True)])
def test_sound_too_short_for_a_loudness_range_has_none(tmp_path, seconds, told):
    tone = sine(seconds, -20)
    spread = levels(tmp_path, np.stack([tone, tone])).loudness_range
    assert spread == pytest.approx(0, abs=0.1) if told else spread is None
