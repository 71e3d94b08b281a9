"""Only regular files are opened, whatever they are named as: everything else would hang, never end, or have effects."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from apollo.cli import main
from apollo.data.store import StemStore
from apollo.errors import ApolloError
from apollo.regular import refuse_special

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes and devices")


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("s")
    places = {"pipe": folder / "pipe.mp3", "zero": folder / "zero.wav", "socket": folder / "socket.flac"}
    os.mkfifo(places["pipe"])
    places["zero"].symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(places["socket"]))
    places["device"] = Path("/dev/zero")
    if sys.platform == "linux":
        places["system"] = Path("/proc/kmsg") if Path("/proc/kmsg").is_file() else Path("/proc/self/status")
        places["link"] = folder / "status.mp3"
        places["link"].symlink_to("/proc/self/status")
    return places


def test_regular_files_folders_and_what_is_missing_pass(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in ("a", "b", "", "missing", 5000 * "x", "nul\0"):
        refuse_special(tmp_path / name)


def test_nothing_else_does(special: dict[str, Path]) -> None:
    for path in special.values():
        with pytest.raises(ApolloError, match="does not open"):
            refuse_special(path)


VERBS = {
    "restore": ["restore", "PLACE", "-m", "default"],
    "inspect": ["inspect", "PLACE"],
    "evaluate": ["evaluate", "PLACE", "-m", "default", "--workers", "1"],
    "data check": ["data", "check", "PLACE"],
    "data degrade": ["data", "degrade", "PLACE", "OUT"],
    "data stems": ["data", "stems", "PLACE", "OUT", "--corpus", "folders"],
    "train": ["train", "-c", "PLACE"],
    "train -m": ["train", "-c", "configs/apollo.yaml", "-m", "PLACE"],
    "train --init-from": ["train", "-c", "configs/apollo.yaml", "--init-from", "PLACE"],
    "restore -m": ["restore", "examples/a.mp3", "-m", "PLACE", "-o", "OUT"],
    "benchmark -m": ["benchmark", "-m", "PLACE"],
    "export": ["export", "safetensors", "-m", "PLACE", "-o", "OUT"],
    "export -c": ["export", "paper", "-m", "default", "-c", "PLACE", "-o", "OUT"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_in_every_verb(
    verb: str,
    special: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    for path in special.values():
        words = [{"PLACE": str(path), "OUT": str(tmp_path / "out")}.get(word, word) for word in VERBS[verb]]
        monkeypatch.setattr(sys, "argv", ["apollo", *words])
        with pytest.raises(SystemExit) as left:
            main()
        errors = capsys.readouterr().err
        assert left.value.code == 1, (path, errors)
        assert re.fullmatch(r"Error: [^\n]+\n", errors), errors
        assert "bug in Apollo" not in errors
        assert str(path) in errors
        assert not list(tmp_path.iterdir())


def test_in_a_store_of_stems(tmp_path: Path) -> None:
    (tmp_path / "vocals").mkdir()
    os.mkfifo(tmp_path / "vocals" / "sample0.hdf5")
    (tmp_path / "vocals" / "sample1.hdf5").symlink_to("/dev/zero")
    with pytest.raises(ApolloError, match="holds no stems"):
        StemStore(tmp_path, 44100)
