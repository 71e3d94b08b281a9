"""What a manifest says, and where links in a folder lead, takes a run nowhere else: nothing outside is touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.data.manifest import MANIFEST
from apollo.data.offline import degrade_folder
from apollo.data.store_building import MANIFEST as STORE_MANIFEST
from apollo.data.store_building import build_store
from apollo.errors import DataError

RATE = 44_100


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside, with the name of one that a run makes."""
    (tmp_path / "outside").mkdir()
    path = tmp_path / "outside" / "codec.wav"
    path.write_text("years of work")
    return path


@pytest.fixture
def music(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, (RATE // 2, 2))
    soundfile.write(tmp_path / "music" / "song.wav", noise, RATE)
    return tmp_path / "music"


@pytest.mark.parametrize("side", ["original", "codec"])
@pytest.mark.parametrize(
    "spelling", ["{outside}/codec.wav", "../outside/codec.wav", "song/../../outside/codec.wav", "link/codec.wav"]
)
def test_a_manifest_that_names_a_file_elsewhere_removes_nothing(
    music: Path, secret: Path, tmp_path: Path, spelling: str, side: str
) -> None:
    target = tmp_path / "pairs"
    degrade_folder(music, target)
    (target / "link").symlink_to(secret.parent)
    entry = json.loads((target / MANIFEST).read_text())
    if side == "codec":  # of the song that is looked for
        entry["original"]["path"] = spelling.format(outside=secret.parent)
    entry[side]["path"] = spelling.format(outside=secret.parent)
    (target / MANIFEST).write_text(json.dumps(entry) + "\n")
    assert degrade_folder(music, target, options={"bitrate": 32_000}).made == 1
    assert secret.read_text() == "years of work"
    assert sorted(path.name for path in secret.parent.iterdir()) == ["codec.wav"]


def test_pairs_are_not_written_through_a_link_out_of_their_folder(music: Path, secret: Path, tmp_path: Path) -> None:
    target = tmp_path / "pairs"
    target.mkdir()
    (target / MANIFEST).touch()
    (target / "song").symlink_to(secret.parent)
    with pytest.raises(DataError, match="leads out of"):
        degrade_folder(music, target)
    assert secret.read_text() == "years of work"


def test_a_link_in_a_circle_is_refused(music: Path, tmp_path: Path) -> None:
    target = tmp_path / "pairs"
    target.mkdir()
    (target / MANIFEST).touch()
    (target / "song").symlink_to("song")
    with pytest.raises(DataError, match="leads out of"):
        degrade_folder(music, target)


@pytest.mark.parametrize("name", ["../outside/1.hdf5", "/outside/1.hdf5", "vocals/../../outside/1.hdf5"])
def test_a_store_whose_manifest_names_other_files_is_not_gone_on_with(tmp_path: Path, name: str) -> None:
    songs, store, outside = tmp_path / "songs", tmp_path / "store", tmp_path / "outside"
    (songs / "a").mkdir(parents=True)
    outside.mkdir()
    soundfile.write(songs / "a" / "vocals.wav", np.random.default_rng(0).normal(0, 0.1, (7 * RATE, 2)), RATE)
    build_store("folders", songs, store)
    (outside / "1.hdf5").write_text("years of work")
    manifest = json.loads((store / STORE_MANIFEST).read_text())
    manifest["files"][0]["name"] = name
    manifest["files"][0]["bytes"] = [1]
    (store / STORE_MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="other songs"):
        build_store("folders", songs, store)
    assert (outside / "1.hdf5").read_text() == "years of work"


def test_a_store_is_not_written_through_a_link_out_of_its_folder(tmp_path: Path) -> None:
    songs, store, outside = tmp_path / "songs", tmp_path / "store", tmp_path / "outside"
    for folder in (songs / "a", store, outside):
        folder.mkdir(parents=True)
    soundfile.write(songs / "a" / "vocals.wav", np.random.default_rng(0).normal(0, 0.1, (7 * RATE, 2)), RATE)
    (store / "vocals").symlink_to(outside)
    with pytest.raises(DataError, match="leads out of"):
        build_store("folders", songs, store)
    assert not list(outside.iterdir())
