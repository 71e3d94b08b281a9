"""What the systems made of a few telling moments, to look at and to listen to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from apollo.atomic import temporary_folder
from apollo.audio.signal import Signal, recut
from apollo.data.folders import Waveform
from apollo.errors import ApolloError
from apollo.evaluation.cases import Case, Cases
from apollo.evaluation.results import UNPROCESSED, Condition, Evaluation
from apollo.evaluation.systems import Settings
from apollo.evaluation.waveforms import SAMPLE_RATE, pair_waveforms, waveforms
from apollo.metrics import metric
from apollo.restoration import Restorer
from apollo.storage import Place, at_hand

PLACES = ("best", "median", "worst")
SECONDS = 6.0

_AROUND = 2.0  # seconds of music on either side that a network and its resampling look at, and more


@dataclass(frozen=True)
class Clip:
    """A moment of a piece under one condition, as each system left it."""

    place: str  # `best`, `median` or `worst` among all that `system` restored
    system: str  # whose best, median or worst it is
    metric: str  # by the gain in which it was chosen
    piece: str  # as in `Score`
    condition: Condition  # as in `Score`
    start: float  # where it begins in the piece, in seconds
    sample_rate: int  # of the waveforms, in Hz
    original: Waveform  # `(channels, samples)`
    versions: dict[str, Waveform]  # by system, `UNPROCESSED` first; same shape
    scores: dict[str, float]  # the systems' values of `metric` for the whole piece, where they are defined


def cut_clips(evaluation: Evaluation, cases: Cases, settings: Settings) -> list[Clip]:
    """Cut out and restore again the loudest 6 s of the cases that each system restored best, worst and in the middle.

    Chosen by ViSQOL if it is among the metrics, otherwise by the first. Up to three clips a system; those that can no
    longer be read are left out.
    """
    judge = "visqol" if "visqol" in evaluation.metrics else evaluation.metrics[0]
    by_name = {(case.piece, case.condition): case for case in cases.cases}
    clips = []
    for system in evaluation.systems[1:]:
        for place, (piece, condition) in _places(evaluation, system, judge).items():
            case = by_name[piece, condition]
            scores = {
                name: values[piece, condition]
                for name in evaluation.systems
                if (piece, condition) in (values := evaluation.values(name, judge))
            }
            try:
                with temporary_folder() as scratch, case.at_hand() as here:
                    start, original, versions = _moment(here, case, cases, settings, scratch)
            except ApolloError:  # It was readable when it was scored.
                continue
            clips.append(
                Clip(
                    place,
                    system,
                    judge,
                    piece,
                    condition,
                    start / SAMPLE_RATE,
                    SAMPLE_RATE,
                    original,
                    versions,
                    scores,
                )
            )
    return clips


def _places(evaluation: Evaluation, system: str, judge: str) -> dict[str, tuple[str, Condition]]:
    """Which cases a system restored best, worst and in the middle."""
    ours, before = evaluation.values(system, judge), evaluation.values(UNPROCESSED, judge)
    good = metric(judge).goodness
    ranked = sorted((key for key in ours if key in before), key=lambda key: good(before[key]) - good(ours[key]))
    if not ranked:
        return {}
    chosen = (ranked[0], ranked[len(ranked) // 2], ranked[-1])
    return dict(zip(PLACES[: len(ranked)], chosen[: len(ranked)], strict=True))


def _moment(
    here: Case[Path], case: Case[Place], cases: Cases, settings: Settings, scratch: Path
) -> tuple[int, Waveform, dict[str, Waveform]]:
    """Where the loudest moment of a case that is at hand begins, the original, and what every system made of it."""
    original, damaged = waveforms(here, scratch, settings.align)
    start = loudest(original, round(SECONDS * SAMPLE_RATE))
    moment = slice(start, start + round(SECONDS * SAMPLE_RATE))
    versions = {UNPROCESSED: np.array(damaged[:, moment])}
    for model in settings.models:
        versions[model] = _restored_moment(settings.restorer(model), damaged, moment)
    for folder in settings.restorations:
        try:
            with at_hand(folder.file_of(case, cases.root, several=len(cases.conditions) > 1)) as path:
                _, other = pair_waveforms(here.sources[0], path, scratch, settings.align)
        except ApolloError:
            continue
        if other.shape[1] >= min(moment.stop, original.shape[1]):
            versions[folder.name] = np.array(other[:, moment])
    return start, np.array(original[:, moment]), versions


def loudest(waveform: Waveform, samples: int) -> int:
    """Where the stretch of so many samples with the most energy begins, to a quarter of a second."""
    step = SAMPLE_RATE // 4
    energy = np.concatenate(
        [
            np.add.reduceat(np.square(block).sum(axis=0, dtype=np.float64), np.arange(0, block.shape[1], step))
            for block in recut(Signal.of_array(waveform, SAMPLE_RATE).blocks(), 80 * step)
        ]
    )
    width = min(len(energy), -(-samples // step))
    sums = np.convolve(energy, np.ones(width), mode="valid")
    start = int(np.argmax(sums)) * step
    return min(start, max(0, int(waveform.shape[1]) - samples))


def _restored_moment(restorer: Restorer, damaged: Waveform, moment: slice) -> Waveform:
    """The samples that restoring the whole would give: the network sees a fixed time around, and one gain for all."""
    around = round(_AROUND * SAMPLE_RATE)
    first = max(0, moment.start - around) // restorer.model.hop_length * restorer.model.hop_length
    stretch = np.ascontiguousarray(damaged[:, first : moment.stop + around])
    stream = restorer.stream(Signal.of_array(damaged, SAMPLE_RATE).measure()[0], SAMPLE_RATE)
    restored = torch.cat((stream.push(torch.from_numpy(stretch)), stream.flush()), dim=1)
    result: Waveform = restored[:, moment.start - first : moment.stop - first].numpy().copy()
    return result
