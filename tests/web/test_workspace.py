import os
import time
import zipfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from apollo.web.workspace import Workspace, safe_name


@example(["0", "0.:"])
@given(st.lists(st.text(max_size=300), max_size=5))
def test_names_of_uploads_become_plain_names_each_of_its_own(names: list[str]) -> None:
    taken: set[str] = set()
    given_names = [safe_name(name, taken) for name in names]
    assert len({name.casefold().rpartition(".")[0] or name.casefold() for name in given_names}) == len(names)
    for name in given_names:
        assert Path(name).name == name
        assert not name.startswith((".", "-", " "))
        assert name.isprintable()
        assert 0 < len(name.encode()) < 130
        assert not set(name) & set('/\\:*?"<>|\0')


def test_what_nobody_uses_is_removed_after_its_time(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (workspace.uploads / "old").mkdir()
    (workspace.uploads / "old" / "song.mp3").write_bytes(b"song")
    os.utime(workspace.uploads / "old", (0, 0))
    (workspace.uploads / "new").mkdir()
    with workspace.room() as busy:
        busy.used -= 7200
        with workspace.room() as idle:
            address = idle.serve("song", idle.folder, "song.flac")
        idle.used -= 3599
        workspace.clean()
        assert idle.folder.exists()
        assert workspace.find(idle.token) is idle  # which is a use
        idle.used = time.monotonic() - 3601
        workspace.clean()
        assert not idle.folder.exists()
        assert workspace.find(idle.token) is None
        assert busy.folder.exists()
    assert [path.name for path in workspace.uploads.iterdir()] == ["new"]
    assert address == f"apollo/{idle.token}/song"


def test_only_what_is_served_can_be_fetched(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "secret").write_text("secret")
    with workspace.room() as room:
        (room.folder / "mine").write_text("mine")
        room.serve("result", room.folder / "mine", "mine.txt")
        for name in ("mine", "../secret", "../../secret", str(tmp_path / "secret"), "result/", ""):
            assert room.fetch(name) is None
        assert room.fetch("result") is not None
    assert workspace.find("0" * 32) is None


def test_zip_holds_every_download_and_nothing_else(tmp_path: Path) -> None:
    with Workspace(tmp_path).room() as room:
        for number in range(3):
            (room.folder / f"{number}").write_text(f"song {number}")
            room.serve(f"restored/{number}", room.folder / f"{number}", f"song {number}.flac")
        room.serve("player/0.png", room.folder / "0")
        room.serve_all()
        found = room.fetch("all.zip")
        assert found is not None
        with zipfile.ZipFile(found.path) as file:
            assert file.namelist() == [f"song {number}.flac" for number in range(3)]
            assert file.read("song 2.flac") == b"song 2"
