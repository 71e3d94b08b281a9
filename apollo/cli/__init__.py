"""The `apollo` command: one thin function a verb. What is heavy to import is imported where it is used."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from apollo import __version__
from apollo.cli.benchmark import benchmark
from apollo.cli.data import app as data
from apollo.cli.evaluate import evaluate
from apollo.cli.export import app as export
from apollo.cli.inspect import inspect
from apollo.cli.models import models
from apollo.cli.restore import restore
from apollo.cli.terminal import SETTINGS, complain
from apollo.cli.train import train
from apollo.errors import ApolloError, StoppedError

app = typer.Typer(help="Undo the damage that MP3 compression does to music.", **SETTINGS)


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


app.command(epilog="Examples: apollo restore song.mp3    apollo restore album/ -o restored/ --device cuda")(restore)
app.command(epilog="Example: apollo train -c configs/apollo.yaml datas.batch_size=4")(train)
app.command(epilog="Example: apollo evaluate originals/ -m default --codec mp3 --bitrates 24,64,128 -o report/")(
    evaluate
)
app.command(epilog="Example: apollo benchmark -m default --precision 32,bf16 --json speed.json")(benchmark)
app.command(
    epilog="Examples: apollo inspect song.flac    apollo inspect album/ --json    apollo inspect a.wav --plot a.png"
)(inspect)
app.command(epilog="Example: apollo models")(models)
app.add_typer(data, name="data")
app.add_typer(export, name="export")


def main() -> None:
    """Run the command; what the user can mend is one sentence, anything else is a bug and shows its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal's encoding lacks must not end the work
            stream.reconfigure(errors="replace")
    try:
        app()
    except ApolloError as error:
        complain(error)
        sys.exit(error.code if isinstance(error, StoppedError) else 1)
