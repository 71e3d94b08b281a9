"""`apollo data`: look at what there is to train on, and make it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apollo.cli.json_file import json_target, write_json
from apollo.cli.options import Json, JsonAlone, Overrides, Overwrite, Workers
from apollo.cli.terminal import (
    MANNER,
    RATE,
    SETTINGS,
    clock,
    counting,
    note,
    parse_bitrates,
    passed_over,
    require,
    say,
    warn,
)
from apollo.errors import ConfigError, some_of
from apollo.foreign import shown
from apollo.storage import Place, here, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apollo.data.check import Row

app = typer.Typer(help="Check and prepare music to train on.", **SETTINGS)


@app.command(
    cls=JsonAlone, epilog="Examples: apollo data check train/ valid/    apollo data check pairs/ --json pairs.json"
)
def check(
    roots: Annotated[
        list[str], typer.Argument(metavar="ROOT", help="Folders of pairs or of clean music, or their URLs.")
    ],
    json_file: Json = None,
    overwrite: Overwrite = False,
) -> None:
    """Show what training can use: lengths, lags, clipping, and originals that are lossy."""
    from apollo.data.check import check as look

    target = json_target(json_file, overwrite)
    others: list[Place] = []
    with counting("Checking") as progress:
        rows = look([place(root) for root in roots], progress, others.append)
    write_json([row.as_json() for row in rows], target, overwrite)
    if not MANNER.only_json:
        show(rows)
    if others:
        note(passed_over(len(others)))
    if any(row.problem for row in rows):
        raise typer.Exit(1)


@app.command(epilog="Example: apollo data stems --corpus musdb musdb18hq/ store/")
def stems(
    source: Annotated[Path, typer.Argument(parser=here, metavar="IN", help="The corpus; it is only read.")],
    target: Annotated[Path, typer.Argument(parser=here, metavar="OUT", help="The store to make or to continue.")],
    corpus: Annotated[
        Literal["musdb", "moisesdb", "folders"],
        typer.Option(help="Layout of IN; folders is <song>/<class>[_n].flac or .wav."),
    ],
    dtype: Annotated[
        Literal["float32", "int16"],
        typer.Option(help="int16 takes three quarters of the space, but only Apollo reads it."),
    ] = "float32",
    include_test: Annotated[bool, typer.Option("--include-test", help="Include MUSDB's test songs.")] = False,
    workers: Workers = None,
) -> None:
    """Make the paper's HDF5 store of stems: their active segments of 6 s, ready for random crops."""
    require("train", "h5py")
    from apollo.data.store_building import build_store

    with counting("Storing") as progress:
        report = build_store(
            corpus,
            source,
            target,
            dtype=dtype,
            include_test=include_test,
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    for kind, count in sorted(report.segments.items()):
        say(f"{kind:14} {count:6} segments")
    finished = f", {report.kept} of them finished before" if report.kept else ""
    say(f"{target} holds {sum(report.segments.values())} segments in {report.files} files{finished}.")
    if report.silent:
        say(f"No active segments in {some_of(report.silent, 10)}.")
    for sentence in (*report.repaired, *report.unreadable):
        warn(sentence)
    if report.unreadable:
        raise typer.Exit(1)


@app.command(epilog="Example: apollo data degrade music/ pairs/ --layout songs --bitrates 64k,96k,128k --codec mp3")
def degrade(
    places: Annotated[list[str], typer.Argument(metavar="IN OUT", help="Folder of music, and folder for the pairs.")],
    layout: Annotated[
        Literal["songs", "folders"], typer.Option(help="One folder per song, or the folders original/ and codec/.")
    ] = "songs",
    bitrates: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RATES", help="Bitrates to choose from, separated by commas, such as 64k,96k; default: 24k to 128k."
        ),
    ] = None,
    codec: Annotated[
        str, typer.Option(metavar="CODEC", help="mp3, aac, opus, vorbis, mp2, ac3 or wma; separated by commas.")
    ] = "mp3",
    quality: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="MIN MAX", help="Range of LAME's -q, from 0 (best) to 9, for some files."),
    ] = None,
    quality_probability: Annotated[float, typer.Option(metavar="P", help="Share of these files.")] = 0.5,
    lowpass: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="MIN MAX", help="Range of a low-pass before the codec, in Hz, for some files."),
    ] = None,
    lowpass_probability: Annotated[float, typer.Option(metavar="P", help="Share of these files.")] = 0.5,
    workers: Workers = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Seed of the random choices.")] = 0,
) -> None:
    """Make pairs of originals and damaged versions, aligned and equally long, with a manifest of every choice."""
    from apollo.data.offline import degrade_folder

    source, target, rates = places_and_rates(places, bitrates)
    options: dict[str, object] = {"formats": [name.strip() for name in codec.split(",")]}
    if rates:
        options["bitrate"] = rates
    if quality is not None:
        options["compression"] = {"probability": quality_probability, "level": list(quality)}
    if lowpass is not None:
        options["lowpass"] = {"probability": lowpass_probability, "frequency": list(lowpass)}
    with counting("Degrading") as progress:
        report = degrade_folder(
            source,
            target,
            layout=layout,
            options=options,
            workers=workers or os.cpu_count() or 1,
            seed=seed,
            progress=progress,
        )
    finished = f", {report.kept} were finished before" if report.kept else ""
    say(f"Made {report.made} pairs in {target}{finished}; {report.manifest} lists what was done to each.")
    for failure in report.failures:
        warn(failure)
    if report.failures:
        raise typer.Exit(1)


@app.command(epilog="Example: apollo data prepare -c configs/default-model-data.yaml shards/ --crops 5000")
def prepare(
    config: Annotated[
        Path, typer.Option("-c", "--config", parser=here, metavar="CONFIG", help="YAML file with a block datas.")
    ],
    target: Annotated[
        Path, typer.Argument(parser=here, metavar="OUT", help="Folder to make train/ and valid/ in, or to continue.")
    ],
    overrides: Overrides = None,
    crops: Annotated[int, typer.Option(metavar="N", min=1, help="How many crops to train on.")] = 5000,
    workers: Workers = None,
) -> None:
    """Make the crops of a configuration once, so that training does not wait for codecs."""
    require("train", "lightning", "omegaconf")
    from torch.utils.data import Subset

    from apollo.data.crops import Crops
    from apollo.data.shards import prepare as write
    from apollo.training.recipe import naming, parse

    settings = parse(config, overrides or [])
    with naming(config):
        block, seed = settings["datas"].arguments, settings.seed
        data = settings["datas"].build(seed=seed)
    held_out = data.validation.dataset if isinstance(data.validation, Subset) else None
    if not isinstance(data.training, Crops) or not isinstance(held_out, Crops):
        what = "trains" if held_out else "validates"
        raise ConfigError(
            f"{config}: datas {what} on files as they are, and crops are kept of music that is damaged on the fly: use "
            "apollo.data.StemDataModule, or DataModule without valid_dir"
        )
    of_loading = ("num_steps", "batch_size", "num_workers", "pin_memory", "valid_crops")
    recipe = {key: value for key, value in block.items() if key not in of_loading}
    for name, source, count in (
        ("train", data.training, crops),
        ("valid", held_out, len(data.validation)),
    ):
        with counting(f"Preparing {name}") as progress:
            made = write(
                source,
                target / name,
                count,
                int(block.get("sr", 44100)),
                {"seed": seed, **recipe},
                workers=workers or os.cpu_count() or 1,
                progress=progress,
            )
        kept = f", {made.kept} of them finished before" if made.kept else ""
        say(f"{target / name} holds {made.crops} crops in {made.shards} files{kept}.")


def places_and_rates(words: Sequence[str], bitrates: Sequence[str] | None) -> tuple[Path, Path, list[int]]:
    """Tell folders from bitrates that follow the first behind `--bitrates`, as they did before they had commas.

    Two words are folders, whatever they look like; of more, those that look like bitrates are bitrates. Raises
    ConfigError if there are not two folders, or a bitrate is no number.
    """
    behind = [word for word in words if bitrates and len(words) > 2 and re.fullmatch(RATE, word)]
    places = [word for word in words if word not in behind]
    if len(places) != 2:
        commas = "; bitrates have commas between them, as in --bitrates 64k,96k" if bitrates else ""
        raise ConfigError(f"give two folders, one of music and one for the pairs, not {len(places)}{commas}")
    rates = [rate for given in [*(bitrates or ()), *behind] for rate in parse_bitrates(given)]
    return here(places[0]), here(places[1]), rates


COLUMNS = ("Hz", "Ch", "Length", "Peak dB", "Clipped", "Silent", "Cut-off", "Lag", "Gain dB")


def show(rows: Sequence[Row]) -> None:
    """Print a table of what was found, and what it means for training."""
    from rich.table import Table
    from rich.text import Text

    from apollo.cli.screen import Screen

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("File", overflow="fold")
    paired = any(row.codec is not None for row in rows)
    for name in COLUMNS[: None if paired else -2]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Verdict", overflow="fold")
    for row in rows:
        verdict = row.problem or (f"original is lossy{likely(row)}" if row.lossy else "ok")
        style = "red" if row.problem else "yellow" if row.lossy else ""
        files = Text(shown(row.original or row.codec or ""))
        if row.codec is not None:
            files.append(f"\n{shown(row.codec)}", style="dim")
        table.add_row(files, *cells(row)[: None if paired else -2], Text(shown(verdict), style=style))
    Screen().print(table)
    pairs = sum(row.codec is not None for row in rows)
    bad = sum(row.problem is not None for row in rows)
    lossy = sum(bool(row.lossy) and row.problem is None for row in rows)
    found = [f"{count} {what}" for count, what in ((pairs, "pair(s)"), (len(rows) - pairs, "single file(s)")) if count]
    say("", f"{' and '.join(found)}: {len(rows) - bad} usable, {bad} not.")
    if lossy:
        say(f"{lossy} of the originals look lossy themselves: a network learns their damage as if it were music.")


def likely(row: Row) -> str:
    """The bitrate that an original seems to have been coded at."""
    return "" if row.bitrate is None else f", about {row.bitrate} kbit/s"


def cells(row: Row) -> list[str]:
    """The measured columns of a row; what differs between the sides is given for both."""

    def both(one: int | None, other: int | None) -> str:
        return "" if one is None else str(one) if other in (None, one) else f"{one}/{other}"

    def number(value: float | None, form: str) -> str:
        text = "" if value is None else format(value, form)
        return text.removeprefix("-") if text.strip("-0.") == "" else text

    length = "" if row.samples is None or not row.sample_rate else clock(row.samples / row.sample_rate, 1)
    return [
        both(row.sample_rate, row.codec_sample_rate),
        both(row.channels, row.codec_channels),
        length,
        number(row.peak_db, ".1f"),
        number(row.clipped, "d"),
        number(row.silent, ".0%"),
        "" if row.cutoff_hz is None else f"{row.cutoff_hz / 1000:.1f}k",
        number(row.lag, ".1f"),
        number(row.gain_db, ".2f"),
    ]
