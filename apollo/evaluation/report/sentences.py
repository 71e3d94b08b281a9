"""What an evaluation found, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from apollo.errors import some_of
from apollo.evaluation.report.grids import between, codec_name, listed, low_bitrates, number
from apollo.evaluation.report.names import describe, labels, split_side
from apollo.evaluation.results import UNPROCESSED, Evaluation, Failure
from apollo.evaluation.statistics import Interval

NAMED = 3  # pieces of many that failed alike


@dataclass(frozen=True)
class Finding:
    """How a system changed one metric."""

    system: str  # as in `Evaluation.systems`
    metric: str
    gain: Interval  # over the unprocessed signal
    sentence: str  # the same in words, without its scope


@dataclass(frozen=True)
class Findings:
    """How all systems changed all metrics, averaged over some of the conditions."""

    heading: str  # which conditions, as short as in a table
    scope: str  # which, in words that end a sentence
    found: list[Finding]  # system by system, metric by metric; mid and side are left to the tables


def cautions(evaluation: Evaluation) -> list[str]:
    """What to know before the numbers are believed: the evaluation's own notes, and metrics that a control wins."""
    names, told = labels(evaluation), list(evaluation.notes)
    for metric in evaluation.metrics:
        for system in evaluation.ranked.systems[1:]:
            if winners := evaluation.winning_controls(system, metric):
                told.append(
                    f"{describe(metric).label} prefers {listed(winners)} to {names[system]}: it does not measure "
                    "restoration, so do not rank by it"
                )
    return told


def grouped(failures: Sequence[Failure]) -> list[str]:
    """Failures in sentences, those of one system that have one reason together."""
    groups: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.system, failure.reason), []).append(failure)
    sentences = []
    for (system, reason), group in groups.items():
        pieces = list(dict.fromkeys(failure.piece for failure in group))
        if len(group) == 1:
            sentences.append(str(group[0]))
            continue
        whose = f" of {system}" if system else ""
        cases = "" if len(group) == len(pieces) else f" in {len(group)} cases"
        sentences.append(
            f"{len(pieces)} {'piece' if len(pieces) == 1 else 'pieces'}{cases}{whose}: {reason} ("
            f"{some_of(pieces, NAMED)})"
        )
    return sentences


def findings(evaluation: Evaluation) -> list[Findings]:
    """Over the low bitrates, where there is much to win, then over the others, where there is much to lose.

    There is one over everything where there are no bitrates.
    """
    if len(evaluation.systems) < 2:
        return []
    low = low_bitrates(evaluation)
    groups = [low, [bitrate for bitrate in evaluation.bitrates if bitrate not in low]]
    parts = [evaluation.at(bitrates=group) for group in groups if group] or [evaluation]
    return [_over(part) for part in parts]


def _over(part: Evaluation) -> Findings:
    names, rates = labels(part), part.bitrates
    found = [
        _finding(system, names[system], metric, part.gain(system, metric))
        for system in part.systems
        if system != UNPROCESSED
        for metric in part.metrics
        if not split_side(metric)[1]
    ]
    over = "on a single piece, over" if len(part.pieces) == 1 else "on average over"
    if not rates:
        return Findings("all pairs", f"{over} all pairs", found)
    heading = f"{rates[0]}–{rates[-1]} kbit/s" if len(rates) > 1 else f"{rates[0]} kbit/s"
    return Findings(heading, f"{over} {listed([codec_name(codec) for codec in part.codecs])} at {heading}", found)


def _finding(system: str, label: str, name: str, gain: Interval) -> Finding:
    metric = describe(name)
    unit = f" {metric.unit}" if metric.unit else ""
    interval = f" {between(gain)}" if between(gain) else ""
    signed = f"{number(gain.mean, signed=True)}{unit}{interval}"
    if math.isnan(gain.mean):
        return Finding(system, name, gain, f"{label} has no {metric.label} to compare")
    if math.isnan(gain.low):
        told = f"changes {metric.label} by {signed}"
    elif not gain.certain:
        told = f"does not certainly change {metric.label}: {signed}"
    else:
        low, high = sorted((abs(gain.low), abs(gain.high)))
        amount = f"{number(abs(gain.mean))}{unit} [{number(low)}, {number(high)}]"
        told = f"{'raises' if gain.mean > 0 else 'lowers'} {metric.label} by {amount}"
    return Finding(system, name, gain, f"{label} {told}, n = {gain.pieces}")
