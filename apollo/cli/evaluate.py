"""`apollo evaluate`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from apollo.cli.terminal import DEVICE, parse, parse_bitrates, require, usual_model
from apollo.errors import ApolloError, nearest


def evaluate(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS_OR_ORIGINALS",
            help="Undamaged recordings, pairs of originals and damaged versions, or songs in stems; told by what lies "
            "in the folder.",
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL",
            help="Model to evaluate, by default 'default'; may be given several times.",
        ),
    ] = None,
    restored: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER",
            help="What another tool made of the damaged versions, under the same names; may be given several times.",
        ),
    ] = None,
    codecs: Annotated[
        str,
        typer.Option("--codec", metavar="CODECS", help="What damages originals: mp3, aac, opus, vorbis; with commas."),
    ] = "mp3",
    bitrates: Annotated[str, typer.Option(metavar="KBITS", help="In kbit/s, with commas.")] = "24,32,48,64,96,128",
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="METRICS",
            help="With commas: sdr, si_sdr, snr, visqol, lsd, lsd_raw, mrstft, log_wmse, envelope, lost_band_level, "
            "lost_band_bias, snr_below, snr_above (the codec's cut-off), and each with _mid or _side for stereo. 'all' "
            "is all but those.",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; by default one a core.")] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", envvar=DEVICE, help="auto, cpu, cuda or mps.")] = "cpu",
    chunk: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Of audio restored at once: memory, not scores.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="REPORT",
            help="Folder for report.html, report.md, report.json and scores.csv. Stopped half-way, the same command "
            "goes on from there.",
        ),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="NUMBER/COUNT", help="Evaluate one share of the pieces alone, such as 3/16.")
    ] = None,
) -> None:
    """Measure how much closer to the originals a model brings compressed music."""
    require("eval", "visqol")
    from apollo.cli.screen import Screen
    from apollo.evaluation.run import run_evaluation
    from apollo.evaluation.systems import Settings, parse_restorations
    from apollo.metrics import DEFAULT_METRICS, METRICS
    from apollo.shards import Shard

    others = [parse_restorations(text) for text in restored or []]
    chosen = (
        METRICS
        if metrics == "all"
        else parse(metrics, str, "--metrics", "names", "sdr,visqol")
        if metrics is not None
        else DEFAULT_METRICS
    )
    result = run_evaluation(
        folder,
        Settings(
            models=models or ([] if others else [usual_model()]),
            restorations=others,
            metrics=list(dict.fromkeys(chosen)),
            workers=workers or os.cpu_count() or 1,
            device=device,
            chunk_seconds=chunk,
        ),
        codecs=parse_codecs(codecs),
        bitrates=[whole_kilobits(rate) for rate in parse_bitrates(bitrates)],
        output=output,
        shard=Shard.parse(shard) if shard is not None else None,
        command=shlex.join(["apollo", *sys.argv[1:]]),
        console=Screen(),
    )
    if result.failures:
        raise typer.Exit(1)


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
