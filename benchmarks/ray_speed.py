"""What Ray costs a file with `apollo restore --ray`, in processor time.

    OMP_NUM_THREADS=1 python benchmarks/ray_speed.py
    OMP_NUM_THREADS=1 python benchmarks/ray_speed.py --files 64 --workers 1,2,4,8     # on an idle machine

The default model restores songs of noise, MP3s of 64 kbit/s, with one thread per worker: first in this process, then
with Ray. What Ray costs is the processor time of all its processes but the workers, and of this process, which hands
out files. Wall times mean nothing on a machine that others use, and even the processor time of a worker varies there,
by more than Ray costs. Starting Ray and its workers is a column of its own, and each worker's first file is not
counted. With several workers, files that are under way when counting starts are counted in part, so give many files.
`idle` is what Ray uses of a core while nothing is restored. `scaling` is files per second, by the clock, over those of
the first number of workers, so it needs an idle machine. Linux only.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from apollo import Restorer, load_model
from apollo.audio import degrade, write
from apollo.cluster import Job, Workers, connected, restore_with_workers
from apollo.machine import describe
from apollo.restoration import Outcome, Output, plan, restore_files

RATE = 44100


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", default="1", help="numbers of workers, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_model("default")
    with tempfile.TemporaryDirectory() as folder:
        songs = Path(folder, "songs")
        songs.mkdir()
        noise = 0.1 * np.random.default_rng(0).standard_normal((2, round(options.seconds * RATE)))
        coded = degrade(noise.astype(np.float32), RATE, "mp3", 64_000)
        for number in range(options.files):
            write(songs / f"{number:03}.mp3", coded, RATE)
        print(f"{describe(torch.device('cpu'))}; {options.files} files of {options.seconds:g} s\n")
        print("| | wall, s | restoring a file, CPU s | Ray, CPU s a file | share | idle | start, CPU s | scaling |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        alone = measure(restore_files(plan([songs], Path(folder, "0")), Restorer(network), Output()), options.files)
        print(f"| one process | {alone.wall:.1f} | {alone.rest:.2f} | | | | | |")
        first = 0.0
        for count in map(int, options.workers.split(",")):
            started = sum(cpu_seconds())
            with connected("local"):
                joined = sum(cpu_seconds())
                idle = idle_share()
                started += sum(cpu_seconds()) - joined
                tasks = plan([songs], Path(folder, str(count)))
                job = Job(Restorer, Output())
                _, outcomes = restore_with_workers(tasks, network, job, Workers(count, 1, 0))
                start = sum(cpu_seconds()) - started
                cost = measure(outcomes, options.files, count)
                outcomes.close()
            rate = (options.files - count) / cost.wall
            first = first or rate
            cells = [f"{count} with Ray", f"{cost.wall:.1f}", f"{cost.workers:.2f}", f"{cost.rest:.3f}"]
            cells += [f"{cost.rest / cost.workers:.1%}", f"{idle:.1%}", f"{start:.1f}", f"{rate / first:.2f}"]
            print(f"| {' | '.join(cells)} |")


@dataclass(frozen=True)
class Cost:
    """What files took.

    Attributes:
        wall: Seconds for all of them.
        workers: Processor seconds of Ray's workers for each.
        rest: Processor seconds of all other processes for each.
    """

    wall: float
    workers: float
    rest: float


def measure(outcomes: Iterator[Outcome], files: int, first: int = 1) -> Cost:
    """What all files but the first few take."""
    for _ in range(first):
        next(outcomes)
    began, before = time.perf_counter(), cpu_seconds()
    for _ in range(files - first):
        next(outcomes)  # never past the last, which ends the workers and their processor time
    wall, after = time.perf_counter() - began, cpu_seconds()
    workers, rest = ((late - early) / (files - first) for early, late in zip(before, after, strict=True))
    return Cost(wall, workers, rest)


def idle_share(seconds: float = 10) -> float:
    """Processor seconds that Ray uses in a second in which it has nothing to do."""
    time.sleep(5)  # it still starts
    began, before = time.perf_counter(), sum(cpu_seconds())
    time.sleep(seconds)
    return (sum(cpu_seconds()) - before) / (time.perf_counter() - began)


def cpu_seconds() -> tuple[float, float]:
    """Processor seconds of Ray's workers, and of this process and everything else it started, from `/proc`."""
    parents, ticks, workers = {}, {}, set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            name, _, fields = path.read_text().rpartition(")")
            process, values = int(path.parent.name), fields.split()
            parents[process], ticks[process] = int(values[1]), sum(map(int, values[11:15]))
            if name.partition("(")[2].startswith("ray::Worker"):
                workers.add(process)
    ours = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= more
    tick = os.sysconf("SC_CLK_TCK")
    return sum(ticks[process] for process in ours & workers) / tick, sum(
        ticks[process] for process in ours - workers
    ) / tick


if __name__ == "__main__":
    main()
