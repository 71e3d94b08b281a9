import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from apollo.data.store import StemStore
from apollo.data.store_building import StoreReport, build_store
from apollo.errors import DataError

RATE = 8000
SEGMENT = 6 * RATE


def tune(seconds: float, seed: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """Noise in whole steps of 16 bits, `(channels, samples)`."""
    rng = np.random.default_rng(seed)
    return (np.rint(rng.uniform(-6000, 6000, (channels, int(seconds * rate)))) / 32768).astype(np.float32)


def save(path: Path, waveform: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, rate, subtype)
    return path


def build(source: Path, target: Path, corpus: str = "folders", **options: object) -> StoreReport:
    return build_store(corpus, source, target, **{"sample_rate": RATE, **options})  # type: ignore[arg-type]


def contents(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs")
    save(root / "first" / "bass.flac", tune(10, 1, channels=1))
    save(root / "first" / "guitar_1.wav", tune(9.5, 2))
    save(root / "first" / "guitar_2.flac", tune(10, 3))
    save(root / "second ünïcode" / "bass.flac", tune(7, 4))
    save(root / "second ünïcode" / "vocals.flac", 0 * tune(7, 5))
    return root


@pytest.fixture(scope="module")
def store(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    build(songs, root)
    return root


def test_a_store_is_what_the_published_loader_reads(songs: Path, store: Path) -> None:
    names = {str(path.relative_to(store)) for path in store.rglob("*.hdf5")}
    samples = ("bass/sample0", "bass/sample1", "guitar/sample0", "guitar/sample1", "mixture/sample0", "mixture/sample1")
    assert names == {f"{name}.hdf5" for name in samples}
    with h5py.File(store / "guitar" / "sample1.hdf5") as file:
        assert list(file) == ["data"]
        assert file["data"].shape == (2, 2, SEGMENT)
        assert file["data"].dtype == np.float32
        guitar = tune(10, 3)
        assert np.array_equal(file["data"][1], guitar[:, 3 * RATE : 9 * RATE])
    with h5py.File(store / "bass" / "sample0.hdf5") as file:
        assert np.array_equal(file["data"][0], np.repeat(tune(10, 1, channels=1)[:, :SEGMENT], 2, axis=0))


def test_a_mixture_is_the_sum_of_a_song_as_long_as_its_longest_stem(store: Path) -> None:
    guitar = np.pad(tune(9.5, 2), ((0, 0), (0, RATE // 2)))
    total = tune(10, 1, channels=1) + guitar + tune(10, 3)
    with h5py.File(store / "mixture" / "sample0.hdf5") as file:
        np.testing.assert_allclose(file["data"][:], [total[:, :SEGMENT], total[:, 3 * RATE : 9 * RATE]], atol=1e-6)


def test_the_manifest_says_where_every_file_came_from(songs: Path, store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["settings"] == {"corpus": "folders", "dtype": "float32", "include_test": False, "sample_rate": RATE}
    files = {file["name"]: file for file in manifest["files"]}
    assert files["guitar/sample1.hdf5"]["sources"] == ["first/guitar_2.flac"]
    assert files["mixture/sample1.hdf5"]["sources"] == ["second ünïcode/bass.flac", "second ünïcode/vocals.flac"]
    assert files["vocals/sample0.hdf5"]["segments"] == 0


def test_int16_keeps_16_bit_stems_exactly_and_scales_what_is_louder(tmp_path: Path) -> None:
    save(tmp_path / "in" / "song" / "bass.wav", tune(6, 1))
    save(tmp_path / "in" / "song" / "drums.wav", 20 * tune(6, 2), subtype="FLOAT")
    build(tmp_path / "in", tmp_path / "out", dtype="int16")
    for name, expected, exact in (("bass", tune(6, 1), 0.0), ("drums", 20 * tune(6, 2), 1e-4)):
        with h5py.File(tmp_path / "out" / name / "sample0.hdf5") as file:
            assert file["data"].dtype == np.int16
        for folder in ("drums", "mixture", "bass"):
            shutil.rmtree(tmp_path / "only" / folder, ignore_errors=True)
        shutil.copytree(tmp_path / "out" / name, tmp_path / "only" / name)
        crop = StemStore(tmp_path / "only", RATE).stem(np.random.default_rng(0), SEGMENT)
        np.testing.assert_allclose(crop, expected, atol=exact)


def test_test_songs_of_musdb_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    musdb = tmp_path / "musdb18hq"
    for part in ("train", "test"):
        for seed, name in enumerate(("vocals", "drums", "bass", "other", "mixture")):
            save(musdb / part / f"{part} song" / f"{name}.wav", tune(6, seed))
    for source in (musdb, tmp_path):
        out = tmp_path / f"out of {source.name}"
        assert build(source, out, "musdb").segments == dict.fromkeys(("bass", "drums", "mixture", "other", "vocals"), 1)
        assert "test song" not in (out / "manifest.json").read_text()
    with h5py.File(out / "mixture" / "sample0.hdf5") as file:  # the song's own file, not a sum
        assert np.array_equal(file["data"][0], tune(6, 4))
    assert build(musdb, tmp_path / "all", "musdb", include_test=True).segments["vocals"] == 2


def test_moisesdb_is_read_by_its_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    song = tmp_path / "moisesdb_v0.1" / "0a1b"
    save(song / "other_keys" / "x.wav", tune(6, 1))
    save(song / "other_keys" / "y.wav", tune(6, 2))
    save(song / "Bowed Strings" / "z.wav", tune(6, 3))
    save(song / "theremin" / "t.wav", tune(6, 4))
    save(song / "preview.wav", tune(6, 5))
    save(song / "._hidden.wav", tune(6, 5))
    with caplog.at_level(logging.WARNING):
        report = build(tmp_path, tmp_path / "out", "moisesdb")
    assert report.segments == {"bowed_strings": 1, "mixture": 1, "other": 1, "other_keys": 2}
    assert "theremin" in caplog.text
    with h5py.File(tmp_path / "out" / "mixture" / "sample0.hdf5") as file:
        np.testing.assert_allclose(file["data"][0], sum(tune(6, seed) for seed in (1, 2, 3, 4)), atol=1e-6)


def test_whatever_is_on_disk_is_used_or_reported(tmp_path: Path) -> None:
    song = tmp_path / "in" / "song"
    whole = save(song / "bass.flac", tune(10, 1)).read_bytes()
    save(song / "drums.wav", tune(10, 2, channels=8))
    save(song / "guitar.wav", tune(10, 3, rate=22050), rate=22050)
    not_numbers = tune(10, 4)
    not_numbers[0, 100:200] = np.nan
    not_numbers[1, 300] = np.inf
    save(song / "piano.wav", not_numbers, subtype="FLOAT")
    (song / "vocals.flac").write_bytes(whole[:30])
    (song / "wind.wav").write_bytes(b"not audio at all")
    (song / "other.wav").write_bytes(b"")
    save(song / "other_keys.wav", tune(10, 5)[:, :1])
    before = contents(tmp_path / "in")
    report = build(tmp_path / "in", tmp_path / "out")
    assert report.segments == {"bass": 2, "drums": 2, "guitar": 2, "piano": 2}
    assert report.silent == ("song/other_keys.wav",)
    told = "\n".join(report.unreadable)
    assert len(report.unreadable) == 4
    assert all(name in told for name in ("vocals.flac", "wind.wav", "other.wav", "mixture/sample0.hdf5 was not made"))
    assert len(report.repaired) == 1
    assert "piano.wav" in report.repaired[0]
    with h5py.File(tmp_path / "out" / "piano" / "sample0.hdf5") as file:
        assert np.array_equal(file["data"][0], np.where(np.isfinite(not_numbers), not_numbers, 0)[:, :SEGMENT])
    assert contents(tmp_path / "in") == before
    again = build(tmp_path / "in", tmp_path / "out")
    assert (again.kept, again.repaired, again.silent) == (4, report.repaired, report.silent)
    for name in ("vocals.flac", "wind.wav", "other.wav"):
        save(song / name, tune(10, 6))
    mended = build(tmp_path / "in", tmp_path / "out")
    assert (mended.files, mended.kept, mended.segments["mixture"]) == (8, 4, 2)


def test_a_source_that_changed_is_taken_anew(tmp_path: Path) -> None:
    save(tmp_path / "in" / "song" / "bass.wav", tune(9, 1))
    save(tmp_path / "in" / "song" / "drums.wav", tune(9, 2))
    build(tmp_path / "in", tmp_path / "out")
    save(tmp_path / "in" / "song" / "bass.wav", tune(12, 3))
    report = build(tmp_path / "in", tmp_path / "out")
    assert report.kept == 1
    assert report.segments == {"bass": 3, "drums": 2, "mixture": 3}


def test_after_a_kill_the_next_run_makes_the_store_of_an_unbroken_one(
    tmp_path: Path, start_python: Callable[..., Any]
) -> None:
    for song in ("a", "b", "c"):
        for seed, name in enumerate(("bass", "drums")):
            save(tmp_path / "in" / song / f"{name}.wav", tune(60, seed))
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            from pathlib import Path
            from apollo.data.store_building import build_store
            if __name__ == "__main__":
                build_store("folders", Path("in"), Path("killed"), workers=2, sample_rate={RATE},
                            progress=lambda done, total, name: print(done, total, flush=True))
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with start_python(program, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0 9\n"
        assert process.stdout.readline() == b"1 9\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()  # returns when its workers, who share its output, have ended too
    finished = sorted((tmp_path / "killed").rglob("sample*.hdf5"))
    assert 1 <= len(finished) < 9
    times = {path: path.stat().st_mtime_ns for path in finished}
    (tmp_path / "killed" / "bass" / ".0123abcd.part").write_bytes(b"half")
    report = build(tmp_path / "in", tmp_path / "killed")
    assert report.kept >= len(finished)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    build(tmp_path / "in", tmp_path / "unbroken")
    assert contents(tmp_path / "killed") == contents(tmp_path / "unbroken")
    damaged = finished[0]  # what a failing disk leaves, not a kill
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert build(tmp_path / "in", tmp_path / "killed").kept == 8
    assert contents(tmp_path / "killed") == contents(tmp_path / "unbroken")


def test_a_finished_store_is_left_alone_and_progress_counts_what_is_there(songs: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    build(songs, tmp_path, progress=lambda *call: calls.append(call))
    assert [call[0] for call in calls] == list(range(8))
    assert {call[1] for call in calls} == {7}
    before = contents(tmp_path)
    calls.clear()
    report = build(songs, tmp_path, progress=lambda *call: calls.append(call))
    assert calls == [(7, 7, "")]
    assert report.kept == report.files == 6
    assert contents(tmp_path) == before


def test_a_store_of_other_settings_songs_or_makers_is_refused(songs: Path, store: Path, tmp_path: Path) -> None:
    before = contents(store)
    with pytest.raises(DataError, match=r"other settings \(dtype=float32\)"):
        build(songs, store, dtype="int16")
    save(tmp_path / "more" / "song" / "bass.wav", tune(6, 0))
    with pytest.raises(DataError, match="other songs"):
        build(tmp_path / "more", store)
    assert contents(store) == before
    shutil.copytree(store, tmp_path / "foreign")
    (tmp_path / "foreign" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        build(songs, tmp_path / "foreign")
    (tmp_path / "foreign" / "manifest.json").unlink()
    with pytest.raises(DataError, match="made by something else"):
        build(songs, tmp_path / "foreign")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        build(songs, tmp_path / "file")


def test_what_is_no_corpus_is_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        build(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DataError, match="no folder 'train'"):
        build(songs, tmp_path / "out", "musdb")
    with pytest.raises(DataError, match="no stems laid out as folders"):
        build(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="holds audio files itself"):
        build(songs / "first", tmp_path / "out")
    with pytest.raises(DataError, match="dtype must be"):
        build(songs, tmp_path / "out", dtype="int24")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", [".", "store"])
def test_a_store_is_not_made_among_the_songs(songs: Path, where: str) -> None:
    before = contents(songs)
    with pytest.raises(DataError, match="lies among the songs"):
        build(songs, songs / where)
    assert contents(songs) == before


def test_a_full_disk_is_one_sentence(songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"No space left on device.*finished files are kept"):
        build(songs, tmp_path / "out")
    assert not [name for name in contents(tmp_path / "out") if name != "manifest.json"]


def test_crops_are_pieces_of_the_segments_drawn_from(songs: Path, store: Path) -> None:
    stems = StemStore(store, RATE)
    sources = [tune(9.5, 2), tune(10, 3), tune(7, 4), np.repeat(tune(10, 1, channels=1), 2, axis=0)]
    found = set()
    for seed in range(20):
        crop = stems.stem(np.random.default_rng(seed), 2000)
        assert crop.shape == (2, 2000)
        assert crop.dtype == np.float32
        for number, source in enumerate(sources):
            for start in np.flatnonzero(source[0, :-1999] == crop[0, 0]):
                if np.array_equal(source[:, start : start + 2000], crop):
                    found.add((seed, number))
    assert {seed for seed, _ in found} == set(range(20))
    assert {number for _, number in found} == set(range(4))
    same = [stems.mixture(np.random.default_rng(3), 2000) for _ in range(2)]
    assert np.array_equal(*same)


def test_a_store_of_the_published_code_is_read(tmp_path: Path) -> None:
    (tmp_path / "vocals").mkdir()
    with h5py.File(tmp_path / "vocals" / "sample7.hdf5", "w") as file:
        file["data"] = np.stack([tune(6, 1)])
    stems = StemStore(tmp_path, RATE)
    assert np.array_equal(stems.stem(np.random.default_rng(0), SEGMENT), tune(6, 1))
    assert not stems.coherent


def _draw(stems: StemStore, samples: int) -> bytes:
    return stems.stem(np.random.default_rng(5), samples).tobytes()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_store_goes_to_other_processes(store: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    stems = StemStore(store, RATE)
    here = _draw(stems, 3000)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(_draw, (stems, 3000)) == here


def test_a_store_that_does_not_fit_is_refused_before_training(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert StemStore(store, RATE, samples=SEGMENT).max_samples == SEGMENT
    with pytest.raises(DataError, match=r"lower datas\.segments"):
        StemStore(store, RATE, samples=SEGMENT + 1)
    with pytest.raises(DataError, match=r"change datas\.sr"):
        StemStore(store, 44100)
    with pytest.raises(DataError, match="no folder"):
        StemStore(tmp_path / "nowhere", RATE)
    with pytest.raises(DataError, match="holds no stems"):
        StemStore(tmp_path, RATE)
    shutil.copytree(store, tmp_path / "copy")
    (tmp_path / "copy" / "bass" / "sample0.hdf5").write_bytes(b"half a file")
    with caplog.at_level(logging.WARNING):
        assert len(StemStore(tmp_path / "copy", RATE).stems["bass"]) == 1
    assert "bass/sample0.hdf5" in caplog.text
