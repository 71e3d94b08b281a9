from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio.codecs import degrade
from apollo.errors import DataError
from apollo.evaluation import waveforms as module
from apollo.evaluation.cases import KINDS, Case, find_cases, pairs_of
from apollo.evaluation.results import PAIRS, Condition
from apollo.evaluation.waveforms import SAMPLE_RATE, pair_waveforms, waveforms

MP3 = Condition("mp3", 64)


def save(path: Path, waveform: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, rate, subtype="FLOAT" if path.suffix == ".wav" else "PCM_24")
    return path


def save_mp3(path: Path, waveform: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, SAMPLE_RATE, format="MP3")
    return path


@pytest.fixture
def songs(tmp_path: Path, chords: np.ndarray) -> Path:
    for song, classes in {
        "a": ("vocals", "drums", "bass"),
        "b": ("piano", "guitar_1"),
        "c": ("vocals", "mixture"),
    }.items():
        for number, name in enumerate(classes, start=1):
            save(tmp_path / song / f"{name}.flac", 0.2 * number * chords)
    return tmp_path


def test_originals_are_evaluated_under_every_condition(tmp_path: Path, chords: np.ndarray) -> None:
    save(tmp_path / "album" / "one.flac", chords)
    save(tmp_path / "two.wav", chords)
    found = find_cases(tmp_path, ("mp3", "opus"), (64, 24))
    assert found.summary == "2 recordings"
    assert [(case.piece, str(case.condition)) for case in found.cases] == [
        (piece, condition)
        for piece in ("album/one.flac", "two.wav")
        for condition in ("MP3 24 kbit/s", "MP3 64 kbit/s", "Opus 24 kbit/s", "Opus 64 kbit/s")
    ]
    single = find_cases(tmp_path / "two.wav", ("mp3",), (64,))
    assert [case.piece for case in single.cases] == ["two.wav"]


@pytest.mark.parametrize("layout", ["original/{}.wav codec/{}.mp3", "{}/original.wav {}/codec.mp3"])
def test_pairs_are_told_by_their_layout_and_taken_as_they_are(tmp_path: Path, chords: np.ndarray, layout: str) -> None:
    for name in ("one", "two"):
        for path in layout.format(name, name).split():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    save(tmp_path / "loose.wav", chords)
    found = find_cases(tmp_path, ("mp3",), (24, 64))
    assert found.conditions == [Condition(PAIRS)]
    assert len(found.cases) == 2
    assert all(case.damaged is not None for case in found.cases)
    assert [piece for piece, _ in found.problems] == ["loose.wav"]


def test_songs_in_stems_give_the_four_kinds_of_music_as_far_as_their_stems_go(songs: Path) -> None:
    found = find_cases(songs, ("mp3",), (64,))
    kinds = {(case.piece.split(":")[0], case.kind): sorted(path.stem for path in case.sources) for case in found.cases}
    assert {kind for _, kind in kinds} == set(KINDS)
    assert kinds["a", "vocal"] == ["vocals"]
    assert kinds["a", "single stem"] in (["drums"], ["bass"])
    assert kinds["a", "multi-stem"] == ["bass", "drums"]
    assert kinds["a", "multi-stem + vocal"] == ["bass", "drums", "vocals"]
    assert kinds["b", "multi-stem"] == ["guitar_1", "piano"]
    assert {kind for song, kind in kinds if song == "c"} == {"vocal"}
    assert find_cases(songs, ("mp3",), (64,)).cases == found.cases


def test_a_mix_is_the_sum_of_its_stems_and_never_over_full_scale(
    songs: Path, chords: np.ndarray, tmp_path: Path
) -> None:
    paths = (songs / "a" / "drums.flac", songs / "a" / "bass.flac")
    original, damaged = waveforms(Case("a", "multi-stem", MP3, paths), tmp_path)
    assert np.abs(original - chords).max() < 1e-6
    assert damaged.shape == original.shape
    loud, _ = waveforms(Case("a", "multi-stem", MP3, 8 * paths), tmp_path)
    assert np.abs(loud).max() == pytest.approx(1)
    assert np.abs(loud - chords / np.abs(chords).max()).max() < 1e-6


def test_what_is_coded_here_is_what_degrade_gives(tmp_path: Path, chords: np.ndarray) -> None:
    path = save(tmp_path / "song.wav", chords)
    original, damaged = waveforms(Case("song", "", MP3, (path,)), tmp_path)
    assert np.array_equal(original, chords)
    assert np.array_equal(damaged, degrade(chords, SAMPLE_RATE, bitrate=64_000))


def test_long_waveforms_on_disk_are_the_same_as_in_memory(
    tmp_path: Path, chords: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("song", "", MP3, (save(tmp_path / "song.wav", chords, 48_000),))
    short = waveforms(case, tmp_path)
    monkeypatch.setattr(module, "_IN_MEMORY", 1000)
    monkeypatch.setattr(module, "_BLOCK", 20_011)
    (tmp_path / "scratch").mkdir()
    long = waveforms(case, tmp_path / "scratch")
    for one, other in zip(short, long, strict=True):
        assert isinstance(other, np.memmap)
        assert np.abs(one - other).max() < 1e-6


@pytest.mark.parametrize("lag", [0, 1105, -700])
def test_the_lag_of_a_pair_is_undone(tmp_path: Path, chords: np.ndarray, lag: int) -> None:
    damaged = degrade(chords, SAMPLE_RATE, bitrate=64_000)
    late = np.pad(damaged, ((0, 0), (lag, 0))) if lag >= 0 else damaged[:, -lag:]
    sides = pair_waveforms(save(tmp_path / "o.wav", chords), save(tmp_path / "c.wav", late), tmp_path)
    samples = sides[0].shape[1]
    begin = next(n for n in (max(0, -lag), 1 - lag) if np.array_equal(sides[0], chords[:, n : n + samples]))
    assert samples > chords.shape[1] - abs(lag) - 3
    assert np.array_equal(sides[0], chords[:, begin : begin + sides[0].shape[1]])
    assert np.abs(sides[1] - damaged[:, begin : begin + sides[1].shape[1]]).max() < 2e-3


def test_a_pair_of_different_songs_is_refused(tmp_path: Path, chords: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, chords.shape)
    with pytest.raises(DataError, match="not the same"):
        pair_waveforms(save(tmp_path / "o.wav", chords), save(tmp_path / "c.wav", noise), tmp_path)


def test_a_mono_version_of_a_stereo_original_is_on_both_sides(tmp_path: Path, chords: np.ndarray) -> None:
    mono = chords.mean(axis=0, keepdims=True)
    _, other = pair_waveforms(save(tmp_path / "o.wav", chords), save(tmp_path / "c.wav", mono), tmp_path)
    assert np.abs(other - mono[:, : other.shape[1]]).max() < 2e-3
    _, other = pair_waveforms(save(tmp_path / "m.wav", mono), save(tmp_path / "s.wav", chords), tmp_path)
    assert np.abs(other - mono[:, : other.shape[1]]).max() < 2e-3


def test_nothing_to_evaluate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        find_cases(tmp_path / "missing", ("mp3",), (64,))
    (tmp_path / "notes.txt").write_text("no music")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    with pytest.raises(DataError, match="no audio"):
        find_cases(tmp_path, ("mp3",), (64,))


def test_the_layout_that_was_recognised_is_told(tmp_path: Path, chords: np.ndarray) -> None:
    for place in ("a/original/x.flac", "a/codec/x.wav", "b/y/original.wav", "b/y/codec.wav", "c/z.flac"):
        save(tmp_path / place, chords[:, :30_000])
    layouts = {name: find_cases(tmp_path / name, ("mp3",), (64,)).layout for name in "abc"}
    assert layouts == {
        "a": "in the folders original/ and codec/",
        "b": "original beside codec in one folder per song",
        "c": "used as undamaged originals",
    }


@pytest.mark.parametrize(("one", "other"), [("orig", "mp3"), ("clean", "damaged")])
def test_folders_of_other_names_that_look_like_pairs_are_warned_of(
    tmp_path: Path, chords: np.ndarray, one: str, other: str
) -> None:
    for name in ("x", "y"):
        save(tmp_path / one / f"{name}.flac", chords[:, :50_000])
        save_mp3(tmp_path / other / f"{name}.mp3", chords[:, :50_000])
    found = find_cases(tmp_path, ("mp3",), (64,))
    assert found.summary == "4 recordings"
    lossy, twins = found.warnings
    assert "2 of 4 originals are in a lossy format" in lossy
    assert f"--original {tmp_path / one} --damaged {tmp_path / other}" in twins
    pairs = pairs_of(tmp_path / one, tmp_path / other)
    assert [(case.piece, case.damaged) for case in pairs.cases] == [
        (f"{name}.flac", tmp_path / other / f"{name}.mp3") for name in ("x", "y")
    ]
    assert not pairs.warnings
    assert pairs.source == f"{tmp_path / one} and {tmp_path / other}"


def test_sides_of_pairs_are_found_above_folders_of_albums(tmp_path: Path, chords: np.ndarray) -> None:
    for side in ("from cd", "from web"):
        for album, samples in (("first", 30_000), ("second", 60_000)):
            save(tmp_path / "all" / side / album / "x.flac", chords[:, :samples])
    (warning,) = find_cases(tmp_path, ("mp3",), (64,)).warnings
    assert "from cd/ and from web/ hold 2 recordings with the same names" in warning
    assert warning.endswith("or the other way round")


def test_songs_of_one_name_that_differ_in_length_are_no_pairs(tmp_path: Path, chords: np.ndarray) -> None:
    save(tmp_path / "disc 1" / "01.flac", chords)
    save(tmp_path / "disc 2" / "01.flac", chords[:, :60_000])
    assert not find_cases(tmp_path, ("mp3",), (64,)).warnings


def test_lossy_originals_of_pairs_are_warned_of_by_what_is_in_them(tmp_path: Path, chords: np.ndarray) -> None:
    save_mp3(tmp_path / "original" / "x.mp3", chords)
    save(tmp_path / "codec" / "x.flac", chords)
    (warning,) = find_cases(tmp_path, ("mp3",), (64,)).warnings
    assert "the original is in a lossy format" in warning


def test_two_named_folders_that_do_not_fit_are_an_error(tmp_path: Path, chords: np.ndarray) -> None:
    save(tmp_path / "one" / "x.flac", chords[:, :30_000])
    save(tmp_path / "other" / "y.flac", chords[:, :30_000])
    with pytest.raises(DataError, match=r"no file of .*other has the same name"):
        pairs_of(tmp_path / "one", tmp_path / "other")
    with pytest.raises(DataError, match="no folder"):
        pairs_of(tmp_path / "one", tmp_path / "third")
    with pytest.raises(DataError, match="two folders"):
        pairs_of(tmp_path / "one", tmp_path / "other" / ".." / "one")
