"""The `apollo` command: one thin function a verb. What is heavy to import is imported where it is used."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apollo import __version__
from apollo.errors import ApolloError

if TYPE_CHECKING:
    from rich.console import Console

    from apollo.restoration import Report, Restorer

app = typer.Typer(
    help="Undo the damage that MP3 compression does to music.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"apollo {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: apollo restore song.mp3")
def apollo(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Undo the damage that MP3 compression does to music."""


@app.command(epilog="Examples: apollo restore song.mp3    apollo restore album/ -o restored/ --device cuda")
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


@app.command(epilog="Example: apollo train -c configs/apollo.yaml datas.batch_size=4")
def train(
    config: Annotated[Path, typer.Option("-c", "--config", metavar="CONFIG", help="YAML file that says it all.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those in CONFIG.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("-m", "--model", metavar="CKPT", help="Training checkpoint to go on from.")
    ] = None,
) -> None:
    """Train a model from folders of music."""
    require("train", "lightning", "omegaconf")
    from apollo.training.train import train as fit

    best = fit(config, overrides or [], checkpoint)
    if best is not None:
        typer.echo(f"The best model is {best}")


@app.command(epilog="Example: apollo evaluate originals/ -m default --codec mp3 --bitrates 24,64,128 -o report/")
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


def make_folder(folder: Path) -> None:
    """Make an output folder where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApolloError(f"the output folder {folder} cannot be made: {error.strerror}") from None


def parse_bitrates(text: str) -> list[int]:
    """Read kbit/s with commas between them, such as `24,64`."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ApolloError(
            f"--bitrates takes whole numbers of kbit/s with commas, such as 24,64, not {text!r}"
        ) from None


def require(extra: str, *packages: str) -> None:
    """Refuse to begin when packages are missing that only an extra of ours installs."""
    for package in packages:
        if find_spec(package) is None:
            raise ApolloError(
                f"this needs {package}, which is not installed: in Apollo's source folder, run "
                f"pip install -c constraints.txt '.[{extra}]'"
            )


def complain(error: Exception) -> None:
    """Print an error as one sentence on standard error."""
    typer.echo(f"Error: {error}", err=True)


def main() -> None:
    """Run the command; what the user can mend is one sentence, anything else is a bug and shows its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal's encoding lacks must not end the work
            stream.reconfigure(errors="replace")
    try:
        app()
    except ApolloError as error:
        complain(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
