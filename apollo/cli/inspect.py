"""`apollo inspect`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apollo.atomic import refuse_existing
from apollo.cli.json_file import json_target, write_json
from apollo.cli.options import Json, Overwrite, Track
from apollo.cli.terminal import MANNER, check_suffix, clock, complain, counting, note, passed_over, require, say
from apollo.errors import ApolloError, one_file
from apollo.foreign import shown, shown_in_csv
from apollo.storage import Place, at_hand, here, place

if TYPE_CHECKING:
    from apollo.audio.inspection import Inspection

WIDTH = 80
CONTAINERS = {"mp3": "MP3", "mp4": "MP4", "flac": "FLAC", "wav": "WAV", "ogg": "Ogg", "aiff": "AIFF", "wma": "WMA"}
CHANNELS = {1: "mono", 2: "stereo"}
COLUMNS = ("file", "codec", "kbit/s", "length", "Hz", "cut-off kHz", "LUFS", "lossy", "history")
WIDTHS = (28, 9, 6, 9, 6, 11, 6, 5)  # of all but the last
LONGEST = 200  # letters of a tag


def inspect(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Audio files, folders of them, patterns, or their URLs.")
    ],
    json_file: Json = None,
    as_table: Annotated[bool, typer.Option("--table", help="Print one line per file instead.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line per file for spreadsheets instead.")] = False,
    plot: Annotated[
        Path | None, typer.Option(parser=here, metavar="PNG", help="Draw the spectrogram of a single FILE as well.")
    ] = None,
    track: Track = None,
    overwrite: Overwrite = False,
) -> None:
    """Show what is in audio files: format, loudness, tags, cut-off, and whether a lossy codec was used on them."""
    target = json_target(json_file, overwrite)
    if MANNER.only_json + as_table + as_csv > 1:
        raise ApolloError("--json -, --table and --csv exclude each other: give one of them")
    if plot is not None:
        check_suffix(plot, ".png", "--plot")
        require("eval", "matplotlib")
        if not overwrite:
            refuse_existing(plot)
    from apollo.audio.folders import matches

    named: list[Place] = []
    files: list[Place] = []
    others: list[Place] = []
    failed = 0
    for name in inputs:
        try:
            named += matches(place(name))
        except ApolloError as error:
            failed += 1
            complain(error)
    for path in named:
        try:
            files += expand(path, others.append)
        except ApolloError as error:
            failed += 1
            complain(error)
    if plot is not None and len(files) != 1:
        raise ApolloError(f"--plot draws one picture of one file, but {len(files)} are given: name a single file")
    found: list[dict[str, object]] = []
    heads_told = False
    for path in files:
        try:
            with one_file(path), at_hand(path) as file:
                inspection = look_at(file, track)
                if plot is not None:
                    draw(inspection, plot, overwrite)
        except ApolloError as error:
            failed += 1
            found.append({"file": str(path), "problem": str(error)})
            complain(error)
            continue
        if as_table or as_csv:
            if not heads_told:
                heads_told = True
                say(one_line(COLUMNS) if as_table else ",".join(COLUMNS))
            say(one_line(facts(path.name, inspection)) if as_table else in_csv(path, facts(path.name, inspection)))
        elif not MANNER.only_json:
            say(*([""] if found else []), str(path), *lines(inspection))
        found.append({**inspection.as_json(), "file": str(path)})
    write_json(found, target, overwrite)
    if others:
        note(passed_over(len(others)), error=as_csv)
    if failed:
        raise typer.Exit(1)


def facts(name: str, inspection: Inspection) -> list[str]:
    """What stands in the columns of a file."""
    info, levels, verdict = inspection.info, inspection.levels, inspection.verdict
    return [
        name,
        info.codec,
        f"{info.bitrate / 1000:.0f}" if info.bitrate else "",
        clock(inspection.seconds, 1),
        str(info.sample_rate),
        f"{inspection.bandwidth.cutoff_hz / 1000:.1f}",
        "" if levels.loudness is None else f"{levels.loudness:.1f}",
        "yes" if verdict.lossy else "no",
        verdict.history or "",
    ]


def one_line(cells: Sequence[str]) -> str:
    """Cells in columns that are as wide in every line; a long name loses its middle."""
    from rich.cells import set_cell_size

    from apollo.cli.terminal import without_middle

    name, *others = map(shown, cells)
    fitted = [without_middle(name, WIDTHS[0]), *others]
    columns = [set_cell_size(cell, width) for cell, width in zip(fitted, WIDTHS, strict=False)]
    return " ".join([*columns, *fitted[len(WIDTHS) :]]).rstrip()


def in_csv(path: Place, cells: Sequence[str]) -> str:
    """A file's whole path and its other cells as a line of CSV, in which no spreadsheet takes a name for a formula."""
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([shown_in_csv(path), *cells[1:-1], shown_in_csv(cells[-1])])
    return line.getvalue()


def expand(path: Place, others: Callable[[Place], None]) -> list[Place]:
    """The files that a path stands for: itself, or the audio files in a folder at any depth."""
    from apollo.audio.folders import audio_files, is_folder

    files = audio_files(path, others) if is_folder(path) else [path]
    if not files:
        raise ApolloError(f"{path} contains no audio files: give another folder")
    return files


def look_at(path: Path, track: int | None) -> Inspection:
    """Inspect a file, with a bar of its seconds if a person is watching."""
    from apollo.audio.inspection import inspect as look

    with counting(f"Inspecting {path.name}") as progress:
        return look(path, lambda done, total: progress(int(done), int(total or 0), "s"), track)


def draw(inspection: Inspection, target: Path, overwrite: bool) -> None:
    """Draw the spectrogram of a file, with its verdict above."""
    from apollo.spectrograms.recording import draw_spectrogram

    name = inspection.path.name
    title = f"{name if len(name) <= 50 else name[:50] + '…'}: {inspection.verdict.sentence}"
    cutoff, track = inspection.bandwidth.cutoff_hz, inspection.remarks.track
    draw_spectrogram(inspection.path, target, title, cutoff, overwrite, track)


def lines(inspection: Inspection) -> Iterator[str]:
    """What is told of a file, a line for each kind of thing, folded at 80 columns."""
    info, levels, bandwidth = inspection.info, inspection.levels, inspection.bandwidth
    coding = info.codec if info.bits is None else f"{info.codec}, {info.bits} bit"
    bitrate = f", {info.bitrate / 1000:.0f} kbit/s" if info.bitrate else ""
    maker = f", by {info.encoder}" if info.encoder else ""
    yield from row("Format", f"{CONTAINERS.get(info.container, info.container)} ({coding}){bitrate}{maker}")
    channels = CHANNELS.get(info.channels, f"{info.channels} channels")
    yield from row("Sound", f"{clock(inspection.seconds, 1)}, {info.sample_rate} Hz, {channels}")
    if levels.peak_db is not None and levels.true_peak_db is not None:
        cliff = f", a cliff of {bandwidth.cliff_db:.0f} dB" if bandwidth.has_cliff else ""
        yield from row("Cut-off", f"{bandwidth.cutoff_hz / 1000:.1f} kHz{cliff}")
        spread = "" if levels.loudness_range is None else f", range {levels.loudness_range:.1f} LU"
        if levels.loudness is not None:
            yield from row("Loudness", f"{levels.loudness:.1f} LUFS{spread}")
        yield from row("Peak", f"{tenths(levels.peak_db)} dBFS, true peak {tenths(levels.true_peak_db)} dBTP")
    if levels.clipped:
        yield from row("Clipped", f"{levels.clipped} peak{'s' * (levels.clipped > 1)}")
    if levels.silent >= 0.005:
        yield from row("Silent", f"{levels.silent:.0%}")
    if not levels.finite:
        yield from row("Broken", "it contains NaN or infinite samples")
    if inspection.cover is not None:
        kind = inspection.cover.mime.removeprefix("image/").upper()
        yield from row("Cover", f"{kind}, {math.ceil(len(inspection.cover.data) / 1000)} kB")
    for name, text in info.tags.items():
        short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
        yield from row(name.replace("_", " ").capitalize(), " / ".join(short.split("\n")))
    if info.tags_encoding is not None:
        yield from row("Tags", f"read as {info.tags_encoding}, a guess: the file does not state their code page")
    yield from row("Verdict", inspection.verdict.sentence)


def row(name: str, text: str) -> Iterator[str]:
    """A name and what belongs to it, in as many lines as it takes."""
    from rich.cells import set_cell_size
    from rich.text import Text

    from apollo.cli.screen import Screen
    from apollo.cli.terminal import without_middle

    label, indent = f"  {without_middle(shown(name), 13)}", 16
    for line in Text(shown(text)).wrap(Screen(), WIDTH - indent):
        yield set_cell_size(label, indent) + line.plain.rstrip()
        label = ""


def tenths(decibels: float) -> str:
    """A level to one decimal, without the sign that rounding leaves before a 0."""
    return f"{round(decibels, 1) + 0.0:.1f}"
