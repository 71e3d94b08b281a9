"""An evaluation as Markdown, for documents and repositories."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apollo.evaluation.report.grids import Cell, Grid, Grids, between, number
from apollo.evaluation.report.names import describe, labels, meaning, scale
from apollo.evaluation.report.sentences import cautions, findings, grouped
from apollo.evaluation.results import UNPROCESSED, Evaluation
from apollo.foreign import shown

LEGEND = (
    "Mean ± standard deviation over the pieces; below it, the change from the unprocessed signal with its 95 % "
    "interval, from a paired bootstrap over pieces or, under 20 pieces, Student's t. Changes whose interval excludes "
    "zero are bold."
)


def document(evaluation: Evaluation, grids: Grids) -> str:
    """The whole report: what, when and how, what was found, tables, and what failed."""
    lines = ["# Evaluation", "", *_facts(evaluation), ""]
    if notes := cautions(evaluation):
        lines += ["Note:", "", *(f"- {escaped(note)}." for note in notes), ""]
    for part in findings(evaluation.ranked):
        heading = escaped(part.scope[:1].upper() + part.scope[1:])
        lines += [f"{heading}:", "", *(f"- {escaped(finding.sentence)}." for finding in part.found), ""]
    lines += [markdown_tables(evaluation, grids)]
    if evaluation.failures:
        lines += ["## Not evaluated", "", *(f"- {escaped(sentence)}" for sentence in grouped(evaluation.failures)), ""]
    lines += ["## How to read these numbers", ""]
    for name in evaluation.metrics:
        metric = describe(name)
        told = f": {escaped(meaning(name))}" if meaning(name) else ""
        lines.append(f"- **{escaped(metric.label)}** ({scale(name)}){told}.")
    return "\n".join(lines) + "\n"


def markdown_tables(evaluation: Evaluation, grids: Grids | None = None) -> str:
    """One table a metric and codec, then, where kinds of music are known, one a metric by kind, under headings."""
    grids = grids or Grids.of(evaluation)
    lines = []
    for metric in evaluation.metrics:
        about = describe(metric)
        lines += [f"## {escaped(about.label)} ({scale(metric)})", ""]
        for grid in grids.all:
            if grid.metric == metric:
                lines += [f"### {grid.subject}", "", *_table(evaluation, grid), ""]
    return "\n".join([*lines, LEGEND, ""])


def escaped(text: str) -> str:
    r"""A text that Markdown shows as it is, in one line.

    Example:
        >>> print(escaped("a_b|c <d>"))
        a\_b\|c \<d\>
    """
    return re.sub(r"([\\`*_{}\[\]<>()#|!&~$])", r"\\\1", shown(text))


def _facts(evaluation: Evaluation) -> list[str]:
    facts = {
        "Source": evaluation.source,
        "Pieces": str(len(evaluation.pieces)),
        "Time taken": f"{evaluation.seconds:.0f} s",
        **{key.capitalize(): value for key, value in evaluation.made.items()},
    }
    return [f"- {escaped(key)}: {escaped(value)}" for key, value in facts.items()]


def _table(evaluation: Evaluation, grid: Grid) -> list[str]:
    names = labels(evaluation)
    rows = [[grid.corner, *map(escaped, grid.columns)]]
    for system, cells in grid.rows.items():
        rows.append([escaped(names[system]), *map(_average, cells)])
        if system != UNPROCESSED:
            rows.append(["change", *map(_gain, cells)])
    rule = [":--", *["--:"] * len(grid.columns)]
    return [_line(row) for row in [rows[0], rule, *rows[1:]]]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _average(cell: Cell) -> str:
    mean, spread = number(cell.average.mean), number(cell.average.spread)
    return mean if spread == "–" else f"{mean} ± {spread}"


def _gain(cell: Cell) -> str:
    if cell.gain is None:
        return ""
    mean = number(cell.gain.mean, signed=True)
    return f"{f'**{mean}**' if cell.gain.certain else mean} {between(cell.gain)}".rstrip()
