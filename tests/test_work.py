"""Jobs are done by processes that end as their parent says, and what is finished is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from apollo.errors import DataError, StoppedError
from apollo.work import Ledger, entries_of, resumable, run

# Two jobs that last until a file is there; what each gives is printed.
WAITERS = """
import sys, time
from pathlib import Path
from apollo.work import run

def wait(job):
    print("begun", job, flush=True)
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
    return job

if __name__ == "__main__":
    for job, outcome in run(wait, [1, 2], 2):
        print("done", job, outcome, flush=True)
"""


def square(job: int) -> int:
    return job * job


def kill_itself(job: int) -> int:
    if job == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_and_told(workers: int) -> None:
    told: list[tuple[int, int, str]] = []
    outcomes = dict(run(square, range(4), workers, lambda *now: told.append(now), lambda job: f"job {job}", finished=3))
    assert outcomes == {0: 0, 1: 1, 2: 4, 3: 9}
    assert [now[:2] for now in told] == [(done, 7) for done in range(3, 8)]
    assert sorted(now[2] for now in told) == ["", "job 0", "job 1", "job 2", "job 3"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_process_that_is_killed_is_told_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BrokenProcessPool):
        list(run(kill_itself, [1, 2, 3, 4], 2))
    with (
        pytest.raises(DataError, match=r"was killed, .*with fewer workers, finished pairs are kept"),
        resumable(tmp_path, "pairs"),
    ):
        list(run(kill_itself, [1, 2, 3, 4], 2))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path, start_python: Callable[..., Any]) -> None:
    script = tmp_path / "waiters.py"
    script.write_text(WAITERS)
    parent = start_python(script, tmp_path / "never", stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    for _ in range(2):
        parent.stdout.readline()
    parent.kill()
    # The pipe ends when the last process that holds it is gone.
    assert parent.stdout.read() == ""
    parent.wait()


def test_a_ledger_holds_what_was_written_even_if_the_last_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    names = [{"name": "a"}, {"name": "line\u2028separator, \x85 and é"}, {"name": "c"}]
    with Ledger(path) as ledger:
        assert ledger.entries == []
        for entry in names:
            ledger.add(entry)
            assert entries_of(path)[-1] == entry
    path.write_bytes(path.read_bytes()[:-3])
    with Ledger(path) as ledger:
        assert ledger.entries == names[:2]
        ledger.add({"name": "d"})
    assert entries_of(path) == [*names[:2], {"name": "d"}]
    with Ledger(None) as nothing:
        nothing.add({"name": "a"})
    assert nothing.entries == []


def test_a_target_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"cannot be written \(Not a directory\).*finished files are kept"),
        resumable(tmp_path, "files"),
    ):
        (tmp_path / "file" / "inside").write_text("")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who sends a signal")
def test_a_worker_whose_parent_dies_while_it_starts_ends(run_python: Callable[..., Any]) -> None:
    script = """
import multiprocessing, os, signal, time
from apollo.work import leave_signals_to_parent

def work(parent):
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.01)
    leave_signals_to_parent()
    time.sleep(3600)

multiprocessing.get_context("fork").Process(target=work, args=(os.getpid(),)).start()
time.sleep(3600)
"""
    # It comes to an end when the worker no longer holds the output.
    assert run_python("-c", script).returncode == -signal.SIGKILL


def test_who_stops_a_job_is_told_what_is_kept_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(StoppedError) as stopped, resumable(tmp_path / "out", "shards"):
        raise KeyboardInterrupt
    kept = f"finished shards in {tmp_path / 'out'} are kept"
    assert str(stopped.value) == f"stopped: {kept}; run the same command again to continue"
