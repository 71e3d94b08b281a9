"""How many training crops the machine's cores make in a second, damaged by a codec on the fly."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

from part import Part, music, needs

WANTED = 40.0  # crops a second that a GPU may take


def main() -> None:
    """Measure with one process and with all cores."""
    part = Part()
    cores = os.cpu_count() or 1
    for workers in dict.fromkeys((1, 2) if part.small else (1, cores // 2, cores)):
        given = part.attempt("Training crops of 3 s of stereo", partial(feeding, part, workers), processes=workers)
    if given:
        part.goal(f"crops/s from {cores} cores", float(str(given["crops/s"])), WANTED, at_least=True)


def feeding(part: Part, workers: int) -> dict[str, object]:
    """Make crops of MP3 at a random bitrate in some processes, after each has begun."""
    needs("av", "soundfile", "soxr")
    from torch.utils.data import DataLoader

    from apollo.audio import write
    from apollo.data.crops import Crops
    from apollo.data.degradation import RandomCodec
    from apollo.data.folders import MusicFolder, find_tracks

    crops = 2 if part.small else 64
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "song.wav", 0.5 * music(5.0 if part.small else 30.0).numpy(), 44100)
        source = Crops(MusicFolder(find_tracks(Path(folder)), 44100), RandomCodec(44100), 3 * 44100, seed=0)
        total = crops * workers
        loader = DataLoader(source, batch_size=1, sampler=range(total + workers), num_workers=workers)
        batches = iter(loader)
        for _ in range(workers):
            next(batches)
        began = time.perf_counter()
        for _ in range(total):
            next(batches)
        took = time.perf_counter() - began
        del batches
    return {"crops/s": total / took, "crops/s a process": crops / took}


if __name__ == "__main__":
    main()
