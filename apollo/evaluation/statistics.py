"""How far chance alone would move an average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference and where it would lie had other pieces of the same kind been measured.

    Attributes:
        mean: NaN when there is nothing to average.
        low: Lower end of the 95 % interval; NaN for fewer than two pieces.
        high: Its upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(differences: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """Bootstrap a mean difference by its percentiles (Efron & Tibshirani, "An Introduction to the Bootstrap", ch. 13).

    Args:
        differences: One group a piece: its differences under all conditions. Groups are drawn with replacement, whole;
            the mean is over all differences of the groups drawn.
        seed: Of the drawing, so that the same scores always give the same interval.

    Returns:
        The mean of all differences, and the 2.5 and 97.5 percentiles of the means of 10,000 drawings.
    """
    if not differences:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = np.array([sum(group) for group in differences])
    counts = np.array([len(group) for group in differences])
    mean = float(sums.sum() / counts.sum())
    if len(differences) < 2:
        return Interval(mean, float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLINGS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(mean, float(low), float(high))


def is_defined(value: float | None) -> bool:
    """Whether a value is there and a number."""
    return value is not None and not math.isnan(value)
