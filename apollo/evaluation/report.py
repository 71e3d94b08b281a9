"""Show an evaluation as tables, keep it as CSV and JSON, and the one call behind `apollo evaluate`."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from apollo import __version__
from apollo.atomic import replacing
from apollo.errors import DataError
from apollo.evaluation.evaluate import BITRATES, evaluate, find_originals
from apollo.evaluation.metrics import METRICS
from apollo.evaluation.results import UNPROCESSED, Evaluation

LOW_BITRATES = range(24, 65)


def run_evaluation(
    folder: Path,
    models: Sequence[str] = (),
    *,
    codec: str = "mp3",
    bitrates: Sequence[int] = BITRATES,
    workers: int | None = None,
    device: str = "cpu",
    chunk_seconds: float | None = None,
    output: Path | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Evaluate the recordings in a folder with a progress bar, print tables, and write the report where asked.

    Args:
        folder: Holds the original recordings, at any depth.
        models: Paths or names, as `apollo.load_model` takes them.
        codec: What degrades the originals.
        bitrates: In kbit/s.
        workers: Processes; by default one a core.
        device: Where the models run.
        chunk_seconds: Passed to `Restorer`; None leaves its default.
        output: Folder for `scores.csv` and `report.json`; made when missing, before anything else. None writes nothing.
        console: Where to print; the terminal by default.

    Returns:
        What was found.

    Raises:
        DataError: There is nothing to evaluate, every piece failed, or the report cannot be written.
        ModelFileError: A model cannot be loaded.
    """
    console = console or Console()
    originals = find_originals(folder)
    if output is not None:
        make_writable(output)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{len(originals)} pieces × {len(set(bitrates))} bitrates", total=None)
        result = evaluate(
            originals,
            models,
            codec=codec,
            bitrates=bitrates,
            workers=workers,
            device=device,
            chunk_seconds=chunk_seconds,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    console.print(tables(result))
    console.print(f"{len(originals)} pieces, {result.codec}, {result.seconds:.0f} s")
    for failure in result.failures:
        console.print(
            f"Not evaluated: {failure.piece} at {failure.bitrate} kbit/s: {failure.reason}",
            style="yellow",
            markup=False,
        )
    if output is not None:
        write_csv(result, output / "scores.csv")
        write_json(result, output / "report.json")
        console.print(
            f"Scores of every piece: {output / 'scores.csv'}; averages: {output / 'report.json'}", markup=False
        )
    return result


def make_writable(folder: Path) -> None:
    """Make a folder where it is missing, and make sure that files can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(f"The report cannot be written to {folder} ({error.strerror}); give another folder.") from None


def tables(result: Evaluation) -> Group:
    """Lay out one table a metric: the degraded signal, then for each model its scores and what it gained or lost."""
    parts: list[RenderableType] = []
    for name in result.metrics:
        metric = METRICS[name]
        better = "higher" if metric.higher_is_better else "lower"
        # Not the table's own title, which would be broken to the width of the table.
        parts += [
            Text(f"{metric.label} ({metric.unit}, {better} is better)", style="bold"),
            _table(result, name),
            Text(),
        ]
    return Group(*parts)


def _table(result: Evaluation, name: str) -> Table:
    metric = METRICS[name]
    table = Table()
    table.add_column("kbit/s", no_wrap=True)
    # Averages beside the single bitrates: low ones, where there is much to win, and all.
    columns = [(str(bitrate), [bitrate]) for bitrate in result.bitrates]
    low = [bitrate for bitrate in result.bitrates if bitrate in LOW_BITRATES]
    if 1 < len(low) < len(result.bitrates):
        columns.append((f"{low[0]}–{low[-1]}", low))
    if len(result.bitrates) > 1:
        columns.append(("all", result.bitrates))
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    unprocessed = [result.mean(UNPROCESSED, bitrates, name) for _, bitrates in columns]
    table.add_row(result.codec.upper(), *(_number(value) for value in unprocessed), end_section=True)
    for model, label in zip(result.models, short_names(result.models), strict=True):
        restored = [result.mean(model, bitrates, name) for _, bitrates in columns]
        gains = [after - before for after, before in zip(restored, unprocessed, strict=True)]
        table.add_row(Text(label), *(_number(value) for value in restored))
        table.add_row("difference", *(_gain(gain, metric.higher_is_better) for gain in gains), end_section=True)
    return table


def short_names(models: Sequence[str]) -> list[str]:
    """Name each model by as few of the last parts of its path as no other model has.

    Example:
        >>> short_names(["runs/a/best.ckpt", "runs/b/best.ckpt", "default"])
        ['a/best.ckpt', 'b/best.ckpt', 'default']
    """
    parts = {model: Path(model).parts for model in models}
    names = []
    for model in models:
        others = [parts[other] for other in parts if other != model]
        own = parts[model]
        needed = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own))
        names.append(Path(*own[-needed:]).as_posix())
    return names


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _gain(value: float, higher_is_better: bool) -> str:
    if math.isnan(value):
        return "–"
    text = f"{value:+.2f}"
    if float(text) == 0:
        return text
    return f"[{'green' if (value > 0) == higher_is_better else 'red'}]{text}[/]"


def write_csv(result: Evaluation, path: Path) -> None:
    """Write one line a piece, bitrate and system; a value that is not defined is empty.

    Args:
        result: What to write.
        path: The file, replaced when it exists.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["piece", "codec", "bitrate_kbps", "system", *result.metrics])
    for score in result.scores:
        values = ["" if math.isnan(score.values[name]) else f"{score.values[name]:.6f}" for name in result.metrics]
        writer.writerow([score.piece, result.codec, score.bitrate, score.system, *values])
    _write(path, text.getvalue())


def write_json(result: Evaluation, path: Path) -> None:
    """Write averages by bitrate, every score, and what they mean; a value that is not defined is null.

    Args:
        result: What to write.
        path: The file, replaced when it exists.
    """
    means = [
        {
            "system": system,
            "bitrate_kbps": bitrate,
            "values": {name: result.mean(system, bitrate, name) for name in result.metrics},
        }
        for system in result.systems
        for bitrate in result.bitrates
    ]
    report = {
        "apollo": __version__,
        "codec": result.codec,
        "bitrates_kbps": result.bitrates,
        "models": result.models,
        "metrics": {
            name: {
                "label": METRICS[name].label,
                "unit": METRICS[name].unit,
                "higher_is_better": METRICS[name].higher_is_better,
            }
            for name in result.metrics
        },
        "seconds": round(result.seconds, 1),
        "means": means,
        "scores": [asdict(score) for score in result.scores],
        "failures": [asdict(failure) for failure in result.failures],
    }
    _write(path, json.dumps(_defined(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _defined(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by None, at any depth."""
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _write(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old one or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); give another folder.") from None
