"""How many random crops of 3 s stereo one core draws in a second from a stem store and from folders of stems.

Usage: OMP_NUM_THREADS=1 python benchmarks/stem_speed.py FOLDER [--songs 3] [--crops 200]

FOLDER holds songs as `<song>/<class>[_n].flac`. A few of them are copied into a temporary folder and become FLAC and
WAV folders and stores of every kind. Prints tables in Markdown: the median of three runs, in the process's own CPU
time, with files in the system's cache. `stem` is a crop of one stem, `song` one of a whole song, `mix` one of training:
1-8 stems or a song. Crops have the codec's margins on both sides, as training draws them. `written` is how many seconds
of segments are written in one.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import soundfile

from apollo.audio import MARGIN
from apollo.data.mixing import StemMixer
from apollo.data.stems import StemFiles
from apollo.data.store import StemStore
from apollo.data.store_building import build_store

SAMPLE_RATE = 44_100
CROP = 3 * SAMPLE_RATE + 2 * MARGIN
RUNS = 3
CHUNKS = (0.5, 1, 2, 6)
FILTERS: dict[str, dict[str, object]] = {
    "none": {},
    "lzf": {"compression": "lzf", "shuffle": True},
    "gzip-1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
}


def speed(draw: Callable[[np.random.Generator], object], crops: int) -> float:
    """Crops in a second of CPU time."""
    runs = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        draw(rng)
        start = time.process_time()
        for _ in range(crops):
            draw(rng)
        runs.append(crops / (time.process_time() - start))
    return statistics.median(runs)


def megabytes(root: Path) -> float:
    """Size of the audio and HDF5 files below a folder."""
    return sum(path.stat().st_size for path in root.rglob("*.*") if path.suffix != ".json") / 1e6


def row(name: str, root: Path, stems: StemStore | StemFiles, crops: int) -> None:
    """Measure and print one line."""
    mixer = StemMixer(stems)
    speeds = (
        speed(lambda rng: stems.stem(rng, CROP), crops),
        speed(lambda rng: stems.mixture(rng, CROP), crops // 2),
        speed(lambda rng: mixer.draw(rng, CROP), crops // 4),
    )
    print(f"| {name} | {megabytes(root):.0f} | " + " | ".join(f"{s:.0f}" for s in speeds) + " |", flush=True)


def rewritten(store: Path, target: Path, chunk: float, options: dict[str, object]) -> float:
    """Copy a store with other chunks and compression; gives the CPU seconds that writing took."""
    seconds = 0.0
    for path in store.rglob("*.hdf5"):
        (target / path.parent.name).mkdir(parents=True, exist_ok=True)
        with h5py.File(path) as file, h5py.File(target / path.parent.name / path.name, "w") as copy:
            segments = file["data"][:]
            start = time.process_time()
            shape = (1, 2, int(chunk * SAMPLE_RATE))
            data = copy.create_dataset("data", data=segments, chunks=shape, **options)
            data.attrs["scale"] = file["data"].attrs["scale"]
            copy.flush()
            seconds += time.process_time() - start
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=3)
    parser.add_argument("--crops", type=int, default=200)
    arguments = parser.parse_args()
    songs = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    songs = songs[:: max(1, len(songs) // arguments.songs)][: arguments.songs]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        mono = total = 0
        for song in songs:
            shutil.copytree(song, root / "flac" / song.name)
            (root / "wav" / song.name).mkdir(parents=True)
            for path in song.glob("*.flac"):
                samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
                soundfile.write(root / "wav" / song.name / f"{path.stem}.wav", samples, rate)
                mono, total = mono + (samples.shape[1] == 1), total + 1
        print(f"{len(songs)} songs, {total} stems, {mono} of them mono\n")
        print("| source | MB | stem | song | mix |\n|---|---|---|---|---|")
        for kind in ("flac", "wav"):
            row(f"{kind.upper()} files", root / kind, StemFiles(root / kind, SAMPLE_RATE), arguments.crops)
        for dtype in ("int16", "float32"):
            start = time.process_time()
            report = build_store("folders", root / "flac", root / dtype, dtype=dtype)
            seconds = time.process_time() - start
            row(f"store, {dtype}", root / dtype, StemStore(root / dtype, SAMPLE_RATE, CROP), arguments.crops)
        count = sum(report.segments.values())
        print(f"\n{count} segments of 6 s; built at {count * 6 / seconds:.0f} s of segments per second (float32)\n")
        print("| dtype | compression | chunk | MB | stem | written |\n|---|---|---|---|---|---|")
        for dtype in ("int16", "float32"):
            for compression, options in FILTERS.items():
                for chunk in CHUNKS:
                    target = root / "variant"
                    rate = count * 6 / rewritten(root / dtype, target, chunk, options)
                    stems = StemStore(target, SAMPLE_RATE, CROP)
                    crops = speed(lambda rng, stems=stems: stems.stem(rng, CROP), arguments.crops)
                    line = f"{megabytes(target):.0f} | {crops:.0f} | {rate:.0f}"
                    print(f"| {dtype} | {compression} | {chunk:g} s | {line} |", flush=True)
                    shutil.rmtree(target)


if __name__ == "__main__":
    main()
