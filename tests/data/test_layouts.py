"""Which files belong together, in every layout that people have."""

from pathlib import Path

import pytest

from apollo.data.layouts import any_layout, song_folders, two_folders
from apollo.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def test_two_folders_match_by_path_without_the_ending(tmp_path: Path) -> None:
    touch(tmp_path, "original/a.wav", "original/disc 1/ä.flac", "codec/a.mp3", "codec/disc 1/ä.mp3", "codec/notes.txt")
    found = two_folders(tmp_path / "original", tmp_path / "codec", codec_format="mp3")
    assert [(a.name, b.name) for a, b in found.pairs] == [("a.wav", "a.mp3"), ("ä.flac", "ä.mp3")]
    assert not found.problems


def test_names_with_dots_keep_what_is_no_ending(tmp_path: Path) -> None:
    touch(tmp_path, "original/01. song v1.0.wav", "codec/01. song v1.0.mp3", "original/01. song v1.1.wav")
    found = two_folders(tmp_path / "original", tmp_path / "codec")
    assert [b.name for _, b in found.pairs] == ["01. song v1.0.mp3"]
    assert len(found.problems) == 1


def test_what_lacks_a_partner_or_has_two_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "original/a.wav", "original/b.wav", "original/b.flac", "original/c.wav")
    touch(tmp_path, "codec/b.mp3", "codec/c.mp3", "codec/d.mp3")
    found = two_folders(tmp_path / "original", tmp_path / "codec")
    assert [a.name for a, _ in found.pairs] == ["c.wav"]
    told = "\n".join(map(str, found.problems))
    assert "a.wav: it has no partner" in told
    assert "holds the name b 2 times" in told
    assert "d.mp3: it has no partner" in told


def test_a_folder_without_the_right_ending_is_fatal(tmp_path: Path) -> None:
    touch(tmp_path, "original/a.wav", "codec/a.ogg")
    with pytest.raises(DataError, match=r"holds no \.mp3 files"):
        two_folders(tmp_path / "original", tmp_path / "codec", codec_format="mp3")
    with pytest.raises(DataError, match="no folder"):
        two_folders(tmp_path / "original", tmp_path / "nowhere")


@pytest.mark.parametrize("names", [("original.wav", "codec.mp3"), ("original", "codec")])
def test_song_folders_at_any_depth(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, "one/original.wav", "one/codec.mp3", "more/two ü/original.wav", "more/two ü/codec.mp3")
    found = song_folders(tmp_path, *names)
    assert [a.parent.name for a, _ in found.pairs] == ["two ü", "one"]
    assert not found.problems


def test_incomplete_song_folders_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "one/original.wav", "one/codec.mp3", "two/original.wav", "three/readme.txt", "four/codec.mp3")
    touch(tmp_path, "four/original.wav", "four/original.flac")
    found = song_folders(tmp_path, "original", "codec")
    assert len(found.pairs) == 1
    told = "\n".join(map(str, found.problems))
    assert "two: it lacks codec" in told
    assert "three: it lacks original and codec" in told
    assert "original.flac and original.wav both match" in told


def test_any_layout_is_found_and_the_rest_is_clean_music(tmp_path: Path) -> None:
    touch(tmp_path, "train/original/a.wav", "train/codec/a.mp3", "valid/x/original.wav", "valid/x/codec.wav")
    touch(tmp_path, "eval/0/ori_wav.wav", "eval/0/codec_wav.wav", "music/album/song.flac", "train/original/b.wav")
    found, clean = any_layout(tmp_path)
    assert {(a.relative_to(tmp_path).as_posix(), b.name) for a, b in found.pairs} == {
        ("train/original/a.wav", "a.mp3"),
        ("valid/x/original.wav", "codec.wav"),
        ("eval/0/ori_wav.wav", "codec_wav.wav"),
    }
    assert [path.name for path in clean] == ["song.flac"]
    assert [problem.path.name for problem in found.problems] == ["b.wav"]


def test_a_root_that_is_itself_a_layout(tmp_path: Path) -> None:
    touch(tmp_path / "pairs", "original/a.wav", "codec/a.mp3")
    touch(tmp_path / "song", "original.wav", "codec.mp3")
    for root in ("pairs", "song"):
        found, clean = any_layout(tmp_path / root)
        assert len(found.pairs) == 1
        assert not clean
