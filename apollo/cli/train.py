"""`apollo train`."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from apollo.cli.options import Overrides
from apollo.cli.terminal import MANNER, require, say, show_log
from apollo.foreign import silenced
from apollo.storage import here, place


def train(
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", "--conf_dir", parser=here, metavar="CONFIG", help="YAML file that describes the run."
        ),
    ] = None,
    overrides: Overrides = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="CKPT", help="Training checkpoint to resume, here or at a URL."),
    ] = None,
    init_from: Annotated[str | None, typer.Option(metavar="MODEL", help="Model file to start a new run from.")] = None,
    from_msst: Annotated[
        Path | None,
        typer.Option(
            parser=here, metavar="FILE", help="Configuration of MSST or of another code, converted, in place of -c."
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the configuration that would be used, and exit.")
    ] = False,
) -> None:
    """Train a model from folders of music."""
    path = config or from_msst
    if path is None or (config is not None and from_msst is not None):
        raise typer.BadParameter("give one of -c CONFIG and --from-msst FILE")
    require("train", "lightning", "omegaconf")
    if print_config:
        from apollo.training.recipe import parse
        from apollo.training.train import check

        recipe = parse(path, overrides or [], foreign=config is None)
        check(path, recipe)
        say(*recipe.yaml.rstrip("\n").split("\n"))
        return
    from apollo.training.train import train as fit

    words = overrides or []
    with ExitStack() as stack:
        if MANNER.quiet:
            words = ["trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", *words]
            stack.enter_context(silenced("lightning.pytorch"))
        else:
            show_log(logging.INFO)
        resume = place(checkpoint) if checkpoint is not None else None
        best = fit(path, words, resume, init_from, foreign=config is None)
    if best is not None:
        say(f"The model is {best}. Restore a song with it:", f"  apollo restore SONG.mp3 -m {best}")
