"""What an evaluation found: one score a piece, condition and system, what failed, and averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Literal

from apollo.evaluation.statistics import Interval, is_defined, paired_interval
from apollo.metrics import metric

UNPROCESSED = "unprocessed"
NOISE, SHELF = CONTROLS = ("unprocessed + noise", "unprocessed + shelf")  # see `apollo.evaluation.controls`
PAIRS = "pairs"

_NAMES = {"mp3": "MP3", "aac": "AAC", "opus": "Opus", "vorbis": "Vorbis", PAIRS: "Pairs"}


@dataclass(frozen=True)
class Condition:
    """What was done to the originals before any system got them."""

    codec: str  # as `apollo.audio.degrade` names it; `PAIRS` where the damaged versions were given
    bitrate: int | None = None  # in kbit/s; None where the damaged versions were given

    @property
    def codec_name(self) -> str:
        """The codec as people write it."""
        return _NAMES.get(self.codec, self.codec)

    def __str__(self) -> str:
        return self.codec_name if self.bitrate is None else f"{self.codec_name} {self.bitrate} kbit/s"


@dataclass(frozen=True)
class Score:
    """One piece under one condition as one system left it."""

    piece: str  # the original's path below the evaluated folder, with forward slashes
    kind: str  # kind of music, as `apollo.evaluation.cases.KINDS` names it; empty where it is not known
    condition: Condition  # what had been done to the piece
    system: str  # `UNPROCESSED`, the model as the user named it, or the name of a folder of restorations
    values: dict[str, float]  # metric name to value; NaN where the metric is not defined for this piece


@dataclass(frozen=True)
class Failure:
    """What could not be evaluated, and why in one sentence."""

    piece: str  # as in `Score`
    condition: Condition  # as in `Score`
    system: str  # the system that failed; empty where the piece itself cannot be used
    reason: str  # a sentence

    def __str__(self) -> str:
        who = f", {self.system}" if self.system else ""
        return f"{self.piece} ({self.condition}{who}): {self.reason}"


@dataclass(frozen=True)
class Average:
    """Mean and spread of a metric."""

    mean: float  # NaN when there is nothing to average
    spread: float  # standard deviation over the pieces; NaN for fewer than two
    pieces: int  # how many pieces went into it


@dataclass
class Evaluation:
    """The outcome of `evaluate`, or the part of it that `at` selects."""

    source: str  # what was evaluated, as the user named it
    conditions: list[Condition]  # codec by codec in the order asked for, bitrates ascending
    systems: list[str]  # `UNPROCESSED` first, then the models and the folders of restorations
    metrics: list[str]  # names that `apollo.metrics.metric` knows
    scores: list[Score] = field(default_factory=list)  # every score, in the order of pieces, conditions and systems
    failures: list[Failure] = field(default_factory=list)  # what is missing from `scores`
    seconds: float = 0.0  # wall time that the evaluation took
    # How it was made, for those who read it later: command, date, commit, machine, versions.
    made: dict[str, str] = field(default_factory=dict)
    # What to know before the numbers are believed, in sentences: what was aligned, lossy originals.
    notes: list[str] = field(default_factory=list)

    @property
    def codecs(self) -> list[str]:
        """The codecs of its conditions, each once."""
        return list(dict.fromkeys(condition.codec for condition in self.conditions))

    @property
    def bitrates(self) -> list[int]:
        """The bitrates of its conditions in kbit/s, ascending."""
        return sorted({condition.bitrate for condition in self.conditions if condition.bitrate is not None})

    @property
    def kinds(self) -> list[str]:
        """The kinds of music in it, in the order of their first piece; empty where none is known."""
        return list(dict.fromkeys(score.kind for score in self.scores if score.kind))

    @property
    def pieces(self) -> list[str]:
        """The pieces that have a score."""
        return list(dict.fromkeys(score.piece for score in self.scores))

    @property
    def ranked(self) -> Evaluation:
        """The same without its controls: what is compared."""
        return replace(self, systems=[system for system in self.systems if system not in CONTROLS])

    def winning_controls(self, system: str, name: str) -> list[str]:
        """The controls that a metric prefers to a system, on average over everything."""
        good = metric(name).goodness
        controls = [control for control in self.systems if control in CONTROLS]
        return [control for control in controls if good(self.mean(control, name)) > good(self.mean(system, name))]

    def at(
        self, *, codec: str | None = None, bitrates: Sequence[int] | None = None, kind: str | None = None
    ) -> Evaluation:
        """The part of it with one codec, some bitrates, or one kind of music; None selects all."""
        conditions = [
            condition
            for condition in self.conditions
            if codec in (None, condition.codec) and (bitrates is None or condition.bitrate in bitrates)
        ]
        wanted = set(conditions)
        scores = [score for score in self.scores if score.condition in wanted and kind in (None, score.kind)]
        failures = [failure for failure in self.failures if failure.condition in wanted]
        return replace(self, conditions=conditions, scores=scores, failures=failures)

    def values(self, system: str, metric: str) -> dict[tuple[str, Condition], float]:
        """The metric of a system by piece and condition, where it is defined."""
        return {
            (score.piece, score.condition): score.values[metric]
            for score in self.scores
            if score.system == system and is_defined(score.values.get(metric))
        }

    def average(self, system: str, metric: str) -> Average:
        """Average a metric over the pieces under each condition, then over the conditions.

        Every piece counts the same, whatever its length. Averaging each condition first keeps a piece that failed under
        one of them from tilting the balance between them. The spread is that of the pieces' own averages.
        """
        values = self.values(system, metric)
        by_condition = [fmean(part) for part in _grouped(values, 1)]
        by_piece = [fmean(part) for part in _grouped(values, 0)]
        return Average(
            mean=fmean(by_condition) if by_condition else float("nan"),
            spread=stdev(by_piece) if len(by_piece) > 1 else float("nan"),
            pieces=len(by_piece),
        )

    def mean(self, system: str, metric: str) -> float:
        """The mean of `average`."""
        return self.average(system, metric).mean

    def gain(self, system: str, metric: str) -> Interval:
        """By how much a system's metric exceeds that of the unprocessed signal, with what chance alone would do.

        What counts as one observation is a piece with all its conditions, because the bitrates of one piece tell the
        same story: a paired bootstrap draws such pieces, and under 20 of them Student's t is used.

        Returns:
            Mean difference and its 95 % interval; NaN where there are no common scores.
        """
        ours, theirs = self.values(system, metric), self.values(UNPROCESSED, metric)
        common = {key: ours[key] - theirs[key] for key in ours if key in theirs}
        return paired_interval(_grouped(common, 0))


def _grouped(values: Mapping[tuple[str, Condition], float], by: Literal[0, 1]) -> list[list[float]]:
    """Values with one piece (0) or one condition (1) together."""
    groups: dict[str | Condition, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(key[by], []).append(value)
    return list(groups.values())
