"""ViSQOL: a mean opinion score, predicted from what the ear can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apollo.audio.resampling import resampled_length
from apollo.metrics.pairs import Pair, Waveform

if TYPE_CHECKING:
    from visqol import VisqolApi

VISQOL_SAMPLE_RATE = 48_000
VISQOL_SECONDS = 30.0
# One ViSQOL patch of 30 frames, plus the 15 frames it keeps clear at the start, of 80 ms every 20 ms.
VISQOL_SHORTEST = 1.0


def visqol(original: Waveform, estimate: Waveform, sample_rate: int = 44_100) -> float:
    """ViSQOL 3 in audio mode: predicted mean opinion score; higher is better.

    From 1 (bad) to 4.73, what identical signals get.

    Chinen et al., "ViSQOL v3" (QoMEX 2020), in the Python port `visqol-python` with its defaults. Both waveforms
    are mixed down to mono as the mean of their channels and resampled to 48 kHz. ViSQOL's search grows with the
    square of the length, so pieces longer than 30 s are cut into equal segments of at most 30 s and the scores of
    those that are not silent are averaged.

    Returns:
        The score. 1 where the estimate is silent and the original is not; NaN where the original is silent in mono
        or shorter than 1 s, which ViSQOL cannot score.
    """
    scores = [visqol_mono(s, e) for s, e in _segments(Pair(original, estimate), sample_rate)]
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else float("nan")


def _segments(pair: Pair, sample_rate: int) -> Iterator[NDArray[np.float64]]:
    """Both waveforms in mono at 48 kHz, `(2, samples)`, in segments of equal length but for one sample."""
    samples = resampled_length(pair.samples, sample_rate, VISQOL_SAMPLE_RATE)
    count = max(1, int(np.ceil(samples / (VISQOL_SECONDS * VISQOL_SAMPLE_RATE))))
    ends = [samples * (number + 1) // count for number in range(count)]
    held, start = np.zeros((2, 0)), 0
    for block in pair.resampled(sample_rate, VISQOL_SAMPLE_RATE):
        held = np.concatenate([held, block.mean(axis=1)], axis=1)
        while ends and held.shape[1] >= ends[0] - start:
            segment, held = np.split(held, [ends[0] - start], axis=1)
            start = ends.pop(0)
            yield segment


def visqol_mono(original: NDArray[np.float64], estimate: NDArray[np.float64]) -> float:
    """Score one segment, as long as it is, of mono at 48 kHz: `(samples,)`, not necessarily as many in both.

    The port gives 4.73 to anything compared with a silent original and NaN to a silent estimate, so neither gets there.
    """
    if original.size < VISQOL_SHORTEST * VISQOL_SAMPLE_RATE or not original.any():
        return float("nan")
    if not estimate.any():
        return 1.0
    score = _visqol_api().measure_from_arrays(
        np.ascontiguousarray(original), np.ascontiguousarray(estimate), VISQOL_SAMPLE_RATE
    )
    return float(score.moslqo)


@cache
def _visqol_api() -> VisqolApi:
    """Build the scorer once a process: it reads its regression model from disk."""
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api
