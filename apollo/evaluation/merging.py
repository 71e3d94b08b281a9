"""One evaluation from the reports of its shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from apollo.errors import DataError
from apollo.evaluation.results import Condition, Evaluation, Failure, Score
from apollo.storage import Place


def evaluation_of(report: Mapping[str, Any], path: Place) -> Evaluation:
    """What a `report.json` holds; raises DataError if it is another kind of file."""
    try:
        return Evaluation(
            source=str(report["source"]),
            conditions=[_condition(entry) for entry in report["conditions"]],
            systems=[str(name) for name in report["systems"]],
            metrics=[str(name) for name in report["metrics"]],
            scores=[
                Score(str(entry["piece"]), str(entry["kind"]), _condition(entry), str(entry["system"]), _values(entry))
                for entry in report["scores"]
            ],
            failures=[
                Failure(str(entry["piece"]), _condition(entry), str(entry["system"]), str(entry["reason"]))
                for entry in report["failures"]
            ],
            seconds=float(report["seconds"]),
            made={str(name): str(value) for name, value in report["made"].items()},
            notes=[str(note) for note in report.get("notes", [])],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a report of an evaluation ({error!r}): give report.json files") from None


def _condition(entry: Mapping[str, Any]) -> Condition:
    bitrate = entry["bitrate_kbps"]
    return Condition(str(entry["codec"]), None if bitrate is None else int(bitrate))


def _values(entry: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): math.nan if value is None else float(value) for name, value in entry["values"].items()}


def merged(evaluations: Sequence[Evaluation], names: Sequence[object]) -> Evaluation:
    """Put evaluations of different pieces together, of the same systems and conditions and by the same metrics.

    Gives all scores and failures, pieces in the order of their names; the time is that of all machines together. Raises
    DataError, which uses `names`, if they do not belong together, or one piece has two scores that differ.
    """
    first = evaluations[0]
    scores: dict[tuple[str, Condition, str], Score] = {}
    for evaluation, name in zip(evaluations, names, strict=True):
        for what in ("source", "systems", "metrics", "conditions"):
            if getattr(evaluation, what) != getattr(first, what):
                raise DataError(f"{name} has other {what} than {names[0]}: merge the shares of one evaluation only")
        for score in evaluation.scores:
            known = scores.setdefault((score.piece, score.condition, score.system), score)
            # As text, in which a value that is not defined equals another.
            if repr(known) != repr(score):
                raise DataError(
                    f"{name} has another score for {score.piece} ({score.condition}, {score.system}) than a report "
                    "before it: leave out the older one"
                )
    failures = dict.fromkeys(failure for evaluation in evaluations for failure in evaluation.failures)
    order = {condition: place for place, condition in enumerate(first.conditions)}
    systems = {system: place for place, system in enumerate(first.systems)}
    return Evaluation(
        first.source,
        first.conditions,
        first.systems,
        first.metrics,
        sorted(scores.values(), key=lambda score: (score.piece, order[score.condition], systems[score.system])),
        sorted(failures, key=str),
        sum(evaluation.seconds for evaluation in evaluations),
        first.made,
        list(dict.fromkeys(note for evaluation in evaluations for note in evaluation.notes)),
    )
