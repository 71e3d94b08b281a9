"""Seconds and peak memory of the whole `apollo restore` command, beside those of the bare network.

    python benchmarks/restore_speed.py
    python benchmarks/restore_speed.py --minutes 60
    python benchmarks/restore_speed.py --size 20,256,6 --device cuda
    python benchmarks/restore_speed.py --minutes 60 --channels 1 --size 20,256,6 --precision bf16 --compile  # an hour
    python benchmarks/restore_speed.py --minutes 600 --size 200,16,1 --format flac     # constant memory

The song is noise that fades in and out, as an MP3 of 320 kbit/s or as FLAC, which is made faster: neither work nor
memory depends on what is heard. The command runs in a process of its own, from its start to its end. Before and after
it, by turns, for a shared machine's speed changes within seconds, the bare network is given chunks without context, and
`Restorer`, the engine, as much of a stream; what the engine takes beyond the network, context and moving samples, is
the median of those turns. What the file takes beyond, by the command's own report, is decoding twice, encoding and the
disk.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from apollo import Apollo, Restorer, load_model, save_model
from apollo.audio import AudioWriter
from apollo.nn.memory import keep_freed_memory
from apollo.restoration.compiling import compiled_for

RATE = 44100
TURNS = 2  # at least
ENOUGH = 60.0  # seconds of turns


def generate(path: Path, seconds: float, channels: int) -> None:
    """Write the song, block by block."""
    random = np.random.default_rng(0)
    with AudioWriter(path, RATE, channels) as writer:
        for second in range(round(seconds)):
            level = 0.3 + 0.2 * np.sin(second)
            writer.write((level * random.uniform(-1, 1, (channels, RATE))).astype(np.float32))


def run(song: Path, *arguments: object) -> tuple[float, float, float]:
    """Run the command; give its seconds, those of them that it spent on the song, and the peak of its memory in MB."""
    report = song.with_suffix(".json")
    command = [sys.executable, "-m", "apollo", "restore", song, "--json", report, *arguments]
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True)
    whole = time.perf_counter() - began
    restoring = json.loads(report.read_text(encoding="utf-8"))["files"][0]["elapsed"]
    unit = 1 if sys.platform == "darwin" else 1024
    return whole, restoring, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6


def by_turns(model: Apollo, restorer: Restorer, seconds: float, channels: int) -> Iterator[list[tuple[float, float]]]:
    """Seconds of the bare network and of the engine for a song, as one chunk after another tells.

    Every `next` goes on measuring, for a minute or two turns at least.
    """
    whole = round(seconds * model.sample_rate)
    chunk = torch.randn(channels, min(restorer.chunk_frames * model.hop_length, whole)) / 5
    dtype = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}[restorer.precision]
    stream = restorer.stream(1.0, channels=channels)
    share = whole / chunk.shape[1]

    def turn() -> tuple[float, float]:
        began = time.perf_counter()
        with (
            torch.no_grad(),
            torch.autocast(restorer.device.type, dtype, enabled=dtype != torch.float32),
            compiled_for(True, restorer.device) if restorer.compiled else nullcontext(),
        ):
            for part in chunk.to(restorer.device)[:, None].split(restorer.batch or channels):
                model(part).cpu()
        middle = time.perf_counter()
        stream.push(chunk)
        return share * (middle - began), share * (time.perf_counter() - middle)

    for _ in range(3):  # warms up; from now on, every chunk has context on both sides, and what is compiled is
        turn()
    while True:
        start = time.perf_counter()
        durations = [turn() for _ in range(TURNS)]
        while time.perf_counter() - start < ENOUGH:
            durations.append(turn())
        yield durations


def main() -> None:
    """Print a line a measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--channels", type=int, default=2)
    parser.add_argument("--chunk", type=float, default=20, help="seconds")
    parser.add_argument("--format", default="mp3", choices=["mp3", "flac"], help="of the song")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--model", default="default")
    parser.add_argument("--size", metavar="WIN,N,LAYERS", help="an untrained residual network instead of a model")
    options = parser.parse_args()

    keep_freed_memory()  # as the command does
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        name = options.model
        if options.size:
            win, feature_dim, layer = (int(number) for number in options.size.split(","))
            name = str(Path(folder) / "model.safetensors")
            save_model(Apollo(win=win, feature_dim=feature_dim, layer=layer, output="residual"), name)
        arguments = (
            "--force",
            "-m",
            name,
            "--device",
            options.device,
            "--precision",
            options.precision,
            "--chunk",
            options.chunk,
            "--compile",
            "on" if options.compile else "off",
        )
        song = Path(folder) / f"song.{options.format}"
        generate(song, seconds, options.channels)
        model = load_model(name)
        restorer = Restorer(model, options.chunk, options.device, precision=options.precision)
        if options.compile:
            restorer.compile()
        turns = by_turns(model, restorer, seconds, options.channels)
        measured = next(turns)
        whole, restoring, memory = run(song, *arguments)
        measured += next(turns)
    network = statistics.median(bare for bare, _ in measured)
    engine = statistics.median(engine / bare for bare, engine in measured)
    print(f"song      {options.minutes:g} min, {options.channels} channel(s), {options.format.upper()} → FLAC")
    how = f"precision {restorer.precision}{', compiled' * restorer.compiled}"
    print(f"with      {restorer.device}, {how}, {torch.get_num_threads()} thread(s)")
    print(f"command   {whole:.1f} s, {seconds / whole:.2f} x real time, of which {restoring:.1f} s on the song")
    print(f"network   {network:.1f} s, {seconds / network:.2f} x real time")
    print(f"engine    {network * engine:.1f} s, {100 * (engine - 1):.1f} % over the bare network")
    print(f"file      {restoring:.1f} s, {100 * (restoring / network - 1):.1f} % over the bare network")
    print(f"memory    {memory:.0f} MB at most")


if __name__ == "__main__":
    main()
