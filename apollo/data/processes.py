"""Work on many files in several processes that never outlive the one that asked for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

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
    """End this process when its parent is gone: a killed parent cannot tell it to, and it would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to answer: it lets begun files be finished

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
