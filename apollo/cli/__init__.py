"""The `apollo` command: one thin function a verb. What is heavy to import is imported where it is used."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from apollo import __version__
from apollo.cli.benchmark import benchmark
from apollo.cli.compare import compare
from apollo.cli.data import app as data
from apollo.cli.evaluate import evaluate
from apollo.cli.export import app as export
from apollo.cli.inspect import inspect
from apollo.cli.models import models
from apollo.cli.net import run
from apollo.cli.options import JsonAlone
from apollo.cli.report import app as report
from apollo.cli.restore import RayAlone, restore
from apollo.cli.terminal import MANNER, SETTINGS, show_log
from apollo.cli.train import train
from apollo.cli.web import web

app = typer.Typer(help="Undo the damage that MP3 compression does to music.", **{**SETTINGS, "add_completion": True})

EVERYWHERE = ("--debug", "--quiet", "--verbose")


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        typer.echo(f"apollo {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: apollo restore song.mp3")
def apollo(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where errors come from; allowed anywhere.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only results and errors; allowed anywhere.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print what was corrected on the way; allowed anywhere.")
    ] = False,
) -> None:
    """Undo the damage that MP3 compression does to music."""
    MANNER.debug, MANNER.quiet, MANNER.only_json = debug, quiet, False
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    show_log(level)


app.command(
    cls=RayAlone, epilog="Examples: apollo restore song.mp3    apollo restore album/ -o restored/ --device cuda"
)(restore)
app.command(epilog="Example: apollo train -c configs/apollo.yaml datas.batch_size=4")(train)
app.command(epilog="Example: apollo evaluate originals/ -m default --codec mp3 --bitrates 24,64,128 -o report/")(
    evaluate
)
app.command(epilog="Example: apollo benchmark -m default --precision 32,bf16 --json speed.json")(benchmark)
app.command(
    cls=JsonAlone,
    epilog="Examples: apollo inspect song.flac    apollo inspect album/ --json -    apollo inspect a.wav --plot a.png",
)(inspect)
app.command(epilog="Example: apollo compare song.mp3 song.restored.flac -o song.html")(compare)
app.command(epilog="Example: apollo models")(models)
app.command(epilog="Examples: apollo web    apollo web --host 0.0.0.0 --auth me    apollo web --static site")(web)
app.add_typer(data, name="data")
app.add_typer(export, name="export")
app.add_typer(report, name="report")


def main() -> None:
    """Run the command, whose every end is an exit code and at most one sentence about what went wrong."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal's encoding lacks must not end the work
            stream.reconfigure(errors="replace")
    gc.set_threshold(20_000)  # to look through all that is imported so often takes a tenth of a short command
    run(lambda: app(args=everywhere_first(sys.argv[1:]), prog_name="apollo", standalone_mode=False))


def everywhere_first(words: Sequence[str]) -> list[str]:
    """Move the options that may stand anywhere to the front, where the command itself takes them."""
    end = words.index("--") if "--" in words else len(words)
    general = [word for word in words[:end] if word in EVERYWHERE]
    return [*general, *(word for word in words[:end] if word not in EVERYWHERE), *words[end:]]
