from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from apollo.audio import AudioReader, Relation, read, relate, resample, write

SAMPLE_RATE = 44_100
ROOT = Path(__file__).parents[2]
SONG = ROOT / "examples/originals/dodgems-beat.flac"
REAL = sorted((ROOT.parent / "shared/corpus/real").glob("*.flac"))
NO_HEADER = {"write_xing": "0"}

# Name, encoder, lowest kbit/s, the container's options, and the lag (samples) that the codec brings into the file.
CODECS = [
    ("header.mp3", "libmp3lame", 32, None, 0),
    ("no_header.mp3", "libmp3lame", 32, NO_HEADER, 1_105),
    ("libsndfile.mp3", "libsndfile", 128, None, 0),
    ("adts.aac", "aac", 24, None, 1_024),
    ("mp4.m4a", "aac", 24, None, 0),
    ("a.opus", "libopus", 24, None, 0),
    ("a.ogg", "libsndfile", 128, None, 0),
]
SHIFTS = [0, -12.35, 7_000.6]
# Delays add up, whichever codec brings one: every codec meets a shift, and one codec every shift.
SHIFTED = [(*codec, SHIFTS[number % 3]) for number, codec in enumerate(CODECS)]
SHIFTED += [(*CODECS[0], shift) for shift in SHIFTS[1:]]


def encoded(encode, path, waveform, encoder, kbps, container_options):
    rate = 48_000 if encoder == "libopus" else SAMPLE_RATE
    return encode(path, resample(waveform, SAMPLE_RATE, rate), encoder, rate, kbps, None, container_options)


def delayed(waveform, samples):
    """Delay by any fraction of a sample, exactly, as a turn of phase; the ends are padded, not wrapped."""
    padding = int(abs(samples)) + 2_000
    padded = np.pad(waveform.astype(np.float64), ((0, 0), (padding, padding)))
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(padded.shape[1]) * samples)
    return np.fft.irfft(np.fft.rfft(padded) * turn, padded.shape[1])[:, padding:-padding].astype(np.float32)


@pytest.fixture(scope="module")
def song():
    return read(SONG)[0]


@pytest.fixture
def other(tmp_path):
    """What a song becomes as a file."""

    def other(waveform, rate=SAMPLE_RATE):
        write(tmp_path / "other.wav", waveform, rate, subtype="FLOAT")
        return tmp_path / "other.wav"

    return other


@pytest.mark.parametrize(("name", "encoder", "lowest", "options", "delay", "shift"), SHIFTED)
def test_coded_music_makes_a_good_pair_and_its_lag_is_found(
    tmp_path, encode, song, name, encoder, lowest, options, delay, shift
):
    path = encoded(encode, tmp_path / name, delayed(song, shift), encoder, lowest, options)
    relation = relate(SONG, path)
    assert relation.lag == pytest.approx(shift + delay, abs=0.5)
    assert relation.problem is None
    assert (relation.polarity, relation.swapped) == (1, False)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="the corpus is not here")
@pytest.mark.parametrize("original", REAL, ids=lambda path: path.stem)
def test_no_real_piece_gives_a_false_alarm_and_its_lag_is_found(tmp_path, encode, original):
    waveform = read(original)[0]
    for name, encoder, lowest, options, delay in (CODECS[1], CODECS[4], CODECS[5]):
        relation = relate(original, encoded(encode, tmp_path / name, waveform, encoder, lowest, options))
        assert relation.lag == pytest.approx(delay, abs=0.5), name
        assert relation.problem is None, name
    stranger = REAL[REAL.index(original) - 1]
    assert relate(original, stranger).problem == "they are not the same music"


def test_relation_does_not_hang_on_the_sample_rate(other, song):
    relation = relate(SONG, other(resample(delayed(song, 30.25), SAMPLE_RATE, 32_000), 32_000))
    assert relation.lag == pytest.approx(30.25, abs=0.05)
    assert relation.problem is None


def test_mono_is_compared_with_the_middle_of_stereo(other, song):
    path = other(song.mean(axis=0, keepdims=True))
    for relation in (relate(SONG, path), relate(path, SONG)):
        assert relation.lag == pytest.approx(0, abs=0.01)
        assert relation.similarity > 0.99
        assert relation.problem is None


@pytest.mark.parametrize("gain", [0.1, 0.95, 2.0])
def test_gain_is_told(other, song, gain):
    relation = relate(SONG, other(gain * song))
    assert relation.gain_db == pytest.approx(20 * np.log10(gain), abs=0.01)
    assert relation.problem is None


def test_inverted_polarity_is_told(other, song):
    relation = relate(SONG, other(-delayed(song, 3)))
    assert relation.polarity == -1
    assert relation.lag == pytest.approx(3, abs=0.05)
    assert not relation.swapped
    assert relation.problem == "the polarity is inverted"


@pytest.mark.parametrize("sign", [1, -1])
def test_swapped_channels_are_told(other, song, sign):
    relation = relate(SONG, other(sign * song[::-1]))
    assert relation.swapped
    assert relation.polarity == sign
    assert relation.problem is not None
    if sign > 0:
        assert relation.problem == "left and right are swapped"


@pytest.mark.parametrize("ppm", [25, 50, -50])
def test_drift_is_told(other, song, ppm):
    other_rate = SAMPLE_RATE * (1 + ppm * 1e-6)
    relation = relate(SONG, other(soxr.resample(song.T, SAMPLE_RATE, other_rate).T))
    drift = ppm * 1e-6 * song.shape[1]
    assert relation.drift == pytest.approx(drift, rel=0.2)
    assert relation.lag == pytest.approx(drift / 2, rel=0.2)
    assert "drifts by" in relation.problem


def test_greater_drift_makes_no_good_pair(other, song):
    assert relate(SONG, other(soxr.resample(song.T, SAMPLE_RATE, SAMPLE_RATE * 1.001).T)).problem is not None


@pytest.mark.parametrize("cut", [20, 700, 22_050, 100_000])
def test_cut_in_the_middle_is_told(other, song, cut):
    middle = song.shape[1] // 2
    relation = relate(SONG, other(np.concatenate([song[:, :middle], song[:, middle + cut :]], axis=1)))
    assert "jumps" in relation.problem or "in parts" in relation.problem


def test_different_music_is_told(other, music, song):
    assert relate(SONG, other(np.tile(music, (1, 4)))).problem == "they are not the same music"
    noise = 0.1 * np.random.default_rng(0).standard_normal(song.shape).astype(np.float32)
    assert relate(SONG, other(noise)).problem == "they are not the same music"


@pytest.mark.parametrize("length", [1, 100, 1_023, 1_024, 2_000, 50_000, 200_000])
def test_any_length_gives_a_relation(other, song, length):
    relation = relate(SONG, other(song[:, :length]))
    assert np.isfinite(relation.lag)
    if length < 1_024:
        assert relation.problem == Relation().problem == "there is too little sound to compare"
    if length >= 50_000:
        assert relation.lag == pytest.approx(0, abs=0.01)
        assert relation.problem is None


def test_silence_has_no_lag_and_no_similarity(other, song):
    relation = relate(SONG, other(np.zeros_like(song)))
    assert relation.lag == 0
    assert np.isnan(relation.similarity)
    assert relation.problem == "there is too little sound to compare"


def test_silence_within_a_song_is_no_difference(other, tmp_path, song):
    gapped = song.copy()
    gapped[:, 100_000:300_000] *= 1e-4
    write(tmp_path / "reference.wav", gapped, SAMPLE_RATE)
    gapped[:, 100_000:300_000] = 0
    assert relate(tmp_path / "reference.wav", other(gapped)).problem is None


def test_lag_beyond_the_largest_looked_for_is_not_found(other, song):
    path = other(song[:, 30_000:])
    assert relate(SONG, path, max_lag_seconds=0.1).problem is not None
    assert relate(SONG, path).lag == pytest.approx(-30_000, abs=0.01)


def test_long_files_are_compared_by_a_few_stretches(tmp_path, song):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2) as file:
        for _ in range(60):
            file.write(song.T)
    with AudioReader(path) as reference, AudioReader(path) as reader:
        taken = []
        read_all = reader.read
        reader.read = lambda n: taken.append(n) or read_all(n)
        assert relate(reference, reader).problem is None
    assert sum(taken) < 60 * SAMPLE_RATE
