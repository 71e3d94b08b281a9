"""How far chance alone would move an average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 10_000
CONFIDENCE = 0.95
FEW = 20  # pieces, under which a bootstrap by percentiles is too narrow


@dataclass(frozen=True)
class Interval:
    """A mean difference and where it would lie had other pieces of the same kind been measured.

    Attributes:
        mean: NaN when there is nothing to average.
        low: Lower end of the 95 % interval; NaN for fewer than two pieces.
        high: Its upper end.
        pieces: How many pieces have told.
    """

    mean: float
    low: float
    high: float
    pieces: int = 0

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_interval(differences: Sequence[Sequence[float]]) -> Interval:
    """A mean difference with its 95 % interval: from 20 pieces on by `paired_bootstrap`, under that by `paired_t`.

    Args:
        differences: One group a piece: its differences under all conditions.
    """
    return (paired_t if len(differences) < FEW else paired_bootstrap)(differences)


def paired_t(differences: Sequence[Sequence[float]]) -> Interval:
    """A mean difference and Student's interval for it, which holds for few pieces too, where a bootstrap is too narrow.

    The mean is over all differences, so it is the ratio of the sums s of the pieces to their counts c; its variance is
    `Σ (s - mean · c)² / (n (n - 1) c̄²)` (Cochran, "Sampling Techniques", 1977, eq. 6.13), and the interval
    `mean ± t · sqrt(variance)` with the 97.5 % quantile t of n - 1 degrees of freedom. With equal counts this is the
    usual t interval of the pieces' own means.

    Args:
        differences: One group a piece: its differences under all conditions.
    """
    if not differences:
        return Interval(float("nan"), float("nan"), float("nan"))
    sums = np.array([sum(group) for group in differences])
    counts = np.array([len(group) for group in differences])
    mean, pieces = float(sums.sum() / counts.sum()), len(differences)
    if pieces < 2:
        return Interval(mean, float("nan"), float("nan"), pieces)
    from scipy.special import stdtrit

    error = math.sqrt(float(np.sum((sums - mean * counts) ** 2)) / (pieces * (pieces - 1))) / float(counts.mean())
    reach = float(stdtrit(pieces - 1, (1 + CONFIDENCE) / 2)) * error
    return Interval(mean, mean - reach, mean + reach, pieces)


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
        return Interval(mean, float("nan"), float("nan"), len(differences))
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLINGS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(mean, float(low), float(high), len(differences))


def is_defined(value: float | None) -> bool:
    """Whether a value is there and a number."""
    return value is not None and not math.isnan(value)
