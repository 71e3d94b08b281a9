"""Tables by bitrate and kind of music, reports, and clips to listen to."""

from apollo.evaluation.cases import KINDS, Case, Cases, find_cases, pairs_of
from apollo.evaluation.evaluate import evaluate
from apollo.evaluation.results import CONTROLS, PAIRS, UNPROCESSED, Average, Condition, Evaluation, Failure, Score
from apollo.evaluation.statistics import Interval
from apollo.evaluation.systems import Restorations, Settings

__all__ = [
    "CONTROLS",
    "KINDS",
    "PAIRS",
    "UNPROCESSED",
    "Average",
    "Case",
    "Cases",
    "Condition",
    "Evaluation",
    "Failure",
    "Interval",
    "Restorations",
    "Score",
    "Settings",
    "evaluate",
    "find_cases",
    "pairs_of",
]
