from pathlib import Path

import numpy as np
import pytest

from apollo.audio import Bandwidth, inspect_bandwidth, read, resample, write

SAMPLE_RATE = 44_100
ROOT = Path(__file__).parents[2]
SONG = ROOT / "examples/originals/dodgems-beat.flac"
REAL = sorted((ROOT.parent / "shared/corpus/real").glob("*.flac"))


@pytest.fixture
def lossy_copy(tmp_path, encode):
    """Write what MP3 makes of a waveform as a lossless file, cut so that no frame of it starts at its beginning."""

    def lossy_copy(waveform, kbps, name="a.wav", subtype="PCM_16", gain=1.0, quality=5, trim=1_000):
        # LAME codes 24 kbit/s at a low rate, as MPEG-2.
        rate = SAMPLE_RATE if kbps > 24 else 24_000 if waveform.shape[0] == 1 else 16_000
        options = {"compression_level": str(quality)}
        samples = np.ascontiguousarray(resample(waveform, SAMPLE_RATE, rate))
        decoded = read(encode(tmp_path / "a.mp3", samples, "libmp3lame", rate, kbps, options))[0]
        write(tmp_path / name, gain * resample(decoded, rate, SAMPLE_RATE)[:, trim:], SAMPLE_RATE, subtype)
        return tmp_path / name

    return lossy_copy


@pytest.fixture(scope="module")
def song():
    return read(SONG)[0][:, : 4 * SAMPLE_RATE]


@pytest.mark.parametrize(("kbps", "channels", "quality"), [(24, 1, 5), (32, 2, 7), (96, 1, 5), (256, 2, 7)])
def test_mp3_is_caught_behind_a_lossless_name(lossy_copy, song, kbps, channels, quality):
    bandwidth = inspect_bandwidth(lossy_copy(song[:channels], kbps, quality=quality))
    # What LAME codes at a low rate has lost its grid on the way back.
    assert bandwidth.suspicious if kbps == 24 else bandwidth.codec == "mp3"


@pytest.mark.parametrize(
    ("name", "subtype", "gain"), [("a.flac", "PCM_24", 1 / 0.95), ("a.flac", "PCM_16", 0.5), ("a.wav", "FLOAT", 2.0)]
)
def test_neither_format_nor_gain_hides_it(lossy_copy, song, name, subtype, gain):
    assert inspect_bandwidth(lossy_copy(song, 128, name, subtype, gain)).lossy


@pytest.mark.parametrize("trim", [0, 575, 12_345])
def test_where_the_file_was_cut_does_not_matter(lossy_copy, song, trim):
    assert inspect_bandwidth(lossy_copy(song, 128, trim=trim)).strength > 16


@pytest.mark.parametrize("kbps", [24, 32, 48, 64])
def test_bitrate_is_guessed_from_the_low_pass(lossy_copy, song, kbps):
    bandwidth = inspect_bandwidth(lossy_copy(song, kbps))
    assert bandwidth.bitrate_kbps == kbps
    assert bandwidth.cutoff_hz == pytest.approx({24: 3_900, 32: 5_500, 48: 7_500, 64: 11_000}[kbps], rel=0.05)


def test_original_is_not_accused():
    bandwidth = inspect_bandwidth(SONG)
    assert not bandwidth.lossy
    assert bandwidth.bitrate_kbps is None
    assert bandwidth.strength == 0
    assert bandwidth.cutoff_hz > 20_000


def artificial(kind, music):
    rng = np.random.default_rng(0)
    time = np.arange(5 * SAMPLE_RATE) / SAMPLE_RATE
    return {
        "music": music,
        "silence": np.zeros((2, 200_000), np.float32),
        "noise": 0.1 * rng.standard_normal((1, 200_000)),
        "tone": 0.5 * np.sin(2 * np.pi * 441 * time)[None],
        "square wave": 0.3 * np.sign(np.sin(2 * np.pi * 220.5 * time))[None],
        "one click": 0.5 * (np.arange(len(time)) == 70_007)[None],
        "gentle roll-off": np.cumsum(0.001 * rng.standard_normal((2, 200_000)), axis=1) % 1 - 0.5,
        "one sample": np.ones((1, 1), np.float32),
        "short": 0.1 * rng.standard_normal((2, 5_000)),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["music", "silence", "noise", "tone", "square wave", "one click", "gentle roll-off", "one sample", "short"],
)
def test_nothing_that_was_never_coded_is_accused(tmp_path, music, kind):
    write(tmp_path / "a.wav", artificial(kind, music), SAMPLE_RATE, "PCM_16")
    bandwidth = inspect_bandwidth(tmp_path / "a.wav")
    assert isinstance(bandwidth, Bandwidth)
    assert not bandwidth.lossy


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000])
def test_low_sample_rates_are_not_taken_for_damage(tmp_path, song, rate):
    write(tmp_path / "a.wav", resample(song, SAMPLE_RATE, rate), rate, "PCM_16")
    assert not inspect_bandwidth(tmp_path / "a.wav").lossy


@pytest.mark.parametrize("silence", [100, SAMPLE_RATE, 120 * SAMPLE_RATE])
def test_silent_is_what_sounds_nowhere(tmp_path, silence):
    waveform = np.zeros((1, silence), np.float32)
    write(tmp_path / "a.flac", waveform, SAMPLE_RATE)
    assert inspect_bandwidth(tmp_path / "a.flac").silent
    waveform[0, -1] = 0.5
    write(tmp_path / "b.flac", waveform, SAMPLE_RATE)
    assert not inspect_bandwidth(tmp_path / "b.flac").silent


def test_song_between_long_silences_is_found_and_judged(tmp_path, lossy_copy, song):
    hidden = read(lossy_copy(song[:1], 64))[0]
    silence = np.zeros((1, 70 * SAMPLE_RATE), np.float32)  # so long that the song lies between two places looked at
    write(tmp_path / "b.flac", np.concatenate([silence[:, : 65 * SAMPLE_RATE], hidden, silence], axis=1), SAMPLE_RATE)
    bandwidth = inspect_bandwidth(tmp_path / "b.flac")
    assert (bandwidth.silent, bandwidth.codec, bandwidth.bitrate_kbps) == (False, "mp3", 64)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="the corpus is not here")
@pytest.mark.parametrize("original", REAL, ids=lambda path: path.stem)
def test_real_pieces_are_told_from_their_mp3(lossy_copy, original):
    assert not inspect_bandwidth(original).lossy
    waveform = read(original)[0][:, : 6 * SAMPLE_RATE]
    assert inspect_bandwidth(lossy_copy(waveform.mean(axis=0, keepdims=True), 128)).codec == "mp3"
