"""How long an hour of music takes from end to end: the engine alone, and the whole command."""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from networks import networks
from part import Part, needs, run_apollo

from apollo import Restorer, save_model

COMPILING = 40.0  # seconds that compiling takes


def main() -> None:
    """Restore an hour with both networks, first as they are used, then in other ways."""
    part = Part()
    minutes = 0.05 if part.small else 60.0
    took = []

    def with_engine(name: str, chunk: float, compiling: bool) -> None:
        given = part.attempt(
            f"Restoring {minutes:g} min of stereo, the engine",
            partial(engine, part, name, minutes, chunk, compiling),
            COMPILING if compiling and not part.small else 0.0,
            network=name,
            chunk=chunk,
            compiled=compiling,
        )
        part.clear()
        if name == "256x6" and given:
            took.append(float(str(given["s"])))

    def with_command(name: str) -> None:
        part.attempt(
            f"Restoring {minutes:g} min of stereo, `apollo restore`",
            partial(command, part, name, minutes),
            network=name,
        )

    with_engine("default", 20.0, compiling=False)
    with_engine("256x6", 20.0, compiling=True)
    with_command("default")
    with_engine("256x6", 20.0, compiling=False)
    with_engine("default", 60.0, compiling=False)
    with_engine("256x6", 60.0, compiling=True)
    if took:
        part.goal("60 min of stereo with 256×6, s", min(took), 30.0)
    if not part.small:
        with_command("256x6")


def engine(part: Part, name: str, minutes: float, chunk: float, compiling: bool) -> dict[str, object]:
    """Time the engine on a waveform that comes minute by minute, for no longer than there is time."""
    model = networks(part)[name]
    restorer = Restorer(model, chunk, part.device, precision="bf16")
    if compiling and not part.small:
        restorer.compile()
    minute = 0.1 * torch.randn(2, round(min(minutes, 1.0) * 60 * model.sample_rate))
    restorer(minute)
    stream = restorer.stream(1.0)
    whole = round(60 * minutes * model.sample_rate)
    given, taken, began = 0, 0, time.perf_counter()
    while taken < whole and part.seconds_left > 0:
        given += stream.push(minute).shape[1]
        taken += minute.shape[1]
    given += stream.flush().shape[1]
    took = time.perf_counter() - began
    if given != taken:
        raise RuntimeError(f"{taken} samples went in and {given} came out")
    memory = torch.cuda.max_memory_allocated() / 1e9 if part.device.type == "cuda" else None
    seconds = taken / model.sample_rate
    return {"s": took * whole / taken, "× real time": seconds / took, "restored s": seconds, "peak GB": memory}


def command(part: Part, name: str, minutes: float) -> dict[str, object]:
    """Time the command, from its start to its end."""
    needs("av", "soundfile", "soxr", "typer", "rich")
    from apollo.audio import AudioWriter

    with tempfile.TemporaryDirectory() as folder:
        song, target, report = (Path(folder) / name for name in ("song.wav", "song.flac", "report.json"))
        with AudioWriter(song, 44100, 2) as writer:
            noise = (0.1 * torch.randn(2, 44100)).numpy()
            for _ in range(round(60 * minutes)):
                writer.write(noise)
        save_model(networks(part)[name].cpu(), Path(folder) / "model.safetensors")
        words = ["restore", song, "-o", target, "-m", Path(folder) / "model.safetensors", "--force", "--json", report]
        words += ["--device", part.device, "--compile", "off", "--precision", "bf16"]
        began = time.perf_counter()
        run_apollo(part, *words)
        took = time.perf_counter() - began
        restoring = json.loads(report.read_text(encoding="utf-8"))["files"][0]["elapsed"]
    return {"s": took, "of which on the song": restoring, "× real time": 60 * minutes / took}


if __name__ == "__main__":
    main()
