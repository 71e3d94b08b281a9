"""Files restored by many workers, each once, whatever becomes of the workers.

The driver, which is the command itself, hands out one file at a time, so that nothing waits in a worker that may be
lost, and a worker that has finished early takes the next. Long files go first. Ray's actors do that in a few lines; Ray
Data, which streams blocks of rows, would restore all of a block again where a worker is lost in it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from apollo.atomic import discard_unfinished
from apollo.cluster.connection import Workers
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration.engine import Restorer
from apollo.restoration.jobs import Outcome, restore_files, warnings_collected
from apollo.restoration.output import Output
from apollo.restoration.provenance import Settings
from apollo.restoration.tasks import Task, likely_seconds

log = logging.getLogger(__name__)

LOSSES = 3  # of workers at one file, before that is taken to be what they die of
PATIENCE = 60.0  # seconds for which a file that another process is at is waited for; one that was lost ends in a few


@dataclass(frozen=True)
class Job:
    """What is the same for all files."""

    build: Callable[[Apollo], Restorer]  # makes a restorer of a network, in the worker
    output: Output  # what the results are to be like
    overwrite: bool = False  # whether targets may replace files
    force: bool = False  # whether to restore what shows no damage
    model: str = ""  # name of the network, for the tags of the results
    folder: Path = Path()  # from which relative paths are meant


@dataclass(frozen=True)
class Ready:
    """What a worker tells when it is ready."""

    settings: Settings  # what it was set to
    warnings: Sequence[str]  # what was logged meanwhile


class Worker:
    """A process of a cluster that keeps the network ready."""

    def __init__(self, job: Job, network: Apollo, threads: int) -> None:
        self.job, self.network, self.threads = job, network, threads

    def prepare(self) -> Ready:
        """Get ready; errors are the user's."""
        torch.set_num_threads(self.threads)
        with suppress(OSError):  # where there is none, relative paths are found missing
            os.chdir(self.job.folder)
        with warnings_collected() as warnings:
            self.restorer = self.job.build(self.network)
        return Ready(Settings.of(self.restorer), tuple(warnings))

    def restore(self, task: Task, again: bool) -> Outcome:
        """Restore a file.

        Args:
            task: Source and target.
            again: Whether another process may be at the file that is about to end, or may have finished it.
        """
        torch.set_num_threads(self.threads)  # a thread of its own has its own number
        with warnings_collected() as warnings:
            outcome = self._once(task)
            until = time.monotonic() + PATIENCE
            while again and outcome.left and time.monotonic() < until:
                time.sleep(1)
                outcome = self._once(task)
            if again and outcome.status == "failed":
                outcome = self._once(task)
        return replace(outcome, warnings=tuple(warnings))

    def _once(self, task: Task) -> Outcome:
        job = self.job
        outcomes = restore_files([task], self.restorer, job.output, job.overwrite, job.force, model=job.model)
        return next(iter(outcomes))

    def leave(self) -> None:
        """End at once, in the middle of a file, and leave nothing of it."""
        discard_unfinished()
        os._exit(0)


def restore_with_workers(
    tasks: Sequence[Task], network: Apollo, job: Job, workers: Workers
) -> tuple[Settings, Generator[Outcome, None, None]]:
    """Restore files with the workers of the cluster that is joined.

    Args:
        tasks: As `plan` gives them. Sources and targets must be where every worker finds them.
        network: Goes to each worker once.
        job: What is the same for all files.
        workers: How many, of what size.

    Returns:
        What the workers were set to, once the first is ready, and what became of each task, in the order in which they
        end. Closing the iterator stops all workers.

    Raises:
        ApolloError: If a worker cannot get ready.
    """
    pool = Pool(job, network, workers, max(1, min(workers.count, len(tasks))))
    try:
        return pool.first(), pool.outcomes(tasks)
    except BaseException:
        pool.close()
        raise


class Pool:
    """Workers: those that start, those that wait for work, and those that are at it."""

    def __init__(self, job: Job, network: Apollo, workers: Workers, count: int) -> None:
        options: dict[str, Any] = {
            "num_cpus": workers.threads,
            "num_gpus": workers.gpus,
            "concurrency_groups": {"control": 1},
        }
        self._kind = ray.remote(**options)(Worker)
        self._arguments = (ray.put(job), ray.put(network), workers.threads)
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._working: dict[Any, tuple[Any, Task]] = {}
        self._told: set[str] = set()
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        worker: Any = self._kind.remote(*self._arguments)
        self._starting[worker.prepare.remote()] = worker

    def first(self) -> Settings:
        """Wait for the first worker to be ready."""
        while not isinstance(ready := self._next(), Ready):
            pass
        return ready.settings

    def outcomes(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """Hand out files, the longest first, and give what becomes of them."""
        waiting = deque(sorted(tasks, key=lambda task: -likely_seconds(task.source)))
        tried: Counter[Task] = Counter()
        try:
            while waiting or self._working:
                while waiting and self._idle:
                    worker, task = self._idle.pop(), waiting.popleft()
                    self._working[worker.restore.remote(task, tried[task] > 0)] = worker, task
                result = self._next()
                if isinstance(result, Outcome) and result.left and not tried[result.task]:
                    tried[result.task] += 1
                    waiting.append(result.task)
                elif isinstance(result, Outcome):
                    yield result
                elif isinstance(result, Task):
                    tried[result] += 1
                    if tried[result] < LOSSES:
                        waiting.appendleft(result)
                    else:
                        yield Outcome(result, "failed", f"{result.source} {DEADLY}")
        finally:
            self.close()

    def _next(self) -> Ready | Outcome | Task | None:
        """Wait until a worker is ready, has done its task, or is lost with it, and is replaced."""
        waited_for = [*self._starting, *self._working]
        ready: list[Any] = []
        while not ready:
            ready, _ = ray.wait(waited_for, num_returns=1, timeout=60)
            if not ready and not self._working:
                log.warning("no worker has been ready for a minute: ray status shows what the cluster lacks")
        worker, task = (
            self._working.pop(ready[0]) if ready[0] in self._working else (self._starting.pop(ready[0]), None)
        )
        try:
            result: Ready | Outcome = ray.get(ready[0])
        except RayTaskError as error:
            if isinstance(error.cause, ApolloError):
                raise error.cause from None
            raise
        except RayError as error:
            log.info("a worker was lost: %s", type(error).__name__)
            self._start()
            return task
        self._idle.append(worker)
        for sentence in result.warnings:
            if sentence not in self._told:
                self._told.add(sentence)
                log.warning("%s", sentence)
        return result

    def close(self) -> None:
        """Stop all workers; what they were in the middle of leaves nothing."""
        if not ray.is_initialized():  # then they are gone, and asking for them would start Ray
            return
        for worker, _ in self._working.values():
            worker.leave.options(concurrency_group="control").remote()
        if self._working:
            ray.wait([*self._working], num_returns=len(self._working), timeout=60)
        for worker in [*self._starting.values(), *self._idle, *(worker for worker, _ in self._working.values())]:
            with suppress(RayError):
                ray.kill(worker)
        self._starting, self._idle, self._working = {}, [], {}


DEADLY = (
    f"was not restored: {LOSSES} workers were lost in the middle of it, perhaps because memory ran out: try fewer "
    "--workers, or a smaller --chunk"
)
