"""`apollo benchmark`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from apollo.cli.options import Device, Json, Models, Overwrite
from apollo.cli.terminal import MANNER, counting, parse, say, usual_model

if TYPE_CHECKING:
    from rich.table import Table

    from apollo.speed.benchmark import Benchmark

NOTES = """\
× real time: seconds of audio restored in a second; higher is better.
× floor: time taken, over the time of the network's matrix products alone at the rate beside it.
peak: memory beyond the weights and what was held before."""


def benchmark(
    models: Models = None,
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(metavar="BITS", help="32, bf16, 16, with commas; by default all that the device has."),
    ] = None,
    chunk: Annotated[
        str, typer.Option(metavar="SECONDS", help="Seconds of a file restored at once, with commas.")
    ] = "20,5",
    batch: Annotated[
        str, typer.Option(metavar="N", help="Clips of 2 s given to the network at once, with commas.")
    ] = "1,4",
    json_file: Json = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how fast models restore on this machine, and in how much memory.

    Precision, chunk and batch are varied one at a time; the others keep their first value.
    """
    precisions = None if precision is None else parse(precision, str, "--precision", "32, bf16 and 16", "32,bf16")
    chunks = parse(chunk, float, "--chunk", "numbers of seconds", "20,5")
    batches = parse(batch, int, "--batch", "whole numbers", "1,4")

    from rich.text import Text

    from apollo.cli.json_file import json_target, write_json
    from apollo.cli.screen import Screen
    from apollo.evaluation.report import short_names
    from apollo.machine import describe
    from apollo.restoration import choose_device
    from apollo.speed.benchmark import PAPER_MILLISECONDS, as_json
    from apollo.speed.benchmark import benchmark as run

    target = json_target(json_file, overwrite, new_folder=True)
    machine = describe(choose_device(device))
    with counting("Measuring") as progress:
        results = run(models or [usual_model()], device, precisions, chunks, batches, progress=progress)
    write_json(as_json(results, machine), target, overwrite)
    if MANNER.only_json:
        return
    console = Screen()
    say(f"{machine}, torch {machine.torch}", "")
    for name, result in zip(short_names([result.model for result in results]), results, strict=True):
        console.print(Text(name, style="bold"))
        console.print(facts(result), table(result), "")
    say(*NOTES.split("\n"))
    if machine.threads is None:
        say(f"The paper gives {PAPER_MILLISECONDS} ms for 1 s with its network of 16.54 M parameters.")
    if target is not None:
        say(f"Everything measured: {target}")


def facts(result: Benchmark) -> str:
    """Say in two lines how large a model is and what work it does."""
    return (
        f"{result.parameters:,} parameters in a file of {result.file_bytes / 1e6:.1f} MB\n"
        f"{result.flops / 1e9:,.2f} GFLOP ({result.flops / 2e9:,.2f} G multiply-adds) per second of stereo audio"
    )


def table(result: Benchmark) -> Table:
    """Lay out a model's measurements, a row each."""
    from rich.table import Table

    from apollo.speed.benchmark import label

    rows = Table()
    rows.add_column("audio", no_wrap=True)
    for heading in ("precision", "time\nms", "× real\ntime", "× floor", "peak\nMB", "matrices\nTFLOP/s"):
        rows.add_column(heading, justify="right")
    for row, after in zip(result.measurements, [*result.measurements[1:], None], strict=True):
        milliseconds, rate = 1000 * row.seconds, row.matrix_rate / 1e12
        rows.add_row(
            label(row.kind, row.audio_seconds, row.batch),
            row.precision,
            f"{milliseconds:.1f}" if milliseconds < 1000 else f"{milliseconds:,.0f}",
            f"{row.real_time:.2f}" if row.real_time < 10 else f"{row.real_time:,.1f}",
            f"{row.times_floor:.2f}",
            "–" if row.memory is None else f"{row.memory / 1e6:,.0f}",
            f"{rate:.3f}" if rate < 1 else f"{rate:,.1f}",
            end_section=after is None or after.kind != row.kind,
        )
    return rows
