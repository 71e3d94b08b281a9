"""Work on many files in several processes that never outlive the one that asked for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from apollo.atomic import discard_unfinished

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_processes(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Iterator[tuple[Job, Outcome]]:
    """Do all jobs and give each with its outcome, in any order.

    Args:
        function: Of a module, so that another process can import it.
        jobs: What it is called with.
        workers: Processes at work; with one, all is done in this one.

    Raises:
        BrokenProcessPool: If a process was killed.
    """
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, function(job)
        return
    # Spawned: libraries that decode hold threads and locks that must not be copied half-way.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=end_with_parent)
    try:
        futures = {pool.submit(function, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this process when its parent is gone, which cannot tell it to, or on SIGTERM; no half-written file stays."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end(code: int) -> None:
        discard_unfinished()
        os._exit(code)

    def watch() -> None:
        parent.join()
        end(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to answer: it lets begun files be finished
    signal.signal(signal.SIGTERM, lambda number, frame: end(128 + number))

    threading.Thread(target=watch, daemon=True).start()


def leave_signals_to_parent(worker: int) -> None:
    """Let a worker of a data loader survive Ctrl+C and SIGTERM, which terminals and clusters send to all processes.

    The parent answers them: it may still need batches to come to an end. The worker ends when its parent, and nobody
    else, sends it a SIGTERM; systems other than Linux cannot tell who has sent one, and there every SIGTERM ends it.

    Args:
        worker: Its number, which does not matter.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "linux":
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def listen() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
