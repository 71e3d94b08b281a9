"""What is promised of every metric."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apollo.audio import degrade
from apollo.errors import DataError
from apollo.metrics import DEFAULT_METRICS, METRICS, metric, pairs, perceptual, si_sdr

SAMPLE_RATE = 44_100
CUTOFF = 8_000.0
BEST = {
    "sdr": 100, "si_sdr": 100, "snr": 100, "visqol": 4.7321, "lsd": 0, "mrstft": 0, "log_wmse": 73.6827,
    "snr_below": 100, "snr_above": 100, "lsd_raw": 0, "envelope": 0, "lost_band_level": 0, "lost_band_bias": 0,
}  # fmt: skip
OF_SILENCE = {
    "sdr": -100, "si_sdr": -100, "snr": 0, "visqol": 1, "log_wmse": 0, "snr_below": 0, "snr_above": 0,
}  # fmt: skip
OF_ONE_SAMPLE = {"sdr": 100, "snr": 6.0206, "lsd": 0, "lsd_raw": 0, "log_wmse": 5.54518}
LOST = np.arange(45) > 15  # bands of 500 Hz at 44.1 kHz
LOST_48 = np.arange(48) > 15
every_metric = pytest.mark.parametrize("name", METRICS)


def test_the_expectations_of_this_file_cover_every_metric() -> None:
    assert set(BEST) == set(METRICS)
    assert set(DEFAULT_METRICS) <= set(METRICS)


@every_metric
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_identical_signals_get_the_best_value(name: str, channels: int, chords: np.ndarray) -> None:
    if name == "visqol":
        chords = chords[:, : 5 * SAMPLE_RATE // 4]
    waveform = np.resize(chords, (channels, chords.shape[1]))
    assert METRICS[name].score(waveform, waveform, SAMPLE_RATE, CUTOFF, LOST) == pytest.approx(BEST[name], abs=2e-4)


@every_metric
def test_silence_has_a_documented_result(name: str, chords: np.ndarray) -> None:
    score, silence = METRICS[name].score, np.zeros_like(chords)
    if name in ("lsd", "lsd_raw"):
        assert score(silence, silence, SAMPLE_RATE, CUTOFF, LOST) == 0
        assert 2 < score(silence, chords, SAMPLE_RATE, CUTOFF, LOST) < 20
    else:
        assert math.isnan(score(silence, silence, SAMPLE_RATE, CUTOFF, LOST))
        assert math.isnan(score(silence, chords, SAMPLE_RATE, CUTOFF, LOST))
    of_silence = score(chords, silence, SAMPLE_RATE, CUTOFF, LOST)
    if name in OF_SILENCE:
        assert of_silence == pytest.approx(OF_SILENCE[name], abs=1e-6)
    else:
        assert 2 < abs(of_silence) < 80


@every_metric
def test_one_sample_has_a_documented_result(name: str) -> None:
    one = np.full((2, 1), 0.5, dtype=np.float32)
    score = METRICS[name].score(one, one / 2, SAMPLE_RATE, CUTOFF, LOST)
    assert score == pytest.approx(OF_ONE_SAMPLE.get(name, math.nan), nan_ok=True)


# ViSQOL hears the mean of the channels, and LSD gives silence a distance.
@pytest.mark.parametrize("name", [name for name in METRICS if name not in ("visqol", "lsd", "lsd_raw")])
def test_a_silent_channel_is_left_out(name: str, chords: np.ndarray) -> None:
    score, estimate = METRICS[name].score, 0.5 * chords + 0.01
    half_silent = np.stack([chords[0], np.zeros_like(chords[0])])
    expected = score(chords[:1], estimate[:1], SAMPLE_RATE, CUTOFF, LOST)
    assert score(half_silent, estimate, SAMPLE_RATE, CUTOFF, LOST) == pytest.approx(expected)


@pytest.mark.parametrize("name", [*METRICS, "snr_side", "lsd_mid"])
def test_what_cannot_be_compared_is_refused(name: str, chords: np.ndarray) -> None:
    score = metric(name).score
    broken = chords.copy()
    broken[0, -5] = np.nan
    with pytest.raises(DataError, match="different shapes"):
        score(chords, chords[:, :-1], SAMPLE_RATE)
    with pytest.raises(DataError, match="different shapes"):
        score(chords, chords[:1], SAMPLE_RATE)
    with pytest.raises(DataError, match="not empty"):
        score(chords[:, :0], chords[:, :0], SAMPLE_RATE)
    with pytest.raises(DataError, match="channels, samples"):
        score(chords[0], chords[0], SAMPLE_RATE)
    with pytest.raises(DataError, match="NaN"):
        score(chords, broken, SAMPLE_RATE)
    with pytest.raises(DataError, match="NaN"):
        score(broken, chords, SAMPLE_RATE, CUTOFF, LOST)
    with pytest.raises(DataError, match="NaN"):
        score(broken[:1, -10:], chords[:1, -10:], SAMPLE_RATE, CUTOFF, LOST)


def test_metrics_of_the_whole_band_get_worse_as_the_bitrate_falls(chords: np.ndarray) -> None:
    chords = chords[:, : 3 * SAMPLE_RATE // 2]
    decoded = [degrade(chords, SAMPLE_RATE, codec="mp3", bitrate=bitrate) for bitrate in (128_000, 64_000, 24_000)]
    for name, known in METRICS.items():
        if name not in ("snr_below", "snr_above", "lost_band_level", "lost_band_bias"):
            scores = [known.score(chords, estimate, SAMPLE_RATE, None) for estimate in decoded]
            assert scores == sorted(scores, reverse=known.higher_is_better), name


@pytest.fixture(scope="module")
def second(chords: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """1.1 s of music and of an estimate, and the scores with the whole read as one block."""
    original = chords[:, :48_510]
    estimate = degrade(original, SAMPLE_RATE, bitrate=32_000)
    assert original.shape[1] <= pairs.BLOCK
    return (
        original,
        estimate,
        {name: known.score(original, estimate, 48_000, CUTOFF, LOST_48) for name, known in METRICS.items()},
    )


@settings(max_examples=12, deadline=None)
@given(block=st.integers(2_000, 50_000), name=st.sampled_from([name for name in METRICS if name != "visqol"]))
def test_scores_do_not_depend_on_where_blocks_end(
    block: int, name: str, second: tuple[np.ndarray, np.ndarray, dict[str, float]]
) -> None:
    original, estimate, whole = second
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "BLOCK", block)
        assert METRICS[name].score(original, estimate, 48_000, CUTOFF, LOST_48) == pytest.approx(
            whole[name], rel=1e-6, abs=1e-6
        )


@every_metric
def test_scores_of_tiny_blocks_equal_those_of_the_whole(
    name: str, second: tuple[np.ndarray, np.ndarray, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, estimate, whole = second
    monkeypatch.setattr(pairs, "BLOCK", 700)  # shorter than every window and filter but that of SDR
    assert METRICS[name].score(original, estimate, 48_000, CUTOFF, LOST_48) == pytest.approx(
        whole[name], rel=1e-6, abs=1e-6
    )


@every_metric
def test_a_longer_recording_takes_no_more_memory(
    name: str, chords: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "BLOCK", 1 << 13)
    monkeypatch.setattr(perceptual, "VISQOL_SECONDS", 1.5)
    peaks = []
    for times in (2, 4):
        path = tmp_path / f"{times}.f32"
        original = np.tile(chords[:, :66_150], times)
        (original + np.float32(0.01)).tofile(path)
        estimate = np.memmap(path, np.float32, "r", shape=original.shape)
        METRICS[name].score(original, estimate, SAMPLE_RATE, CUTOFF, LOST)  # what is built once is built before
        tracemalloc.start()
        METRICS[name].score(original, estimate, SAMPLE_RATE, CUTOFF, LOST)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 50_000


@pytest.mark.parametrize("name", ["sdr", "lsd", "snr_above"])
def test_mid_and_side_are_those_of_the_sum_and_the_difference(name: str, chords: np.ndarray) -> None:
    estimate = degrade(chords, SAMPLE_RATE, bitrate=48_000)
    for part, sign in (("mid", 1), ("side", -1)):
        mixed = [(w[:1].astype(np.float64) + sign * w[1:].astype(np.float64)) / 2 for w in (chords, estimate)]
        expected = METRICS[name].score(mixed[0], mixed[1], SAMPLE_RATE, CUTOFF, LOST)
        found = metric(f"{name}_{part}")
        assert found.score(chords, estimate, SAMPLE_RATE, CUTOFF, LOST) == pytest.approx(expected, rel=1e-12)
        assert found.label == f"{METRICS[name].label} ({part})"
        assert (found.unit, found.higher_is_better) == (METRICS[name].unit, METRICS[name].higher_is_better)


def test_mid_and_side_are_not_defined_but_for_stereo(chords: np.ndarray) -> None:
    for channels in (1, 3, 6):
        waveform = np.resize(chords, (channels, 5_000))
        assert math.isnan(metric("lsd_mid").score(waveform, waveform, SAMPLE_RATE))
        assert math.isnan(metric("snr_side").score(waveform, waveform, SAMPLE_RATE))


def test_the_side_of_mono_in_two_channels_is_silent(chords: np.ndarray) -> None:
    mono = np.stack([chords[0], chords[0]])
    assert math.isnan(metric("si_sdr_side").score(mono, chords, SAMPLE_RATE))
    assert metric("si_sdr_mid").score(mono, mono, SAMPLE_RATE) == 100


def test_a_name_finds_its_metric_or_the_nearest_one() -> None:
    assert metric("snr_below") is METRICS["snr_below"]
    with pytest.raises(DataError, match=r"no metric 'sisdr'; did you mean 'si_sdr'\?"):
        metric("sisdr")
    with pytest.raises(DataError, match=r"did you mean 'visqol_side'\?"):
        metric("visqol_sid")
    with pytest.raises(DataError, match=r"known are .*si_sdr"):
        metric("")
    with pytest.raises(DataError, match="no metric '_side'"):
        metric("_side")
    with pytest.raises(DataError, match="no metric 'snr_mid_side'"):
        metric("snr_mid_side")


def test_arrays_of_integers_and_views_are_scored_as_they_are(chords: np.ndarray) -> None:
    pcm = np.round(chords * 32767).astype(np.int16)
    assert si_sdr(pcm, pcm) == 100
    assert si_sdr(chords.T.copy().T, chords[::-1][::-1]) == 100
