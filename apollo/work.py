"""Many jobs in processes that end with their parent, and what is kept of them if it ends early.

A run that was killed, stopped or had no room goes on when the same command is given again: what it has finished is in
a `Ledger` or in files that appear whole or not at all (`apollo.atomic`).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from apollo.atomic import alone, discard_unfinished
from apollo.errors import DataError, StoppedError, stop_signals

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")
Progress = Callable[[int, int, str], None]  # jobs done, of how many, and the name of the last


def run(
    function: Callable[[Job], Outcome],
    jobs: Sequence[Job],
    workers: int,
    progress: Progress | None = None,
    name: Callable[[Job], str] = str,
    finished: int = 0,
) -> Iterator[tuple[Job, Outcome]]:
    """Do all jobs and give each with its outcome, in any order.

    Args:
        function: A function of a module, so that another process can import it.
        jobs: Its arguments.
        workers: Number of processes; with one, all is done in this process.
        progress: Called at the start, and after the caller has dealt with each outcome.
        name: Gives the name of a job for `progress`.
        finished: Number of other jobs that an earlier run has done.

    Raises:
        BrokenProcessPool: If a process was killed.
    """
    total = finished + len(jobs)
    if progress:
        progress(finished, total, "")
    for done, (job, outcome) in enumerate(_outcomes(function, jobs, workers), start=finished + 1):
        yield job, outcome
        if progress:
            progress(done, total, name(job))


def _outcomes(function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, function(job)
        return
    # Spawned, because libraries that decode hold threads and locks that must not be copied while in use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=_begin)
    try:
        futures = {pool.submit(function, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def resumable(target: Path, finished: str, manifest: str = "") -> Iterator[None]:
    """Claim the folder that a run makes, and say in one sentence why the run ended early, and that it can go on.

    The folder is made if need be. Raises ApolloError if another run is at work in it, and DataError if it holds
    anything but lacks the manifest of an earlier run, a process was killed, or it cannot be written, and StoppedError
    after Ctrl-C; the parts named in `finished` are kept.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        with alone(target):
            foreign = next((path.name for path in target.iterdir() if not path.name.startswith(".")), None)
            if manifest and foreign and not (target / manifest).is_file():
                raise DataError(
                    f"{target} contains {foreign} but no {manifest} from Apollo: give an empty folder for {finished}"
                )
            yield
    except KeyboardInterrupt:
        raise StoppedError(
            f"stopped: finished {finished} in {target} are kept; run the same command again to continue", code=130
        ) from None
    except BrokenProcessPool:
        raise DataError(
            f"a process that worked on {target} was killed, perhaps for lack of memory or disk quota: run again with "
            f"fewer workers, finished {finished} are kept"
        ) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(
            f"{target} cannot be written ({reason}): check permissions and free space and run again, finished "
            f"{finished} are kept"
        ) from None


class Ledger:
    """A file with a JSON object a line, each written as soon as it is known; without a path, it keeps nothing.

    `entries` are those that the file held. All methods raise OSError if it cannot be read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self.entries = [] if path is None else entries_of(path)
        self._file: IO[str] | None = None
        if path is not None:
            self._file = path.open("a+", encoding="utf-8", newline="\n")
            # A killed run may have left half a line, which must not swallow the next.
            if self._file.tell() and not path.read_bytes().endswith(b"\n"):
                self._file.write("\n")

    def add(self, entry: dict[str, Any]) -> None:
        """Write one more entry."""
        if self._file is not None:
            self._file.write(as_line(entry))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def entries_of(path: Path) -> list[dict[str, Any]]:
    """The objects in a file with one a line; half a line, as a killed run leaves it, is skipped."""
    entries = []
    # Not `splitlines`, which takes some characters of names for line ends.
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def as_line(entry: dict[str, Any]) -> str:
    """An object as a line of such a file."""
    return json.dumps(entry, ensure_ascii=False) + "\n"


def _begin() -> None:
    """Make a worker end with its parent or on SIGTERM, without half-written files."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end(code: int) -> None:
        discard_unfinished()
        os._exit(code)

    def watch() -> None:
        parent.join()
        end(1)

    _leave_terminal_to_parent()
    signal.signal(signal.SIGTERM, lambda number, frame: end(128 + number))
    threading.Thread(target=watch, daemon=True).start()


def leave_signals_to_parent(worker: int = 0) -> None:
    """Let a worker (its number does not matter) survive the `stop_signals`, which terminals and clusters send to all.

    The parent answers them: it may still need its workers. A worker ends when its parent sends it a SIGTERM, or is no
    more; only Linux tells who sent one, so on other systems any SIGTERM ends it.
    """
    _leave_terminal_to_parent()
    if sys.platform != "linux":
        return
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    process = parent.pid
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def listen() -> None:
        # PyTorch's own watch over the parent begins too late for one that is killed while it starts its workers.
        while _lives(process):
            received = signal.sigtimedwait({signal.SIGTERM}, 5)
            if received is not None and received.si_pid == process:
                break
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()


def _lives(process: int) -> bool:
    """Whether Linux has this process, and not only its exit code, for which nobody has asked yet."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def _leave_terminal_to_parent() -> None:
    """Ignore Ctrl+C and the end of the terminal: the parent answers them, and lets begun files be finished."""
    for each in stop_signals():
        if each != signal.SIGTERM:
            signal.signal(each, signal.SIG_IGN)
