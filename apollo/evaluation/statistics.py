"""How far chance alone would move an average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLINGS = 10_000
CONFIDENCE = 0.95
FEW = 20  # pieces, under which a bootstrap by percentiles is too narrow


@dataclass(frozen=True)
class Interval:
    """A mean difference and where it would be with other pieces of the same kind."""

    mean: float  # NaN when there is nothing to average
    low: float  # lower end of the 95 % interval; NaN for fewer than two pieces
    high: float  # its upper end
    pieces: int = 0  # how many pieces went into it

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_interval(differences: Sequence[Sequence[float]]) -> Interval:
    """A mean difference with its 95 % interval: from 20 pieces on by `paired_bootstrap`, under that by `paired_t`.

    Args:
        differences: One group a piece: its differences under all conditions. The mean is over all of them.
    """
    if not differences:
        return Interval(math.nan, math.nan, math.nan)
    sums = np.array([sum(group) for group in differences], dtype=np.float64)
    counts = np.array([len(group) for group in differences], dtype=np.float64)
    mean, pieces = float(sums.sum() / counts.sum()), len(differences)
    if pieces < 2:
        return Interval(mean, math.nan, math.nan, pieces)
    return Interval(mean, *(paired_t if pieces < FEW else paired_bootstrap)(sums, counts), pieces)


def paired_t(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Student's interval for a mean difference, which holds for few pieces too, where a bootstrap is too narrow.

    The mean is over all differences, so it is the ratio of the sums s of the pieces to their counts c; its variance is
    `Σ (s - mean · c)² / (n (n - 1) c̄²)` (Cochran, "Sampling Techniques", 1977, eq. 6.13), and the interval
    `mean ± t · sqrt(variance)` with the 97.5 % quantile t of n - 1 degrees of freedom. With equal counts this is the
    usual t interval of the pieces' own means.
    """
    from scipy.special import stdtrit

    mean, pieces = sums.sum() / counts.sum(), len(sums)
    error = math.sqrt(np.sum((sums - mean * counts) ** 2) / (pieces * (pieces - 1))) / counts.mean()
    reach = stdtrit(pieces - 1, (1 + CONFIDENCE) / 2) * error
    return float(mean - reach), float(mean + reach)


def paired_bootstrap(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of 10,000 bootstrapped mean differences.

    Efron & Tibshirani, "An Introduction to the Bootstrap", ch. 13. Pieces are drawn with replacement, each whole: the
    mean is over all differences of the pieces drawn. `sums` and `counts` are those of each piece's differences.
    """
    # Seeded, so that the same scores always give the same interval.
    drawn = np.random.default_rng(0).integers(len(sums), size=(RESAMPLINGS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def is_defined(value: float | None) -> bool:
    """Whether a value is there and a number."""
    return value is not None and not math.isnan(value)
