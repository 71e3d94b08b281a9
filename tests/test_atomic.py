"""A file appears whole or not at all, replaces nothing unasked, and is made by one process at a time."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apollo.atomic import ExistsError, alone, claimed, discard_unfinished, replacing
from apollo.errors import ApolloError


def test_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, exception: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise exception

    with pytest.raises(exception):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "inner").mkdir(parents=True)
    with pytest.raises(OSError), replacing(path) as temporary:  # noqa: PT011  # which one depends on the system
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_what_appears_meanwhile_is_kept(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:  # as on a stick with FAT

        def unable(*arguments: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", unable)
    path = tmp_path / "a.txt"
    with pytest.raises(ExistsError, match=r"a\.txt exists already"):  # noqa: PT012, SIM117
        with replacing(path, overwrite=False) as temporary:
            temporary.write_text("ours")
            path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    with replacing(path, overwrite=False) as temporary:
        temporary.write_text("ours")
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("theirs")
    with pytest.raises(ExistsError), replacing(tmp_path / "a.txt", overwrite=False):
        pytest.fail("the work began")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("/dev/null")
    for path in (pipe, tmp_path / "link", Path("/dev/null")):
        with pytest.raises(ApolloError, match=r"named pipe|device"), replacing(path):
            pytest.fail("the work began")
    assert pipe.is_fifo()


def test_who_is_about_to_end_removes_what_it_has_begun(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):  # noqa: PT012, SIM117
        with claimed(tmp_path / "a.txt"), replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            discard_unfinished()
            assert not list(tmp_path.iterdir())


Claim = Callable[[Path], "subprocess.Popen[str]"]
CLAIMING = """
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from apollo.atomic import claimed
with claimed(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    if ours:
        sys.stdin.readline()
"""


@pytest.fixture
def claim(start_python: Callable[..., Any]) -> Claim:
    """Starts a process that claims a path until it reads a line."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return lambda path: start_python("-c", CLAIMING, path, **pipes)


def test_one_process_has_a_claim_at_a_time(tmp_path: Path, claim: Claim) -> None:
    path = tmp_path / ("a" * 250)
    first = claim(path)
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    assert claim(path).communicate()[0] == "False\n"
    with claimed(path) as ours, claimed(tmp_path / "another") as another:
        assert (ours, another) == (False, True)
    first.communicate("\n")
    with claimed(path) as ours:
        assert ours
    assert not list(tmp_path.iterdir())


def test_a_killed_process_gives_up_its_claim(tmp_path: Path, claim: Claim) -> None:
    path = tmp_path / "a.flac"
    first = claim(path)
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    with claimed(path) as ours:
        assert not ours
    with alone(tmp_path), pytest.raises(ApolloError, match="another run of Apollo is at work in"), alone(tmp_path):
        pytest.fail("two runs")
    first.kill()
    first.wait()
    with claimed(path) as ours:
        assert ours
    assert not list(tmp_path.iterdir())


PARTING = """
import os, sys, time
from pathlib import Path
from apollo.atomic import claimed
with claimed(Path(sys.argv[1])):
    if not os.fork():  # the child tells, when it has let go
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that part")
def test_a_claim_ends_with_its_process_though_others_parted_from_it(
    tmp_path: Path, start_python: Callable[..., Any]
) -> None:
    path = tmp_path / "a.flac"
    first = start_python("-c", PARTING, path, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    child = int(first.stdout.readline())
    try:
        first.kill()
        first.wait()
        with claimed(path) as ours:
            assert ours
    finally:
        os.kill(child, signal.SIGKILL)
