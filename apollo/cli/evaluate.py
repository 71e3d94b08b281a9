"""`apollo evaluate`."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from apollo.cli.options import Device, Models, Share, Workers
from apollo.cli.terminal import MANNER, counting, parse, parse_bitrates, require, usual_model
from apollo.errors import ApolloError, nearest
from apollo.storage import Place, place


def evaluate(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="PAIRS_OR_ORIGINALS",
            help="Undamaged recordings, pairs of originals and damaged versions, or songs in stems: the layout of "
            "the folder, or of what a URL leads to, decides.",
        ),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of originals, if the damaged versions are in another folder."),
    ] = None,
    damaged: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of the damaged versions, under the same names.")
    ] = None,
    models: Models = None,
    restored: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER",
            help="Results of another tool for the damaged versions, under the same names; can be repeated.",
        ),
    ] = None,
    codecs: Annotated[
        str,
        typer.Option(
            "--codec",
            metavar="CODECS",
            help="Codecs that damage originals: mp3, aac, opus, vorbis; separated by commas.",
        ),
    ] = "mp3",
    bitrates: Annotated[
        str, typer.Option(metavar="KBITS", help="In kbit/s, separated by commas.")
    ] = "24,32,48,64,96,128",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="METRICS",
            help="Separated by commas: sdr, si_sdr, snr, visqol, lsd, lsd_raw, mrstft, log_wmse, envelope, "
            "lost_band_level, lost_band_bias, snr_below, snr_above (the codec's cut-off), and each with _mid or "
            "_side for stereo. 'all' "
            "means all except these.",
        ),
    ] = None,
    workers: Workers = None,
    device: Device = "cpu",
    chunk: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Audio restored at once: affects memory, not scores.")
    ] = None,
    align: Annotated[
        bool,
        typer.Option("--align/--no-align", help="Remove the lag of damaged versions before scoring."),
    ] = True,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="REPORT",
            help="Folder for report.html, report.md, report.json and scores.csv. Run the same command again to "
            "continue.",
        ),
    ] = None,
    share: Share = None,
) -> None:
    """Measure how much closer to the originals a model brings compressed music."""
    require("eval", "visqol")
    from apollo.cli.screen import Screen
    from apollo.evaluation.run import run_evaluation
    from apollo.evaluation.systems import Settings, parse_restorations
    from apollo.metrics import DEFAULT_METRICS, METRICS

    root, apart = sides(folder, original, damaged)
    others = [parse_restorations(text) for text in restored or []]
    chosen = (
        METRICS
        if metrics == "all"
        else parse(metrics, str, "--metrics", "names", "sdr,visqol")
        if metrics is not None
        else DEFAULT_METRICS
    )
    result = run_evaluation(
        root,
        Settings(
            models=models or ([] if others else [usual_model()]),
            restorations=others,
            metrics=list(dict.fromkeys(chosen)),
            workers=workers or os.cpu_count() or 1,
            device=device,
            chunk_seconds=chunk,
            align=align,
            controls=True,
        ),
        damaged=apart,
        codecs=parse_codecs(codecs),
        bitrates=[whole_kilobits(rate) for rate in parse_bitrates(bitrates)],
        output=place(output) if output is not None else None,
        shard=share,
        command=shlex.join(["apollo", *sys.argv[1:]]),
        console=Screen(),
        counting=counting,
        quiet=MANNER.quiet,
    )
    if result.failures:
        raise typer.Exit(1)


def sides(folder: str | None, original: str | None, damaged: str | None) -> tuple[Place, Place | None]:
    """Where the originals lie, and the damaged versions if those have a folder of their own."""
    if folder is not None and original is None and damaged is None:
        return place(folder), None
    if folder is None and original is not None and damaged is not None:
        return place(original), place(damaged)
    raise ApolloError("give one folder to evaluate, or two with --original DIR --damaged DIR")


def whole_kilobits(rate: int) -> int:
    """A bitrate in kbit/s."""
    if rate % 1000:
        raise ApolloError(f"--bitrates takes whole numbers of kbit/s, not {rate} bit/s")
    return rate // 1000


def parse_codecs(text: str) -> list[str]:
    """Read names of codecs with commas between them."""
    from apollo.audio import CODECS

    names = list(dict.fromkeys(parse(text, str, "--codec", "names", "mp3,aac")))
    for name in names:
        if name not in CODECS:
            raise ApolloError(f"there is no codec {name!r}: {nearest(name, CODECS)}")
    return names
