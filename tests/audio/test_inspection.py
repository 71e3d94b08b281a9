import json

import numpy as np
import pytest
import soundfile

from apollo.audio import degrade, needs_restoration, read, resample, write
from apollo.audio.inspection import inspect
from apollo.audio.signal import Signal
from apollo.errors import AudioFileError

RATE = 44_100


@pytest.fixture(scope="module")
def noisy(music):
    """Music with something up to the top."""
    rng = np.random.default_rng(3)
    return (music + 0.002 * rng.standard_normal(music.shape)).astype(np.float32)


@pytest.mark.parametrize(("suffix", "name"), [(".mp3", "MP3"), (".m4a", "AAC"), (".opus", "Opus")])
def test_lossy_codec_counts_as_damage(tmp_path, noisy, suffix, name):
    write(tmp_path / f"a{suffix}", noisy, RATE)
    verdict = needs_restoration(tmp_path / f"a{suffix}")
    assert verdict.damaged
    assert verdict.sentence.startswith(f"lossy: {name}")
    assert inspect(tmp_path / f"a{suffix}").verdict.damaged


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_mp3_in_a_lossless_file_is_found(tmp_path, noisy, suffix):
    write(tmp_path / "a.mp3", noisy, RATE, bitrate=128_000)
    write(tmp_path / f"a{suffix}", read(tmp_path / "a.mp3")[0], RATE)
    verdict = needs_restoration(tmp_path / f"a{suffix}")
    assert verdict.damaged
    assert verdict.history == f"MP3 of about 128 kbit/s inside this {suffix[1:].upper()}"
    assert "`apollo restore` can help" in verdict.sentence


@pytest.mark.parametrize(
    ("codec", "kbps", "helps"),
    [
        ("mp3", 128, True),
        ("mp3", 192, False),
        ("mp3", 256, False),
        ("aac", 64, True),
        ("vorbis", 96, True),
        ("vorbis", 160, False),
    ],
)
def test_inside_lossless_files_too_the_verdict_says_whether_the_default_model_helps(
    tmp_path, chords, codec, kbps, helps
):
    write(tmp_path / "a.flac", degrade(chords, RATE, codec, 1000 * kbps)[:, 777:], RATE, "PCM_16")
    verdict = needs_restoration(tmp_path / "a.flac")
    assert verdict.damaged
    assert verdict.slight is not helps
    assert verdict.sentence.endswith("`apollo restore` can help" if helps else "the default model can hardly help")


def test_what_is_coded_below_a_full_sample_rate_lacks_treble_at_any_bitrate(tmp_path, chords):
    write(tmp_path / "a.flac", degrade(chords[:, ::2], 22_050, "aac", 128_000)[:, 777:], 22_050, "PCM_16")
    assert not needs_restoration(tmp_path / "a.flac").slight


@pytest.mark.parametrize(("codec", "kbps", "name"), [("aac", 128, "AAC"), ("vorbis", 96, "Vorbis")])
def test_other_codecs_are_found_by_their_own_grid_and_called_by_their_name(tmp_path, chords, codec, kbps, name):
    write(tmp_path / "a.flac", degrade(chords, RATE, codec, 1000 * kbps)[:, 777:], RATE, "PCM_16")
    verdict = needs_restoration(tmp_path / "a.flac")
    assert verdict.damaged
    assert verdict.history == f"{name} inside this FLAC"
    write(tmp_path / "b.flac", chords, RATE, "PCM_16")
    assert not needs_restoration(tmp_path / "b.flac").damaged


def test_cliff_alone_accuses_nobody_and_is_told(tmp_path, noisy):
    write(tmp_path / "a.wav", Signal.of_array(noisy, RATE).low_passed(11_000).array(), RATE)
    verdict = needs_restoration(tmp_path / "a.wav")
    assert not verdict.damaged
    assert verdict.sentence.startswith("perhaps lossy: a cliff at 10.9 kHz")
    assert "MP3" not in verdict.sentence


def test_sample_rate_of_an_encoder_is_told_where_the_file_has_another(tmp_path, noisy):
    write(tmp_path / "a.mp3", noisy, RATE, bitrate=64_000)
    write(tmp_path / "b.wav", resample(read(tmp_path / "a.mp3")[0], RATE, 48_000), 48_000)
    assert needs_restoration(tmp_path / "b.wav").history == "MP3 of about 64 kbit/s at 44.1 kHz inside this WAV"


def test_whole_recording_has_nothing_to_restore(tmp_path, noisy):
    write(tmp_path / "a.flac", noisy, RATE)
    verdict = needs_restoration(tmp_path / "a.flac")
    assert not verdict.damaged
    assert verdict.history is None
    assert verdict.sentence.startswith("nothing to restore: reaches 22.0 kHz, no traces of a lossy encoder (")


def test_silence_has_nothing_to_restore(tmp_path):
    write(tmp_path / "a.flac", np.zeros((2, RATE)), RATE)
    assert "silent" in inspect(tmp_path / "a.flac").verdict.sentence


@pytest.mark.parametrize(("channels", "rate"), [(1, 4), (1, 150), (2, 1_300), (1, 8_000), (6, 48_000), (8, 192_000)])
@pytest.mark.parametrize("long", [False, True])
def test_anything_can_be_inspected(tmp_path, channels, rate, long):
    frames = min(20_000, 60 * rate) if long else 1
    write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, (channels, frames)), rate)
    found = inspect(tmp_path / "a.wav")
    assert found.levels.frames == frames
    assert found.seconds == frames / rate
    assert needs_restoration(tmp_path / "a.wav").sentence


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_leave_numbers_to_tell(tmp_path, noisy, bad):
    broken = noisy.copy()
    broken[:, 5_000] = bad
    write(tmp_path / "a.wav", broken, RATE, "FLOAT")
    found = inspect(tmp_path / "a.wav").as_json()
    assert json.dumps(found, allow_nan=False)
    assert found["finite"] is False


@pytest.mark.parametrize(("level", "finite"), [(1e9, True), (1e12, True), (1e13, False), (1e30, False)])
@pytest.mark.filterwarnings("error")
def test_samples_far_beyond_any_sound_are_told_as_broken(tmp_path, noisy, level, finite):
    soundfile.write(tmp_path / "a.wav", (noisy / np.abs(noisy).max() * level * 0.99).T, RATE, "FLOAT")
    found = inspect(tmp_path / "a.wav")
    assert found.levels.finite is finite
    assert found.verdict.damaged is False


def test_progress_is_told_to_the_end(tmp_path, noisy):
    write(tmp_path / "a.flac", noisy, RATE)
    told = []
    inspect(tmp_path / "a.flac", lambda done, total: told.append((done, total)))
    assert told[-1] == (3.0, 3.0)


def test_file_without_samples_is_told(tmp_path):
    write(tmp_path / "a.wav", np.zeros((2, 0)), RATE)
    with pytest.raises(AudioFileError, match="contains no audio samples"):
        inspect(tmp_path / "a.wav")
    with pytest.raises(AudioFileError, match="contains no audio samples"):
        needs_restoration(tmp_path / "a.wav")


def test_silence_needs_no_restoration_and_is_said_to_be_silent(tmp_path):
    write(tmp_path / "a.wav", np.zeros((2, RATE)), RATE)
    verdict = needs_restoration(tmp_path / "a.wav")
    assert (verdict.damaged, verdict.sentence) == (False, "nothing to restore: it is silent")
