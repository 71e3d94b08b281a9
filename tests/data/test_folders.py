"""Files are found, judged before anything starts, and read from any point at any rate."""

import logging
from collections.abc import Callable
from math import gcd
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apollo.audio import AudioReader, lag, resample
from apollo.data.folders import (
    ATTEMPTS,
    MusicFolder,
    Track,
    advance,
    find_tracks,
    open_track,
    read_from,
    read_stretch,
)
from apollo.errors import AudioFileError, DataError

RATE = 44100

Melody = Callable[..., np.ndarray]


def test_unreadable_and_tiny_files_are_left_out_in_one_warning(music: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tracks = find_tracks(music / "train")
    assert [track.path.name for track in tracks] == ["a.wav", "c 48.wav", "b.flac", "short.wav"]
    assert len(caplog.records) == 1
    assert "left out 1 of 5" in caplog.text
    assert "broken.wav" in caplog.text


def test_of_a_truncated_file_what_is_there_is_used(tmp_path: Path, music: Path) -> None:
    whole = (music / "train" / "original" / "nested ünïcode" / "b.flac").read_bytes()
    (tmp_path / "whole.flac").write_bytes(whole)
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    half, all_of_it = find_tracks(tmp_path)
    assert (half.path.name, all_of_it.path.name) == ("half.flac", "whole.flac")
    assert 0.3 * all_of_it.samples < half.samples < 0.7 * all_of_it.samples
    with AudioReader(half.path) as reader:
        assert reader.read(all_of_it.samples).shape[1] == half.samples


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        find_tracks(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no readable audio"):
        find_tracks(tmp_path)
    (tmp_path / "only.wav").write_bytes(b"not audio")
    with pytest.raises(DataError, match=r"no readable audio.*only\.wav"):
        find_tracks(tmp_path)


def test_a_file_that_breaks_during_a_run_is_passed_over(
    tmp_path: Path, music: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (music / "train" / "original" / "nested ünïcode" / "b.flac").read_bytes()
    for name in ("a.flac", "b.flac"):
        (tmp_path / name).write_bytes(whole)
    folder = MusicFolder(find_tracks(tmp_path), RATE)
    (tmp_path / "a.flac").write_bytes(whole[:200])
    crops = [folder.draw(np.random.default_rng(seed), RATE) for seed in range(6)]
    assert all(np.abs(crop).max() > 0.01 for crop in crops)
    assert "a.flac" in caplog.text
    (tmp_path / "b.flac").write_bytes(whole[:200])
    with pytest.raises(AudioFileError, match=r"\.flac"):
        folder.draw(np.random.default_rng(0), RATE)


def test_what_is_shorter_than_a_crop_is_followed_by_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.full((RATE // 2, 1), 0.25), RATE)
    crop = MusicFolder(find_tracks(tmp_path), RATE).draw(np.random.default_rng(0), RATE)
    assert crop.shape == (2, RATE)
    assert np.all(crop[:, : RATE // 2] == 0.25)
    assert not crop[:, RATE // 2 :].any()


def test_silent_crops_are_drawn_again(tmp_path: Path) -> None:
    waveform = np.zeros((20 * RATE, 1))
    waveform[: 4 * RATE] = 0.1
    soundfile.write(tmp_path / "mostly silent.wav", waveform, RATE)
    folder = MusicFolder(find_tracks(tmp_path), RATE)
    silent = sum(not folder.draw(np.random.default_rng(seed), RATE).any() for seed in range(20))
    assert 0.8**ATTEMPTS < 0.02
    assert silent <= 2


def test_samples_that_are_no_numbers_become_silence_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waveform = np.full((RATE, 2), 0.1, np.float32)
    waveform[100] = np.nan
    waveform[200] = np.inf
    soundfile.write(tmp_path / "nan.wav", waveform, RATE, "FLOAT")
    stretch = read_stretch(open_track(tmp_path / "nan.wav"), 0, RATE, RATE)
    assert np.isfinite(stretch).all()
    assert np.count_nonzero(stretch == 0) == 4
    assert "nan.wav" in caplog.text


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Track]:
    """A file at a rate, whose spectrum lies well below half of it."""
    folder = tmp_path_factory.mktemp("rates")

    def make(rate: int) -> Track:
        path = folder / f"{rate}.wav"
        if not path.exists():
            rng = np.random.default_rng(0)
            spectrum = np.fft.rfft(rng.standard_normal(2 * rate))
            spectrum[3000 * 2 :] = 0
            noise = np.fft.irfft(spectrum)
            soundfile.write(path, 0.2 * noise / np.abs(noise).max(), rate, "FLOAT")
        return open_track(path)

    return make


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([16000, 22050, 44100, 48000, 96000]),
    start=st.integers(0, 60000),
    samples=st.integers(1, 30000),
)
def test_any_stretch_is_that_of_the_whole_file(
    ramp: Callable[[int], Track], rate: int, start: int, samples: int
) -> None:
    track = ramp(rate)
    whole = resample(soundfile.read(track.path, dtype="float32", always_2d=True)[0].T, rate, RATE)
    start -= start % (RATE // gcd(RATE, rate))  # a sample of both rates
    if rate != RATE:  # soxr treats the first samples of a file in a way of its own
        start += RATE // 10
    stretch = read_from(track, start * rate // RATE, samples, RATE)
    expected = np.zeros((1, samples), np.float32)
    there = whole[:, start : start + samples]
    expected[:, : there.shape[1]] = there
    assert stretch.shape == expected.shape
    inside = slice(None, max(0, min(samples, whole.shape[1] - start) - 200)) if rate != RATE else slice(None)
    np.testing.assert_allclose(stretch[:, inside], expected[:, inside], atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(0.02, 0.98))
def test_a_fraction_of_a_sample_is_what_the_lag_moves_by(fraction: float) -> None:
    rng = np.random.default_rng(1)
    spectrum = np.fft.rfft(rng.standard_normal(1 << 15))
    spectrum[int(0.8 * len(spectrum)) :] = 0
    waveform = np.fft.irfft(spectrum)[None]
    moved = advance(waveform, fraction)
    assert lag(waveform, moved) == pytest.approx(-fraction, abs=0.01)
    exact = np.fft.irfft(np.fft.rfft(waveform) * np.exp(2j * np.pi * np.fft.rfftfreq(1 << 15) * fraction))
    np.testing.assert_allclose(moved[:, 100:-100], exact[:, 100:-100], atol=1e-3 * np.abs(exact).max())
