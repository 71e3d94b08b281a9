"""Encoders are found by the grids that they leave, at any sample rate, and nothing else is taken for one."""

import numpy as np
import pytest

from apollo.audio import degrade, inspect_bandwidth, resample, write
from apollo.audio.mdct import derived_window, mdct, sine_window, vorbis_window
from apollo.audio.signal import Signal

RATE = 44_100
TIME = np.arange(3 * RATE)


@pytest.fixture
def found(tmp_path):
    """What is found of a waveform that is written as 16 bits."""

    def found(waveform, rate=RATE):
        write(tmp_path / "a.wav", np.atleast_2d(waveform).astype(np.float32), rate, "PCM_16")
        return inspect_bandwidth(tmp_path / "a.wav")

    return found


def coded(waveform, codec, kbps, coded_rate=RATE, rate=RATE, cut=777):
    """Through a codec at one sample rate, cut, and brought to another."""
    lossy = degrade(resample(waveform, RATE, coded_rate), coded_rate, codec, 1000 * kbps)
    return resample(lossy[:, cut:], coded_rate, rate)


def lapped(waveform, window):
    """What a codec of one MDCT makes of a channel: coefficients are rounded, many to 0, in bands of 16."""
    lines = len(window) // 2
    sample, line = np.arange(2 * lines)[:, None], np.arange(lines)
    basis = np.sqrt(2 / lines) * np.cos(np.pi / lines * (sample + 0.5 + lines / 2) * (line + 0.5))
    decoded = np.zeros(len(waveform))
    for start in range(0, len(waveform) - 2 * lines, lines):
        bands = ((waveform[start : start + 2 * lines] * window) @ basis).reshape(-1, 16)
        step = 1.5 * np.sqrt(np.mean(bands**2, axis=1, keepdims=True)) + 1e-9
        decoded[start : start + 2 * lines] += window * (basis @ (step * np.round(bands / step)).ravel())
    return decoded


@pytest.mark.parametrize("lines", [256, 960, 1024])
def test_mdct_is_that_of_the_textbook(lines):
    windowed = np.random.default_rng(0).standard_normal((3, 2 * lines)).astype(np.float32)
    sample, line = np.arange(2 * lines)[:, None], np.arange(lines)
    basis = np.sqrt(2 / lines) * np.cos(np.pi / lines * (sample + 0.5 + lines / 2) * (line + 0.5))
    np.testing.assert_allclose(mdct(windowed), windowed @ basis, atol=1e-4)


@pytest.mark.parametrize(
    ("codec", "kbps", "rate"),
    [
        ("mp3", 320, RATE),
        ("mp3", 192, 48_000),
        ("aac", 128, RATE),
        ("aac", 192, 48_000),
        ("vorbis", 96, RATE),
        ("opus", 160, 48_000),
    ],
)
def test_codecs_are_found_and_called_by_their_name(found, chords, codec, kbps, rate):
    bandwidth = found(coded(chords, codec, kbps, rate, rate), rate)
    assert (bandwidth.codec, bandwidth.coded_rate) == (codec, rate)


@pytest.mark.parametrize(
    ("codec", "coded_rate", "rate"),
    [
        ("mp3", RATE, 48_000),
        ("aac", RATE, 96_000),
    ],
)
def test_codecs_are_found_behind_another_sample_rate(found, chords, codec, coded_rate, rate):
    dense = chords + 0.02 * np.random.default_rng(0).standard_normal(chords.shape)
    bandwidth = found(coded(dense, codec, 128, coded_rate, rate), rate)
    assert (bandwidth.codec, bandwidth.coded_rate) == (codec, coded_rate)


@pytest.mark.parametrize(
    ("codec", "window", "rate"),
    [
        ("aac", sine_window(1024), RATE),
        ("aac", derived_window(1024, 4), RATE),
        ("vorbis", vorbis_window(1024), RATE),
        ("vorbis", vorbis_window(512), 22_050),
    ],
)
def test_windows_tell_codecs_apart(found, chords, codec, window, rate):
    channel = resample(chords[:1], RATE, rate)[0]
    assert found(lapped(channel, window)[333:], rate).codec == codec


def artificial(kind, song):
    """Sound that was never coded, and that has been at a grid of its own."""
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(len(TIME))
    return {
        "a saw that repeats with frames": 0.4 * (TIME % 1024 / 1024 - 0.5),
        "a square wave that repeats with frames": 0.3 * np.sign(TIME % 1024 - 511.5),
        "tones on lines": sum(0.05 * np.sin(2 * np.pi * TIME * (100 + 37 * k) / 2048 + k) for k in range(12)),
        "clicks on frames": 0.5 * (TIME % 576 == 7) + 0.01 * noise,
        "noise in steps of 1024": noise * np.repeat(rng.uniform(0.1, 1, len(TIME) // 1024 + 1), 1024)[: len(TIME)],
        "music gated in steps of 576": song[0] * (TIME // 576 % 2),
        "music in 8 bits": np.round(127 * song) / 127,
        "music at half the rate, each sample twice": np.repeat(song[:, ::2], 2, axis=1),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "a saw that repeats with frames",
        "a square wave that repeats with frames",
        "tones on lines",
        "clicks on frames",
        "noise in steps of 1024",
        "music gated in steps of 576",
        "music in 8 bits",
        "music at half the rate, each sample twice",
    ],
)
def test_what_has_a_grid_of_its_own_is_not_accused(found, chords, kind):
    assert found(artificial(kind, chords)).codec is None


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_music_behind_a_brick_wall_is_not_accused(found, chords, rate):
    bandwidth = found(resample(Signal.of_array(chords, RATE).low_passed(16_000).array(), RATE, rate), rate)
    assert bandwidth.suspicious
    assert bandwidth.codec is None
