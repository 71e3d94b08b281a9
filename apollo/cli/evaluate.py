"""`apollo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apollo.cli.terminal import require
from apollo.errors import ApolloError


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of undamaged recordings.")],
    models: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", metavar="MODEL", help="Model to evaluate; may be given several times."),
    ] = None,
    codec: Annotated[str, typer.Option(metavar="CODEC", help="What damages the recordings.")] = "mp3",
    bitrates: Annotated[str, typer.Option(metavar="KBITS", help="In kbit/s, with commas.")] = "24,32,48,64,96,128",
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; by default one a core.")] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or mps.")] = "cpu",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="REPORT", help="Folder for scores.csv and report.json.")
    ] = None,
) -> None:
    """Measure how much closer to the originals a model brings compressed music."""
    require("eval", "visqol")
    from apollo.evaluation import run_evaluation

    result = run_evaluation(
        folder,
        models or ["default"],
        codec=codec,
        bitrates=parse_bitrates(bitrates),
        workers=workers,
        device=device,
        output=output,
    )
    if result.failures:
        raise typer.Exit(1)


def parse_bitrates(text: str) -> list[int]:
    """Read kbit/s with commas between them, such as `24,64`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ApolloError(
            f"--bitrates takes whole numbers of kbit/s with commas, such as 24,64, not {text!r}"
        ) from None
