"""How many training crops one core makes in a second, and what it spends its time on.

Usage: OMP_NUM_THREADS=1 python benchmarks/data_speed.py [--stems FOLDER] [--music FOLDER]

A crop is 3 s of stereo, read from files, mixed, and put through MP3 at a random bitrate, as `Crops` does it. FOLDER is
one of songs in stems, or of music; without it the script makes its own. Prints a table in Markdown: the best of a few
short runs over the same crops, in the process's own CPU time, so that neighbours on the machine matter less. The last
column is how many cores keep a GPU fed that takes 40 crops a second.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from codec_speed import SAMPLE_RATE, synthetic_clips

from apollo.data import folders, stems
from apollo.data.crops import Crops, Source
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder, find_tracks
from apollo.data.mixing import StemMixer
from apollo.data.stems import StemFiles, StemFolder

CROPS = 24
RUNS = 5
GPU_CROPS = 40


class Clock:
    """Adds up the time that functions take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose time counts."""

        def wrapper(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds += time.process_time() - start

        return wrapper


def synthetic_music(root: Path) -> tuple[Path, Path]:
    """Two songs of mono and stereo stems of 24 s, and their mixes."""
    rng = np.random.default_rng(1)
    clips = synthetic_clips()
    (root / "music").mkdir()
    for song in ("first", "second"):
        (root / "stems" / song).mkdir(parents=True)
        parts = [0.2 * np.concatenate([clips[n] for n in rng.permutation(len(clips))], axis=1) for _ in range(4)]
        for name, part in zip(("bass", "drums", "guitar", "piano"), parts, strict=True):
            soundfile.write(root / "stems" / song / f"{name}.flac", part.T if name == "drums" else part[0], SAMPLE_RATE)
        soundfile.write(root / "music" / f"{song}.flac", sum(parts).T, SAMPLE_RATE)
    return root / "stems", root / "music"


def measure(source: Source) -> tuple[float, dict[str, float]]:
    """Crops a second, and the share of each step, in the best run."""
    best, shares = 0.0, {}
    for _ in range(RUNS):
        reading, drawing, coding = Clock(), Clock(), Clock()
        read = folders.read_stretch
        crops = Crops(source, RandomCodec(SAMPLE_RATE), 3 * SAMPLE_RATE, seed=0)
        crops[CROPS]
        crops.codec = coding.timed(crops.codec)  # type: ignore[assignment]
        crops.source = Timed(source, drawing)
        try:
            for module in (folders, stems):
                vars(module)["read_stretch"] = reading.timed(read)
            start = time.process_time()
            for number in range(CROPS):
                crops[number]
            total = time.process_time() - start
        finally:
            for module in (folders, stems):
                vars(module)["read_stretch"] = read
        if CROPS / total > best:
            best = CROPS / total
            parts = {
                "read": reading.seconds,
                "mix": drawing.seconds - reading.seconds,
                "codec": coding.seconds,
                "rest": total - drawing.seconds - coding.seconds,
            }
            shares = {name: seconds / total for name, seconds in parts.items()}
    return best, shares


class Timed:
    """A source whose draws are timed."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self.draw = clock.timed(source.draw)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stems", type=Path, metavar="FOLDER", help="songs: <song>/<class>[_n].flac")
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="music in any layout")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        songs, music = synthetic_music(Path(scratch))
        songs, music = arguments.stems or songs, arguments.music or music
        sources = {
            "music": MusicFolder(find_tracks(music), SAMPLE_RATE),
            "stems, mixed as for the default model": StemFolder(songs, SAMPLE_RATE),
            "stems, mixed as in the paper": StemMixer(StemFiles(songs, SAMPLE_RATE)),
        }
        print("| source | crops/s | read | mix | codec | rest | cores for 40 crops/s |\n|---|---|---|---|---|---|---|")
        for name, source in sources.items():
            speed, shares = measure(source)
            parts = " | ".join(f"{100 * share:.0f} %" for share in shares.values())
            print(f"| {name} | {speed:.1f} | {parts} | {ceil(GPU_CROPS / speed)} |", flush=True)


if __name__ == "__main__":
    main()
