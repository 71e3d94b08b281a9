"""Keep an evaluation: CSV for spreadsheets, JSON for programs, LaTeX for papers, Markdown and HTML for people."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apollo import __version__
from apollo.errors import DataError
from apollo.evaluation.clips import Clip
from apollo.evaluation.report.grids import Grid, Grids
from apollo.evaluation.report.html import page
from apollo.evaluation.report.latex import latex_tables
from apollo.evaluation.report.markdown import document
from apollo.evaluation.report.names import describe
from apollo.evaluation.results import Condition, Evaluation, Failure, Score
from apollo.evaluation.statistics import Interval
from apollo.foreign import shown_in_csv, shown_in_json
from apollo.storage import Place, replacing

REPORTS = ("scores.csv", "averages.csv", "report.json", "report.md", "tables.tex", "report.html")


def write_reports(
    evaluation: Evaluation, clips: Sequence[Clip], folder: Place, grids: Grids | None = None
) -> list[Place]:
    """Write `scores.csv`, `averages.csv`, `report.json`, `report.md`, `tables.tex` and `report.html`.

    Each is written whole or not at all.

    Args:
        evaluation: What to write.
        clips: What to look at and listen to in the HTML file; may be empty. They make up nearly all of its size, which
            `apollo.evaluation.report.media` keeps below about 15 MB.
        folder: Where to, here or in a store; made when missing. Files of these names are replaced.
        grids: The evaluation's, where they are known already.

    Returns:
        The paths of the files, in this order.

    Raises:
        DataError: The folder or a file cannot be written.
    """
    grids = grids or Grids.of(evaluation)
    texts = (
        scores_csv(evaluation),
        averages_csv(grids),
        report_json(evaluation, grids),
        document(evaluation, grids),
        latex_tables(evaluation, grids),
        page(evaluation, clips, grids),
    )
    for name, text in zip(REPORTS, texts, strict=True):
        _write(folder / name, text)
    return [folder / name for name in REPORTS]


def scores_csv(evaluation: Evaluation) -> str:
    """One line a piece, condition and system; a value that is not defined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["piece", "kind", "codec", "bitrate_kbps", "system", *evaluation.metrics])
    for score in evaluation.scores:
        numbers = [_cell(score.values.get(name, math.nan)) for name in evaluation.metrics]
        bitrate = "" if score.condition.bitrate is None else score.condition.bitrate
        words = map(shown_in_csv, (score.piece, score.kind, score.condition.codec, bitrate, score.system))
        writer.writerow([*words, *numbers])
    return text.getvalue()


def averages_csv(grids: Grids) -> str:
    """One line a metric, codec, column of the tables and system; `sd` is the standard deviation over the pieces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["metric", "codec", "over", "system", "mean", "sd", "pieces", "change", "change_low", "change_high"]
    )
    for grid in grids.all:
        for system, heading, cell in grid.entries():
            average, gain = cell.average, cell.gain
            changes = (math.nan,) * 3 if gain is None else (gain.mean, gain.low, gain.high)
            words = map(shown_in_csv, (grid.metric, grid.codec or "", heading, system))
            numbers = [_cell(average.mean), _cell(average.spread), str(average.pieces), *map(_cell, changes)]
            writer.writerow([*words, *numbers])
    return text.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def report_json(evaluation: Evaluation, grids: Grids) -> str:
    """How it was made, averages and gains, every score and failure; a value that is not defined is null."""
    report = {
        "apollo": __version__,
        "source": evaluation.source,
        "made": evaluation.made,
        "notes": evaluation.notes,
        "seconds": round(evaluation.seconds, 1),
        "conditions": [_condition(condition) for condition in evaluation.conditions],
        "kinds": evaluation.kinds,
        "systems": evaluation.systems,
        "metrics": {name: _metric(name) for name in evaluation.metrics},
        "averages": [entry for grid in grids.all for entry in _entries(grid)],
        "scores": [_flat(score) for score in evaluation.scores],
        "failures": [_flat(failure) for failure in evaluation.failures],
    }
    return shown_in_json(_defined(report), indent=1) + "\n"


def _condition(condition: Condition) -> dict[str, Any]:
    return {"codec": condition.codec, "bitrate_kbps": condition.bitrate}


def _flat(entry: Score | Failure) -> dict[str, Any]:
    """A score or a failure, with its condition's values among its own."""
    held = vars(entry).copy()
    return {"piece": held.pop("piece"), **_condition(held.pop("condition")), **held}


def _metric(name: str) -> dict[str, Any]:
    metric = describe(name)
    return {"label": metric.label, "unit": metric.unit, "higher_is_better": metric.higher_is_better}


def _entries(grid: Grid) -> list[dict[str, Any]]:
    """One entry a system and column; `over` is the column's heading: a bitrate, bitrates, a kind of music or `all`."""
    return [
        {
            "metric": grid.metric,
            "codec": grid.codec,
            "over": heading,
            "system": system,
            **vars(cell.average),
            **({} if cell.gain is None else {"gain": _interval(cell.gain)}),
        }
        for system, heading, cell in grid.entries()
    ]


def _interval(gain: Interval) -> dict[str, Any]:
    return {"mean": gain.mean, "low": gain.low, "high": gain.high, "certain": gain.certain}


def _defined(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None, at any depth."""
    if isinstance(value, dict):
        return {key: _defined(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Place, text: str) -> None:
    """Write a text file so that a crash leaves the old one or none."""
    try:
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            # A file name may hold bytes that are no text.
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); give another folder.") from None
