"""An evaluation as tables in a terminal."""

from __future__ import annotations

import math

from rich.box import Box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from apollo.evaluation.report.grids import Cell, Grid, Grids, number
from apollo.evaluation.report.names import describe, labels, scale, verdict
from apollo.evaluation.results import UNPROCESSED, Evaluation
from apollo.foreign import shown

# With a label and eight numbers of up to seven characters a line has 80.
COLUMNS = 8

# A rule under the headings and nothing else: borders would cost two characters a column.
_RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")


def tables(evaluation: Evaluation, grids: Grids) -> RenderableType:
    """Lay out one table a codec and metric, then, where kinds of music are known, one a metric by kind.

    Under every system stands what it gained over the unprocessed signal: green for better and red for worse where the
    95 % interval leaves out zero. Fits into 80 columns up to six bitrates and their averages; more are continued below.
    """
    parts: list[RenderableType] = []
    for codec in evaluation.codecs:
        for grid in grids.by_bitrate:
            if grid.codec == codec:
                parts += _table(evaluation, grid)
    for grid in grids.by_kind:
        parts += _table(evaluation, grid)
    return Group(*parts)


def _table(evaluation: Evaluation, grid: Grid) -> list[RenderableType]:
    # Not the table's own title, which would be broken to the width of the table.
    parts: list[RenderableType] = [
        Text(f"{grid.subject} · {describe(grid.metric).label}", style="bold")
        + Text(f" ({scale(grid.metric)})", style="not bold")
    ]
    names = labels(evaluation)
    for first in range(0, len(grid.columns), COLUMNS):
        columns = slice(first, first + COLUMNS)
        table = Table(box=_RULE, show_edge=False, pad_edge=False, padding=(0, 0), collapse_padding=True)
        table.add_column(grid.corner, overflow="fold")
        for heading in grid.columns[columns]:
            table.add_column(shown(heading), justify="right", min_width=6)
        for system, cells in grid.rows.items():
            table.add_row(Text(names[system]), *(_number(cell.average.mean) for cell in cells[columns]))
            if system != UNPROCESSED:
                gains = (_gain(cell, grid.metric) for cell in cells[columns])
                table.add_row(Text("  change", style="dim"), *gains)
        parts += [table, Text()]
    return parts


def _number(value: float) -> Text:
    return Text(number(value).replace("−", "-"))


def _gain(cell: Cell, metric: str) -> Text:
    gain = cell.gain
    if gain is None or math.isnan(gain.mean):
        return Text("–")
    text = number(gain.mean, signed=True).replace("−", "-")
    if float(text) == 0:
        return Text(text)
    return Text(text, style={"better": "green", "worse": "red", "open": ""}[verdict(metric, gain)])
