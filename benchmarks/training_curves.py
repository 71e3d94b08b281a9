"""Draw the curves of a training run from its metrics.csv, or from several if it was interrupted.

python benchmarks/training_curves.py exps/RUN -o curves.png
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import matplotlib.pyplot as plt

DECIBELS = 10 / math.log(10)  # a natural logarithm of a power ratio, in dB
PANELS = (
    ("error against the input's, dB", "error_ratio", DECIBELS),
    ("level of hearing bands, dB off", "band_level", 2 * DECIBELS),
    ("log magnitude of bins, dB off", "log_magnitude", 2 * DECIBELS),
    ("magnitude, relative error", "magnitude", 1.0),
)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.png"))
    arguments = parser.parse_args()
    steps: dict[tuple[int, bool], dict[str, str]] = {}
    for log in sorted(arguments.run.glob("logs/*/metrics.csv"), key=lambda path: path.stat().st_mtime):
        with log.open() as file:  # one for each part of a run that was interrupted
            steps |= {(int(row["step"]), bool(row.get("val_loss"))): row for row in csv.DictReader(file)}
    rows = [steps[key] for key in sorted(steps)]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(16, 3.6), layout="constrained")
    for axis, (title, name, scale) in zip(axes, PANELS, strict=True):
        for stage, style in (("train", {"alpha": 0.35}), ("valid", {"marker": "."})):
            points = [
                (int(row["step"]) + 1, scale * float(row[f"{stage}/{name}"]))
                for row in rows
                if row.get(f"{stage}/{name}")
            ]
            axis.plot(*zip(*points, strict=True), label=stage, **style)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(arguments.output, dpi=110)
    print(arguments.output)


if __name__ == "__main__":
    main()
