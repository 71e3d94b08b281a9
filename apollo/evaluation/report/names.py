"""What systems, metrics and files are called where people read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apollo.evaluation.results import UNPROCESSED, Evaluation
from apollo.evaluation.statistics import Interval
from apollo.foreign import shown
from apollo.metrics import Metric, metric

_SIDES = {"mid": "of the mid signal, (left + right) / 2", "side": "of the side signal, (left − right) / 2"}


def describe(name: str) -> Metric:
    """Label, unit and direction of a metric: the one place where the report looks them up."""
    return metric(name)


def meaning(name: str) -> str:
    """What a metric tells, in a clause that follows its label."""
    clauses = [describe(name).meaning, _SIDES.get(split_side(name)[1], "")]
    return ", ".join(clause for clause in clauses if clause)


def split_side(name: str) -> tuple[str, str]:
    """A metric's name without `_mid` or `_side`, and which of them it had.

    Example:
        >>> split_side("snr_below_mid"), split_side("snr_below")
        (('snr_below', 'mid'), ('snr_below', ''))
    """
    base, _, last = name.rpartition("_")
    return (base, last) if last in _SIDES else (name, "")


def verdict(name: str, gain: Interval | None) -> str:
    """`better`, `worse`, or `open` where the interval holds 0 or the metric's sign says nothing of good and bad."""
    higher_is_better = describe(name).higher_is_better
    if gain is None or not gain.certain or higher_is_better is None:
        return "open"
    return "better" if (gain.mean > 0) == higher_is_better else "worse"


def scale(name: str) -> str:
    """A metric's unit, where it has one, and which way it improves: `dB, higher is better`."""
    about = describe(name)
    better = {True: "higher is better", False: "lower is better", None: "nearer to 0 is better"}[about.higher_is_better]
    return f"{about.unit}, {better}" if about.unit else better


def labels(evaluation: Evaluation) -> dict[str, str]:
    """What to call each system of an evaluation, `UNPROCESSED` first."""
    systems = [system for system in evaluation.systems if system != UNPROCESSED]
    short = (shown(name) for name in short_names(systems))
    return {UNPROCESSED: UNPROCESSED, **dict(zip(systems, short, strict=True))}


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
