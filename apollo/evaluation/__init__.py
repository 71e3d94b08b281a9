"""Metrics, tables by bitrate, and pictures."""

from apollo.evaluation.evaluate import evaluate, find_originals
from apollo.evaluation.metrics import METRICS, Metric, log_spectral_distance, si_sdr, visqol
from apollo.evaluation.report import run_evaluation
from apollo.evaluation.results import UNPROCESSED, Evaluation, Failure, Score

__all__ = [
    "METRICS",
    "UNPROCESSED",
    "Evaluation",
    "Failure",
    "Metric",
    "Score",
    "evaluate",
    "find_originals",
    "log_spectral_distance",
    "run_evaluation",
    "si_sdr",
    "visqol",
]
