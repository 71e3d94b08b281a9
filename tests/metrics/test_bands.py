import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio import degrade
from apollo.errors import DataError
from apollo.metrics import band_snr, codec_cutoff, snr, snr_above, snr_below

SAMPLE_RATE = 44_100
# What LAME 3.100 chooses for stereo, in Hz: `optimum_bandwidth` in its lame.c.
LAME_LOWPASS = {24: 3_900, 32: 5_500, 48: 7_500, 64: 11_000, 96: 15_100, 128: 17_000}


def between(waveform: np.ndarray, low: float, high: float) -> np.ndarray:
    """What lies in a band, by the transform of the whole."""
    spectrum = np.fft.rfft(waveform.astype(np.float64))
    frequency = np.fft.rfftfreq(waveform.shape[1], 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * ((frequency >= low) & (frequency < high)), waveform.shape[1])


@pytest.mark.parametrize(("low", "high"), [(0, 4_000), (4_000, 10_000), (10_000, 30_000)])
def test_band_snr_equals_the_snr_of_what_an_ideal_filter_passes(chords: np.ndarray, low: float, high: float) -> None:
    estimate = degrade(chords, SAMPLE_RATE, bitrate=64_000)
    expected = snr(between(chords, low, high), between(estimate, low, high))
    assert band_snr(chords, estimate, SAMPLE_RATE, low, high) == pytest.approx(expected, abs=0.2)


def test_band_snr_of_the_whole_band_is_snr() -> None:
    noise, error = np.random.default_rng(0).standard_normal((2, 2, 60_000))
    whole = band_snr(noise, noise + 0.1 * error, SAMPLE_RATE, 0, math.inf)
    assert whole == pytest.approx(snr(noise, noise + 0.1 * error), abs=0.05)


def test_band_snr_is_blind_to_other_bands(chords: np.ndarray) -> None:
    estimate = chords + between(chords, 0, 4_000)
    assert band_snr(chords, estimate, SAMPLE_RATE, 4_500, math.inf) > 40
    assert band_snr(chords, estimate, SAMPLE_RATE, 0, 3_500) == pytest.approx(0, abs=0.01)


def test_nothing_above_the_cutoff_scores_zero_and_the_wrong_thing_less(chords: np.ndarray) -> None:
    dull = between(chords, 0, 6_000)
    assert snr_above(chords, dull, SAMPLE_RATE, 6_100) == pytest.approx(0, abs=0.01)
    assert snr_below(chords, dull, SAMPLE_RATE, 5_900) > 40
    treble = between(chords, 6_000, math.inf)
    assert snr_above(chords, dull + 0.9 * treble, SAMPLE_RATE, 6_100) == pytest.approx(20, abs=0.1)
    assert snr_above(chords, dull - treble, SAMPLE_RATE, 6_100) == pytest.approx(-6.02, abs=0.1)


def test_snr_of_a_band_that_is_not_there_is_not_defined(chords: np.ndarray) -> None:
    for cutoff in (SAMPLE_RATE / 2, 30_000.0, None):
        assert math.isnan(snr_above(chords, chords, SAMPLE_RATE, cutoff))
    for cutoff in (0.0, None):
        assert math.isnan(snr_below(chords, chords, SAMPLE_RATE, cutoff))
    dull = between(chords, 0, 6_000)
    assert math.isnan(snr_above(np.round(dull, 6), dull, SAMPLE_RATE, 6_500))
    assert math.isnan(snr_below(chords[:, :4_000], chords[:, :4_000], SAMPLE_RATE, 6_500))
    with pytest.raises(DataError, match="from 0 Hz"):
        band_snr(chords, chords, SAMPLE_RATE, 5_000, 5_000)
    with pytest.raises(DataError, match="from 0 Hz"):
        band_snr(chords, chords, SAMPLE_RATE, -1, 5_000)


@pytest.mark.parametrize("bitrate", LAME_LOWPASS)
def test_codec_cutoff_is_where_lame_cuts(bitrate: int, chords: np.ndarray) -> None:
    degraded = degrade(chords, SAMPLE_RATE, codec="mp3", bitrate=1000 * bitrate)
    assert codec_cutoff(chords, degraded, SAMPLE_RATE) == pytest.approx(LAME_LOWPASS[bitrate], rel=0.05)


def test_codec_cutoff_of_music_that_is_cut_off_in_full_swing(chords: np.ndarray) -> None:
    original = chords[:, 3_000:90_000] * np.float32(4)
    degraded = degrade(original, SAMPLE_RATE, codec="mp3", bitrate=48_000)
    assert codec_cutoff(original, degraded, SAMPLE_RATE) == pytest.approx(LAME_LOWPASS[48], rel=0.05)


def test_codec_cutoff_survives_files_of_16_bits(chords: np.ndarray, tmp_path: Path) -> None:
    degraded = degrade(chords, SAMPLE_RATE, codec="mp3", bitrate=48_000)
    read = []
    for waveform in (chords, degraded):
        soundfile.write(tmp_path / "pcm.wav", waveform.T, SAMPLE_RATE, "PCM_16")
        read.append(soundfile.read(tmp_path / "pcm.wav", dtype="float32", always_2d=True)[0].T)
    assert codec_cutoff(*read, SAMPLE_RATE) == pytest.approx(LAME_LOWPASS[48], rel=0.05)


def test_codec_cutoff_where_nothing_or_everything_is_lost(chords: np.ndarray) -> None:
    silence = np.zeros_like(chords)
    dull = between(chords, 0, 6_000)
    assert codec_cutoff(chords, chords, SAMPLE_RATE) == SAMPLE_RATE / 2
    assert codec_cutoff(dull, dull, SAMPLE_RATE) == SAMPLE_RATE / 2
    assert codec_cutoff(silence, silence, SAMPLE_RATE) == SAMPLE_RATE / 2
    assert codec_cutoff(chords[:, :100], silence[:, :100], SAMPLE_RATE) == SAMPLE_RATE / 2
    assert codec_cutoff(chords, silence, SAMPLE_RATE) == 0
    assert codec_cutoff(chords, dull, SAMPLE_RATE) == pytest.approx(6_000, abs=100)
