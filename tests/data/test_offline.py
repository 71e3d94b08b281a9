import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from apollo.audio import AudioReader, degrade, lag, read
from apollo.audio.signal import Signal
from apollo.data import offline
from apollo.data.degradation import degraded
from apollo.data.manifest import MANIFEST, read_manifest
from apollo.data.offline import degrade_folder
from apollo.errors import ConfigError, DataError

RATE = 44_100


def write_m4a(path: Path, waveform: npt.NDArray[np.float32], rate: int) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def snapshot(root: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, make_music: Callable[..., npt.NDArray[np.float32]]) -> Path:
    """What people have: nested folders, any format, rate and width, and files that are broken."""
    root = tmp_path_factory.mktemp("library")
    (root / "Künstler" / "disc 1").mkdir(parents=True)
    soundfile.write(root / "a.flac", make_music(1.5, seed=1).T, RATE)
    soundfile.write(root / "a.wav", make_music(1.5, 1, 22_050, seed=2).T, 22_050, "FLOAT")
    soundfile.write(
        root / "Künstler" / "disc 1" / "löud.aiff", np.clip(3 * make_music(1.5, seed=3).T, -0.99, 0.99), RATE, "PCM_24"
    )
    soundfile.write(root / "Künstler" / "8 channels.wav", make_music(1.2, 8, seed=4).T, RATE, "PCM_24")
    soundfile.write(root / "Künstler" / "48k.mp3", make_music(1.5, sample_rate=48_000, seed=5).T, 48_000)
    write_m4a(root / "Künstler" / "b.m4a", make_music(1.5, seed=6), RATE)
    soundfile.write(root / "wave named.flac", make_music(0.7, seed=7).T, RATE, "PCM_16", format="WAV")
    soundfile.write(root / "one sample.wav", np.full((1, 2), 0.5), RATE)
    whole = (root / "a.flac").read_bytes()
    (root / "half.flac").write_bytes(whole[: len(whole) // 2])
    (root / "header.flac").write_bytes(whole[:30])
    (root / "text.wav").write_text("no audio")
    (root / "nothing.mp3").write_bytes(b"")
    soundfile.write(root / "no samples.wav", np.zeros((0, 2)), RATE)
    spoiled = make_music(0.5, seed=8)
    spoiled[0, 1000] = np.nan
    soundfile.write(root / "not a number.wav", spoiled.T, RATE, "FLOAT")
    (root / ".hidden").mkdir()
    soundfile.write(root / ".hidden" / "c.wav", make_music(0.5, seed=9).T, RATE)
    return root


GOOD = [
    "Künstler/48k.mp3",
    "Künstler/8 channels.wav",
    "Künstler/b.m4a",
    "Künstler/disc 1/löud.aiff",
    "a.flac",
    "a.wav",
    "half.flac",
    "one sample.wav",
    "wave named.flac",
]
BAD = ["header.flac", "no samples.wav", "not a number.wav", "nothing.mp3", "text.wav"]


@pytest.fixture(scope="module")
def songs(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library's pairs, one folder a song, at 64 kbit/s."""
    target = tmp_path_factory.mktemp("pairs") / "songs"
    before = snapshot(library)
    calls: list[tuple[int, int]] = []
    report = degrade_folder(
        library, target, options={"bitrate": 64_000}, progress=lambda done, total, _: calls.append((done, total))
    )
    assert snapshot(library) == before
    assert (report.made, report.kept) == (len(GOOD), 0)
    assert [failure.path.relative_to(library).as_posix() for failure in report.failures] == BAD
    assert all("\n" not in str(failure) for failure in report.failures)
    assert calls == [(done, len(GOOD) + len(BAD)) for done in range(len(GOOD) + len(BAD) + 1)]
    return target


def test_every_pair_is_of_one_shape_and_rate_and_aligned(library: Path, songs: Path) -> None:
    pairs = read_manifest(songs / MANIFEST)
    assert sorted(pair.source for pair in pairs) == GOOD
    for pair in pairs:
        source, rate = read(library / pair.source)
        original, original_rate = read(songs / pair.original.path)
        codec, codec_rate = read(songs / pair.codec.path)
        assert original_rate == codec_rate == pair.sample_rate == rate
        assert original.shape == codec.shape == source.shape == (pair.channels, pair.samples)
        assert np.array_equal(original, source)
        if pair.samples > 1:
            assert abs(lag(original, codec)) < 0.1
            assert np.vdot(original, codec) / np.vdot(original, original) == pytest.approx(1, abs=0.05)


def test_damage_is_what_degrade_does_to_the_whole_file(library: Path, songs: Path) -> None:
    for name in ("a.flac", "Künstler/disc 1/löud.aiff"):
        (pair,) = [pair for pair in read_manifest(songs / MANIFEST) if pair.source == name]
        waveform, rate = read(library / name)
        assert np.array_equal(read(songs / pair.codec.path)[0], degrade(waveform, rate, "mp3", 64_000))


def test_what_exceeds_full_scale_is_not_clipped(songs: Path) -> None:
    loud, _ = read(songs / "Künstler" / "disc 1" / "löud" / "codec.wav")
    assert np.abs(loud).max() > 1


def test_songs_have_a_folder_each_and_lossless_originals_are_copied(library: Path, songs: Path) -> None:
    files = snapshot(songs)
    clean = snapshot(library)
    assert files["a.flac/original.flac"] == clean["a.flac"]
    assert files["a.wav/original.wav"] == clean["a.wav"]
    assert files["wave named/original.wav"] == clean["wave named.flac"]
    assert {"Künstler/b/original.wav", "Künstler/b/codec.wav", "Künstler/48k/original.wav"} <= set(files)
    assert len(files) == 2 * len(GOOD) + 1
    assert not any(path.is_dir() and not any(path.iterdir()) for path in songs.rglob("*"))


def test_manifest_tells_sources_choices_and_hashes(library: Path, songs: Path) -> None:
    clean, files = snapshot(library), snapshot(songs)
    for line in (songs / MANIFEST).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        assert entry["sha256"] == clean[entry["source"]]
        for side in ("original", "codec"):
            assert entry[side]["sha256"] == files[entry[side]["path"]]
            assert entry[side]["bytes"] == (songs / entry[side]["path"]).stat().st_size
        assert entry["degradation"]["encodings"][0]["bitrate"] == 64_000


def test_two_folders_hold_equal_names(library: Path, tmp_path: Path) -> None:
    options = {"formats": ["mp3", "opus", "vorbis", "aac"], "double": 0.5}
    degrade_folder(library, tmp_path / "out", layout="folders", options=options)
    sides = {}
    for side in ("original", "codec"):
        root = tmp_path / "out" / side
        sides[side] = sorted(path.relative_to(root).with_suffix("") for path in root.rglob("*") if path.is_file())
    assert sides["original"] == sides["codec"]
    assert len(sides["original"]) == len(GOOD)
    assert (tmp_path / "out" / "codec" / "Künstler" / "disc 1" / "löud.wav").is_file()


@pytest.fixture
def few(make_music: Callable[..., npt.NDArray[np.float32]]) -> Callable[..., Path]:
    def few(root: Path, seconds: float = 0.6, count: int = 4) -> Path:
        root.mkdir()
        for number in range(count):
            sound = np.tile(make_music(0.2, seed=number), (1, round(seconds / 0.2)))
            soundfile.write(root / f"{number}.wav", sound.T, RATE)
        return root

    return few


def choices(target: Path) -> dict[str, object]:
    return {pair.source: pair.degradation for pair in read_manifest(target / MANIFEST)}


def test_choices_depend_on_seed_and_path_alone(tmp_path: Path, few: Callable[..., Path]) -> None:
    options = {"lowpass": {"probability": 0.5, "frequency": [12_000, 16_000]}}
    source = few(tmp_path / "in")
    degrade_folder(source, tmp_path / "one", options=options)
    degrade_folder(source, tmp_path / "two", options=options, workers=2)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")
    (source / "0.wav").unlink()
    degrade_folder(source, tmp_path / "fewer", options=options)
    assert choices(tmp_path / "fewer").items() <= choices(tmp_path / "one").items()
    degrade_folder(source, tmp_path / "other", options=options, seed=1)
    assert choices(tmp_path / "other") != choices(tmp_path / "fewer")
    assert len({json.dumps(choice) for choice in choices(tmp_path / "one").values()}) > 1


def test_finished_pairs_are_kept_and_half_ones_made_again(tmp_path: Path, few: Callable[..., Path]) -> None:
    source, target = few(tmp_path / "in"), tmp_path / "out"
    degrade_folder(source, target)
    whole = snapshot(target)
    written = {path: path.stat().st_mtime_ns for path in target.rglob("*.wav")}
    (target / "1" / "codec.wav").unlink()
    (target / "2" / "original.wav").write_bytes(b"half")
    (target / "3" / ".01234567.part").write_bytes(b"half")
    with (target / MANIFEST).open("a") as manifest:
        manifest.write('{"source": "half a li')
    report = degrade_folder(source, target)
    assert (report.made, report.kept) == (2, 2)
    assert snapshot(target) == whole
    assert all(
        (target / "0" / f"{side}.wav").stat().st_mtime_ns == written[target / "0" / f"{side}.wav"]
        for side in ("original", "codec")
    )


def test_what_has_changed_is_made_again(
    tmp_path: Path, few: Callable[..., Path], make_music: Callable[..., npt.NDArray[np.float32]]
) -> None:
    source, target = few(tmp_path / "in"), tmp_path / "out"
    degrade_folder(source, target, options={"bitrate": 64_000})
    soundfile.write(source / "1.wav", make_music(0.6, seed=99).T, RATE)
    assert degrade_folder(source, target, options={"bitrate": 64_000}).made == 1
    assert np.array_equal(read(target / "1" / "original.wav")[0], read(source / "1.wav")[0])
    (source / "2.wav").unlink()
    soundfile.write(source / "2.flac", make_music(0.6, seed=2).T, RATE)
    assert degrade_folder(source, target, options={"bitrate": 64_000}).made == 1
    assert sorted(path.name for path in (target / "2").iterdir()) == ["codec.wav", "original.flac"]
    assert degrade_folder(source, target, options={"bitrate": 96_000}).made == 4
    soundfile.write(source / "0.wav", np.full((100, 1), np.nan), RATE, "FLOAT")
    report = degrade_folder(source, target, options={"bitrate": 96_000})
    assert len(report.failures) == 1
    assert "NaN" in str(report.failures[0])
    assert "0.wav" not in choices(target)
    assert not (target / "0" / "codec.wav").exists()


def test_a_killed_run_goes_on_to_the_same_end(
    tmp_path: Path, run_python: Callable[..., Any], few: Callable[..., Path]
) -> None:
    source, target = few(tmp_path / "in", seconds=3, count=6), tmp_path / "out"
    (tmp_path / "run.py").write_text(
        """
import os, signal, sys
from pathlib import Path
from apollo.data.offline import degrade_folder
def killed(done, total, name):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    degrade_folder(Path(sys.argv[1]), Path(sys.argv[2]), workers=2, progress=killed)
"""
    )
    # All output has come when its workers have found it gone, and have ended too.
    assert run_python(tmp_path / "run.py", source, target).returncode == -signal.SIGKILL
    finished = len(read_manifest(target / MANIFEST))
    assert finished == 1
    report = degrade_folder(source, target)
    assert (report.made, report.kept) == (6 - finished, finished)
    degrade_folder(source, tmp_path / "uninterrupted")
    assert snapshot(target) == snapshot(tmp_path / "uninterrupted")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_text_is_told(tmp_path: Path, few: Callable[..., Path]) -> None:
    source = few(tmp_path / "in", 0.2, 2)
    (source / "0.wav").rename(source / os.fsdecode(b"caf\xe9.wav"))
    report = degrade_folder(source, tmp_path / "out")
    assert report.made == 1
    assert "rename it" in report.failures[0].reason


def test_long_files_take_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_music: Callable[..., npt.NDArray[np.float32]]
) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "long.wav", np.tile(make_music(0.5, seed=1), (1, 48)).T, RATE)
    largest = 0

    def watched(*arguments: Any) -> Signal:
        result = degraded(*arguments)

        def read() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal largest
            for block in result.blocks():
                largest = max(largest, block.shape[1])
                yield block

        return replace(result, blocks=read)

    monkeypatch.setattr(offline, "degraded", watched)
    degrade_folder(tmp_path / "in", tmp_path / "out", options={"double": 1.0})
    assert 0 < largest <= 1 << 19
    with AudioReader(tmp_path / "out" / "long" / "codec.wav") as reader:
        assert reader.frames == 24 * RATE


def test_impossible_requests_are_told_in_one_sentence(tmp_path: Path, few: Callable[..., Path]) -> None:
    source = few(tmp_path / "in", 0.2, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="must not contain each other"):
        degrade_folder(source, source / "pairs")
    with pytest.raises(DataError, match="must not contain each other"):
        degrade_folder(source, tmp_path)
    with pytest.raises(DataError, match="must not contain each other"):
        degrade_folder(source, source)
    with pytest.raises(DataError, match="no audio"):
        degrade_folder(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="no folder"):
        degrade_folder(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ConfigError, match="nearest is 64000"):
        degrade_folder(source, tmp_path / "out", options={"bitrate": 70_000})
    with pytest.raises(ConfigError, match="'songs' or 'folders'"):
        degrade_folder(source, tmp_path / "out", layout="pairs")  # type: ignore[arg-type]
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        degrade_folder(source, tmp_path / "file")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, few: Callable[..., Path]) -> None:
    source, target = few(tmp_path / "in", 0.2, 1), tmp_path / "out"
    target.mkdir(mode=0o500)
    with pytest.raises(DataError, match="cannot be written"):
        degrade_folder(source, target)
    shutil.rmtree(target)


def test_making_pairs_loads_neither_torch_nor_lightning(run_python: Callable[..., Any]) -> None:
    code = "import apollo.data.offline, sys; sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    assert run_python("-c", code).returncode == 0
