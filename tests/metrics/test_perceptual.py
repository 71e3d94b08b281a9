import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from visqol import VisqolApi

from apollo.audio import degrade
from apollo.metrics import perceptual, visqol

SAMPLE_RATE = 44_100


def noisy(chords: np.ndarray, level: float) -> np.ndarray:
    return chords + level * np.random.default_rng(0).standard_normal(chords.shape)


def test_visqol_of_identical_signals_is_what_google_publishes_for_them(chords: np.ndarray) -> None:
    # castanets_identity in the conformance test of google/visqol; the others: benchmarks/visqol_conformance.py
    assert visqol(chords, chords, SAMPLE_RATE) == pytest.approx(4.732101253042348, abs=2e-4)


def test_visqol_of_stereo_at_48_khz_is_what_the_port_gives_for_the_files(chords: np.ndarray, tmp_path: Path) -> None:
    estimate = degrade(chords, 48_000, bitrate=48_000)
    for name, waveform in (("original", chords), ("estimate", estimate)):
        soundfile.write(tmp_path / f"{name}.wav", waveform.T, 48_000, "FLOAT")
    api = VisqolApi()
    api.create(mode="audio")
    expected = api.measure(str(tmp_path / "original.wav"), str(tmp_path / "estimate.wav")).moslqo
    assert visqol(chords, estimate, 48_000) == pytest.approx(expected, abs=1e-9)


def test_visqol_mixes_down_to_mono(chords: np.ndarray) -> None:
    estimate = noisy(chords, 0.01)
    mono = visqol(chords.mean(axis=0, keepdims=True), estimate.mean(axis=0, keepdims=True), SAMPLE_RATE)
    assert visqol(chords, estimate, SAMPLE_RATE) == pytest.approx(mono, abs=1e-6)


def test_visqol_of_short_signals(chords: np.ndarray) -> None:
    assert math.isnan(visqol(chords[:, :40_000], chords[:, :40_000], SAMPLE_RATE))
    assert visqol(chords[:, :44_200], chords[:, :44_200], SAMPLE_RATE) > 4.5


def test_visqol_averages_the_segments_of_a_long_piece(chords: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = np.concatenate([chords, noisy(chords, 0.02)], axis=1)
    original = np.concatenate([chords, chords], axis=1)
    halves = (slice(132_300), slice(132_300, None))
    parts = [visqol(original[:, half], estimate[:, half], SAMPLE_RATE) for half in halves]
    monkeypatch.setattr(perceptual, "VISQOL_SECONDS", 3.0)
    assert visqol(original, estimate, SAMPLE_RATE) == pytest.approx(np.mean(parts), abs=0.02)
    monkeypatch.setattr(perceptual, "VISQOL_SECONDS", 2.0)
    silenced = np.concatenate([original[:, : 4 * 44_100], np.zeros_like(original[:, : 2 * 44_100])], axis=1)
    monkeypatch.setattr(perceptual, "visqol_mono", lambda s, e: float(s.size) if s.any() else math.nan)
    assert visqol(silenced, silenced, SAMPLE_RATE) == 96_000
