"""Peak memory and speed of restoring a long file.

    python benchmarks/restore_memory.py --minutes 60

Noise is as hard as music here: neither memory nor work depends on what is heard. The peak is that of the process's
resident memory from after the imports to the end, model included, as the operating system counts it (not on Windows).
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from apollo import Apollo, Restorer, load_model
from apollo.restoration import restore_file


def peak_megabytes() -> float:
    """The most memory that this process has held so far, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def generate(path: Path, minutes: float, sample_rate: int, channels: int) -> None:
    """Write noise that fades in and out, block by block."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", sample_rate, channels, "PCM_16") as file:
        for second in range(round(minutes * 60)):
            level = 0.3 + 0.2 * np.sin(second)
            file.write((level * random.uniform(-1, 1, (sample_rate, channels))).astype(np.float32))


def main() -> None:
    """Print the peak above the imports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--sample-rate", type=int, default=44100)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--chunk", type=float, default=20, help="seconds")
    parser.add_argument("--model", default="default")
    parser.add_argument("--size", metavar="WIN,N,LAYERS", help="an untrained residual network instead of a model")
    options = parser.parse_args()

    imported = peak_megabytes()
    if options.size:
        win, feature_dim, layer = (int(number) for number in options.size.split(","))
        model = Apollo(win=win, feature_dim=feature_dim, layer=layer, output="residual")
    else:
        model = load_model(options.model)
    restorer = Restorer(model, options.chunk)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.wav"
        generate(source, options.minutes, options.sample_rate, options.channels)
        report = restore_file(source, None, restorer)
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"file      {options.minutes:g} min, {options.channels} channels at {options.sample_rate} Hz")
    print(
        f"model     {parameters:.2f} M parameters, chunks of {options.chunk:g} s, {torch.get_num_threads()} thread(s)"
    )
    print(f"speed     {report.elapsed:.1f} s, {report.speed:.2f} x real time")
    print(f"imports   {imported:.0f} MB")
    print(f"peak      {peak_megabytes() - imported:.0f} MB above the imports")


if __name__ == "__main__":
    main()
