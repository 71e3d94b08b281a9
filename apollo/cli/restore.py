"""`apollo restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apollo.cli.terminal import complain, make_folder
from apollo.errors import ApolloError

if TYPE_CHECKING:
    from rich.console import Console

    from apollo.restoration import Report, Restorer


def restore(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN", help="Audio files, and folders of them.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="OUT", help="Folder, or .flac or .wav file, for the result."),
    ] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", metavar="MODEL", help="Model file, or the name of a model.")
    ] = "default",
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or mps.")] = "auto",
    chunk: Annotated[
        float, typer.Option(metavar="SECONDS", help="Seconds restored at once: less takes less memory.")
    ] = 20.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")] = False,
) -> None:
    """Restore music: each IN becomes a 24-bit FLAC beside it, NAME.restored.flac."""
    from rich.console import Console

    from apollo.checkpoints import load_model
    from apollo.restoration import Restorer, plan

    console = Console(highlight=False, soft_wrap=True)
    tasks = plan(inputs, output)
    restorer = Restorer(load_model(model), chunk, device)
    failed = 0
    for task in tasks:
        try:
            if output is not None:
                make_folder(task.target.parent)
            report = restore_with_progress(task.source, task.target, restorer, overwrite, console)
            console.print(summary(report), markup=False)
        except ApolloError as error:
            failed += 1
            complain(error)
    if len(tasks) > 1:
        console.print(f"Restored {len(tasks) - failed} of {len(tasks)} files.")
    if failed:
        raise typer.Exit(1)


def restore_with_progress(source: Path, target: Path, restorer: Restorer, overwrite: bool, console: Console) -> Report:
    """Restore one file, with a bar that shows seconds of audio, speed and the time left if a person is watching."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from apollo.restoration import restore_file

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task(source.name, total=None, state="reading")

        def advance(done: float, total: float) -> None:
            elapsed = bar.tasks[row].elapsed or 0
            state = f"{done:.0f}/{total:.0f} s, {done / elapsed:.1f} × real time" if elapsed else ""
            bar.update(row, completed=done, total=total, state=state)

        return restore_file(source, target, restorer, overwrite, advance)


def summary(report: Report) -> str:
    """Say what was done to a file, where the result lies, and how fast."""
    turned = f", turned down by {report.turned_down_db:.1f} dB lest it clip" if report.turned_down_db >= 0.05 else ""
    return (
        f"{report.source} → {report.target}: {report.seconds:.1f} s of audio in {report.elapsed:.1f} s "
        f"({report.speed:.1f} × real time){turned}"
    )
