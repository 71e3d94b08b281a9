"""How far bfloat16 moves what a model restores, on real music.

    python benchmarks/restore_precision.py MUSIC --seconds 10

Every piece of the folder is put through MP3 at 64 kbit/s and restored in float32 and in bfloat16; what is printed is
the ratio of the first to their difference. `--precision auto` rests on it: below 40 dB, it would stay with float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from apollo import Restorer, load_model
from apollo.audio import SUFFIXES, AudioReader, degrade


def decibels(exact: np.ndarray, rounded: np.ndarray) -> float:
    """Signal-to-noise ratio in dB."""
    noise = np.square(exact - rounded, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(exact, dtype=np.float64).sum() / noise))


def main() -> None:
    """Print a line a piece, and the lowest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("music", type=Path, metavar="MUSIC", help="folder of lossless music")
    parser.add_argument("--seconds", type=float, default=10, help="from the middle of each piece")
    parser.add_argument("--model", default="default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16", choices=["bf16", "16"])
    options = parser.parse_args()

    model = load_model(options.model)
    restorers = [Restorer(model, device=options.device, precision=name) for name in ("32", options.precision)]
    ratios = []
    for path in sorted(path for path in options.music.rglob("*") if path.suffix.lower() in SUFFIXES):
        with AudioReader(path) as reader:
            wanted = round(options.seconds * reader.sample_rate)
            reader.seek(max(0, reader.count() - wanted) // 2)
            music, rate = reader.read(wanted)[:2], reader.sample_rate
        damaged = degrade(music, rate, "mp3", 64_000)
        exact, rounded = (restorer(damaged, rate) for restorer in restorers)
        ratios.append(decibels(exact, rounded))
        changed = decibels(exact, damaged)
        print(f"{ratios[-1]:6.1f} dB   {path.name} (the restoration itself differs from its input by {changed:.1f} dB)")
    print(f"{min(ratios):6.1f} dB   lowest")


if __name__ == "__main__":
    main()
