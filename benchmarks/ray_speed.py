"""What Ray costs a file, and what a second worker gains, with `apollo restore --ray`.

    OMP_NUM_THREADS=1 python benchmarks/ray_speed.py
    OMP_NUM_THREADS=1 python benchmarks/ray_speed.py --files 16 --seconds 30 --workers 1,2,4,8

The default model restores songs of noise, MP3s of 64 kbit/s, with one thread a worker: first in this process, then with
Ray. From each wall time, what restoring itself took by the reports is taken away; what is left a file is looking at it,
its tags, and, with Ray, handing it out. Starting Ray and its workers is not counted: it is told apart. On a shared
machine the wall times vary more than what is measured; what is left does not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from apollo import Restorer, load_model
from apollo.audio import degrade, write
from apollo.cluster import Job, Workers, connected, restore_with_workers
from apollo.machine import describe
from apollo.restoration import Output, plan, restore_files

RATE = 44100


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", default="1,2", help="numbers of them, with commas")
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
        print("| | wall, s | restoring, s | rest a file, s | start, s |\n| --- | --- | --- | --- | --- |")
        began = time.perf_counter()
        found = list(restore_files(plan([songs], Path(folder, "0")), Restorer(network), Output()))
        wall = time.perf_counter() - began
        spent = sum(outcome.report.elapsed for outcome in found if outcome.report)
        alone = (wall - spent) / options.files
        print(f"| one process | {wall:.1f} | {spent:.1f} | {alone:.3f} | |")
        for count in map(int, options.workers.split(",")):
            began = time.perf_counter()
            with connected("local"):
                tasks = plan([songs], Path(folder, str(count)))
                job = Job(Restorer, Output())
                _, outcomes = restore_with_workers(tasks, network, job, Workers(count, 1, 0))
                start = time.perf_counter() - began
                began = time.perf_counter()
                found = list(outcomes)
                wall = time.perf_counter() - began
            spent = sum(outcome.report.elapsed for outcome in found if outcome.report)
            rest = (wall * count - spent) / options.files
            print(f"| {count} with Ray | {wall:.1f} | {spent:.1f} | {rest:.3f} | {start:.1f} |")


if __name__ == "__main__":
    main()
