"""What an evaluation found: one score a piece, bitrate and system, what failed, and averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

UNPROCESSED = "unprocessed"


@dataclass(frozen=True)
class Score:
    """One piece at one bitrate as one system left it.

    Attributes:
        piece: The original's path below the evaluated folder, with forward slashes.
        bitrate: Of the codec, in kbit/s.
        system: `UNPROCESSED` or the model as the user named it.
        values: Metric name to value; NaN where the metric is not defined for this piece.
    """

    piece: str
    bitrate: int
    system: str
    values: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A piece that could not be evaluated at a bitrate, and why in one sentence."""

    piece: str
    bitrate: int
    reason: str


@dataclass
class Evaluation:
    """The outcome of `evaluate`.

    Attributes:
        codec: Name of the codec that degraded the originals.
        bitrates: In kbit/s, ascending.
        models: As the user named them.
        metrics: Names in `METRICS`.
        scores: Every score, in the order of pieces, bitrates and systems.
        failures: What is missing from `scores`.
        seconds: Wall time that the evaluation took.
    """

    codec: str
    bitrates: list[int]
    models: list[str]
    metrics: list[str]
    scores: list[Score] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def systems(self) -> list[str]:
        """The unprocessed signal first, then the models."""
        return [UNPROCESSED, *self.models]

    def mean(self, system: str, bitrates: int | Sequence[int], metric: str) -> float:
        """Average a metric over pieces, then over bitrates; NaN values are left out.

        Every piece counts the same, whatever its length. Averaging each bitrate first keeps a piece that failed at one
        bitrate from tilting the balance between bitrates.

        Args:
            system: `UNPROCESSED` or a model.
            bitrates: One bitrate or several, in kbit/s.
            metric: A name in `METRICS`.

        Returns:
            The average, NaN when there is nothing to average.
        """
        wanted = [bitrates] if isinstance(bitrates, int) else bitrates
        return _mean([_mean(self._values(system, bitrate, metric)) for bitrate in wanted])

    def _values(self, system: str, bitrate: int, metric: str) -> list[float]:
        return [s.values[metric] for s in self.scores if s.system == system and s.bitrate == bitrate]


def _mean(values: Sequence[float]) -> float:
    """Mean of the numbers that are not NaN."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
