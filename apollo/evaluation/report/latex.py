"""An evaluation as LaTeX tables, for papers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from apollo.evaluation.report.grids import Cell, Grid, Grids, number
from apollo.evaluation.report.names import describe, labels, scale
from apollo.evaluation.results import Evaluation
from apollo.foreign import shown

_SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex_tables(evaluation: Evaluation, grids: Grids) -> str:
    """One `table` a metric and codec, then, where kinds of music are known, one a metric by kind: mean ± deviation.

    Needs nothing but LaTeX itself.
    """
    tables = [_table(evaluation, grid) for grid in grids.all]
    head = "% Mean and standard deviation over the pieces, from apollo evaluate.\n"
    return head + "\n".join(tables)


def escaped(text: str) -> str:
    r"""A text that LaTeX sets as it is, in one line.

    Example:
        >>> print(escaped(r"a_b & 50% {\x}"))
        a\_b \& 50\% \{\textbackslash{}x\}
    """
    return re.sub(r"[\\~^<>|&%$#_{}–]", lambda found: _SIGNS[found[0]], shown(text))


def _table(evaluation: Evaluation, grid: Grid) -> str:
    names = labels(evaluation)
    rows = [
        _row([grid.corner, *map(escaped, grid.columns)]) + r" \hline",
        *(_row([escaped(names[system]), *map(_average, cells)]) for system, cells in grid.rows.items()),
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(f'{describe(grid.metric).label}, {grid.subject} ({scale(grid.metric)})')}}}",
            rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
            *rows,
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _average(cell: Cell) -> str:
    mean, spread = (number(value).replace("−", "-") for value in (cell.average.mean, cell.average.spread))
    if mean == "–":
        return "--"
    return f"${mean}$" if spread == "–" else rf"${mean} \pm {spread}$"
