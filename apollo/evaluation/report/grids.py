"""Averages and gains in rows and columns, before anything is drawn from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from apollo.evaluation.results import PAIRS, UNPROCESSED, Average, Condition, Evaluation
from apollo.evaluation.statistics import Interval

LOW_BITRATES = range(24, 65)


@dataclass(frozen=True)
class Cell:
    """One system in one column."""

    average: Average  # mean and spread over the pieces
    gain: Interval | None  # over the unprocessed signal; None for the unprocessed signal itself


@dataclass(frozen=True)
class Grid:
    """One metric of all systems."""

    metric: str
    codec: str | None  # of all that is in it; None where all codecs are
    columns: list[str]  # headings: bitrates and their averages, or kinds of music
    rows: dict[str, list[Cell]]  # by system, a cell a column

    @property
    def subject(self) -> str:
        """What it is about: a codec as people write it, or kinds of music."""
        return "Kinds of music" if self.codec is None else codec_name(self.codec)

    @property
    def corner(self) -> str:
        """What its columns are, where they are bitrates."""
        return "" if self.codec in (None, PAIRS) else "kbit/s"

    def entries(self) -> Iterator[tuple[str, str, Cell]]:
        """System, heading and cell, row by row."""
        for system, cells in self.rows.items():
            for heading, cell in zip(self.columns, cells, strict=True):
                yield system, heading, cell


def by_bitrate(evaluation: Evaluation, metric: str, codec: str) -> Grid:
    """A metric under each bitrate of a codec, then averaged over the low bitrates, where there is much to win, and all.

    An average that would repeat another column is left out.
    """
    part = evaluation.at(codec=codec)
    columns = [(str(bitrate), part.at(bitrates=[bitrate])) for bitrate in part.bitrates]
    low = low_bitrates(part)
    if 1 < len(low) < len(part.bitrates):
        columns.append((f"{low[0]}–{low[-1]}", part.at(bitrates=low)))
    if len(part.bitrates) != 1:
        columns.append(("all", part))
    return _grid(metric, codec, columns)


def by_kind(evaluation: Evaluation, metric: str) -> Grid:
    """A metric for each kind of music over all codecs and bitrates, then for all kinds."""
    columns = [(kind, evaluation.at(kind=kind)) for kind in evaluation.kinds]
    return _grid(metric, None, [*columns, ("all", evaluation)])


def _grid(metric: str, codec: str | None, columns: Sequence[tuple[str, Evaluation]]) -> Grid:
    rows = {
        system: [
            Cell(part.average(system, metric), None if system == UNPROCESSED else part.gain(system, metric))
            for _, part in columns
        ]
        for system in columns[-1][1].systems
    }
    return Grid(metric, codec, [heading for heading, _ in columns], rows)


@dataclass(frozen=True)
class Grids:
    """All grids of an evaluation: drawing ten thousand samples for every cell takes a while, so it is done once."""

    by_bitrate: list[Grid]  # one a metric and codec, metric by metric
    by_kind: list[Grid]  # one a metric; empty where no kinds are known

    @property
    def all(self) -> list[Grid]:
        """Those by bitrate, then those by kind."""
        return [*self.by_bitrate, *self.by_kind]

    @classmethod
    def of(cls, evaluation: Evaluation) -> Grids:
        """Compute them all."""
        kinds = evaluation.metrics if evaluation.kinds else []
        return cls(
            [by_bitrate(evaluation, metric, codec) for metric in evaluation.metrics for codec in evaluation.codecs],
            [by_kind(evaluation, metric) for metric in kinds],
        )


def low_bitrates(evaluation: Evaluation) -> list[int]:
    """Its bitrates from 24 to 64 kbit/s."""
    return [bitrate for bitrate in evaluation.bitrates if bitrate in LOW_BITRATES]


def codec_name(codec: str) -> str:
    """A codec as people write it."""
    return Condition(codec).codec_name


def listed(words: Iterable[str]) -> str:
    """Words with commas and a last "and".

    Example:
        >>> listed(["MP3", "AAC", "Opus"])
        'MP3, AAC and Opus'
    """
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def number(value: float, *, signed: bool = False) -> str:
    """Two decimals with a true minus; a dash for NaN, and no sign on what rounds to zero.

    Example:
        >>> number(-0.126), number(0.126, signed=True), number(-0.001, signed=True), number(float("nan"))
        ('−0.13', '+0.13', '0.00', '–')
    """
    if math.isnan(value):
        return "–"
    text = f"{value:+.2f}" if signed else f"{value:.2f}"
    return f"{abs(value):.2f}" if float(text) == 0 else text.replace("-", "−")


def between(interval: Interval) -> str:
    """An interval in brackets; empty where there is none."""
    return "" if math.isnan(interval.low) else f"[{number(interval.low)}, {number(interval.high)}]"
