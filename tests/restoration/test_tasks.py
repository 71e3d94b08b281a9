"""Every input finds its output, and no two inputs the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from apollo.audio import AudioReader
from apollo.errors import AudioFileError
from apollo.restoration import plan


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.mp3", "a.wav", "disc 2/a.flac", "cover.jpg", ".hidden.mp3", ".trash/c.mp3", "b.restored.flac"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "album"


def targets(*inputs: Path, output: Path | None = None) -> list[str]:
    return [task.target.as_posix() for task in plan(list(inputs), output)]


def test_results_lie_beside_their_sources(album: Path) -> None:
    assert targets(album / "b.mp3") == [f"{album.as_posix()}/b.restored.flac"]


def test_folders_are_searched_for_audio_that_is_not_a_result(album: Path) -> None:
    sources = [task.source.relative_to(album).as_posix() for task in plan([album])]
    assert sources == ["a.wav", "b.mp3", "disc 2/a.flac"]


def test_folder_that_one_stands_in_needs_no_name(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album / "disc 2")
    assert targets(Path()) == ["a.restored.flac"]
    assert targets(Path("..")) == [f"../{name}.restored.flac" for name in ("a", "b", "disc 2/a")]


def test_output_folder_mirrors_the_folder(album: Path) -> None:
    out = Path("out")
    assert targets(album, output=out) == [f"out/{name}.restored.flac" for name in ("a", "b", "disc 2/a")]
    assert targets(album / "b.mp3", output=out) == ["out/b.restored.flac"]


def test_single_file_goes_where_it_is_told(album: Path) -> None:
    assert targets(album / "b.mp3", output=Path("x.wav")) == ["x.wav"]
    assert targets(album / "b.mp3", output=Path("x.ogg")) == ["x.ogg"]
    for inputs in ([album], [album / "a.wav", album / "b.mp3"]):
        with pytest.raises(AudioFileError, match="give a folder"):
            plan(inputs, Path("x.wav"))


def test_no_two_inputs_share_a_target(album: Path) -> None:
    (album / "a.mp3").touch()
    inputs = [album, album / "a.wav", album / "disc 2" / "a.flac"]
    for output in (None, Path("out")):
        found = targets(*inputs, output=output)
        assert len(set(found)) == len(found)
    assert targets(album / "a.wav", album / "a.mp3") == [
        f"{album.as_posix()}/a.{suffix}.restored.flac" for suffix in ("wav", "mp3")
    ]
    assert len(targets(album / "a.wav", album / "a.wav")) == 1


def test_no_two_inputs_share_a_target_where_small_and_capital_letters_are_the_same(tmp_path: Path) -> None:
    songs = [tmp_path / name for name in ("one/Song.mp3", "two/song.mp3", "three/SONG.ogg", "four/Song.mp3")]
    for song in songs:
        song.parent.mkdir()
        song.touch()
    found = targets(*songs, output=Path("out"))
    assert len({target.casefold() for target in found}) == len(songs)


def test_a_pattern_takes_the_names_of_folders_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "Album [2020] *live*"
    folder.mkdir()
    (folder / "a.mp3").touch()
    assert [task.source for task in plan([folder / "*.mp3"])] == [folder / "a.mp3"]


def test_results_that_a_shell_names_beside_their_sources_are_left_out(album: Path) -> None:
    (album / "a.mp3").touch()
    (album / "a.mp3.restored.flac").touch()
    sources = [task.source.name for task in plan(sorted(album.glob("[ab].*")))]
    assert sources == ["a.mp3", "a.wav", "b.mp3"]
    assert targets(album / "b.restored.flac") == [f"{album.as_posix()}/b.restored.restored.flac"]


@pytest.mark.skipif(sys.platform == "win32" or not os.geteuid(), reason="who may do everything finds no folder closed")
def test_folder_that_may_not_be_looked_into_is_not_passed_over_in_silence(album: Path) -> None:
    (album / "disc 2").chmod(0)
    try:
        assert album / "disc 2" in [task.source for task in plan([album])]
        with pytest.raises(AudioFileError, match="cannot be opened"):
            AudioReader(album / "disc 2")
    finally:
        (album / "disc 2").chmod(0o700)


def test_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match="no audio file"):
        plan([tmp_path])


def test_inputs_that_stand_for_nothing_do_not_stop_the_others(album: Path, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    tasks = plan([tmp_path / "scans", album / "b.mp3", album / "*.ogg"])
    assert [task.source.name for task in tasks] == ["b.mp3", "*.ogg", "scans"]
    assert [bool(task.problem) for task in tasks] == [False, True, True]


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_links_are_not_passed_over_in_silence(album: Path, caplog: pytest.LogCaptureFixture) -> None:
    (album / "gone.mp3").symlink_to("on a disk that is not there.mp3")
    (album / "disc 3").symlink_to("disc 2")
    sources = [task.source.relative_to(album).as_posix() for task in plan([album])]
    assert sources == ["a.wav", "b.mp3", "disc 2/a.flac", "gone.mp3"]
    assert f"{album / 'disc 3'}" in caplog.text
    with pytest.raises(AudioFileError, match="is a link to on a disk that is not there"):
        AudioReader(album / "gone.mp3")
