"""Metrics, tables by bitrate and kind of music, reports and pictures."""

from apollo.evaluation.cases import KINDS, Case, Cases, find_cases
from apollo.evaluation.evaluate import evaluate
from apollo.evaluation.metrics import METRICS, Metric, log_spectral_distance, metric, si_sdr, visqol
from apollo.evaluation.results import PAIRS, UNPROCESSED, Average, Condition, Evaluation, Failure, Score
from apollo.evaluation.statistics import Interval
from apollo.evaluation.systems import Restorations

__all__ = [
    "KINDS",
    "METRICS",
    "PAIRS",
    "UNPROCESSED",
    "Average",
    "Case",
    "Cases",
    "Condition",
    "Evaluation",
    "Failure",
    "Interval",
    "Metric",
    "Restorations",
    "Score",
    "evaluate",
    "find_cases",
    "log_spectral_distance",
    "metric",
    "si_sdr",
    "visqol",
]
