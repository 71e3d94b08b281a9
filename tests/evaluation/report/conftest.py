import math
from dataclasses import replace

import numpy as np
import pytest

from apollo.evaluation.clips import Clip
from apollo.evaluation.results import PAIRS, UNPROCESSED, Condition, Evaluation, Failure, Score

MODEL = 'runs/<b>&"it\'s"/model.ckpt'
OTHER = "default"
BITRATES = (24, 32, 48, 64, 96, 128)
HOSTILE = "kind/<script>alert('x')</script> & \"Ж日\"\n|*_`.flac"


def made(
    systems: tuple[str, ...] = (MODEL, OTHER),
    codecs: tuple[str, ...] = ("mp3", "vorbis"),
    bitrates: tuple[int | None, ...] = (24, 48, 96),
    kinds: tuple[str, ...] = ("vocal", "multi-stem + vocal"),
    pieces: int = 4,
) -> Evaluation:
    """Scores as they come: worse than -10, NaN, gains of either sign, and none at all."""
    generator = np.random.default_rng(5)
    conditions = [Condition(codec, bitrate) for codec in codecs for bitrate in bitrates]
    scores = []
    for number in range(pieces):
        for condition in conditions:
            rate = condition.bitrate or 48
            before = {"visqol": 2 + rate / 64, "si_sdr": rate / 4 - 20 + generator.normal(), "lsd": 3 - rate / 64}
            if number == 1 and rate == 24:
                before["visqol"] = math.nan
            kind = kinds[number % len(kinds)] if kinds else ""
            piece = HOSTILE if number == 0 else f"song {number}.flac"
            scores.append(Score(piece, kind, condition, UNPROCESSED, before))
            for place, system in enumerate(systems):
                gains = {"visqol": 0.5 - rate / 200, "si_sdr": generator.normal(), "lsd": 0.0}
                values = {name: before[name] + (1 - place) * gains[name] for name in before}
                scores.append(Score(piece, kind, condition, system, values))
    return Evaluation(
        source="/music/<i>my & songs",
        conditions=conditions,
        systems=[UNPROCESSED, *systems],
        metrics=["visqol", "si_sdr", "lsd"],
        scores=scores,
        failures=[Failure(HOSTILE, conditions[-1], systems[0] if systems else "", "It <broke> & stopped.")],
        seconds=75.4,
        made={"command": "apollo evaluate --codec <mp3>", "commit": "0123abc"},
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that need not be good, only the same everywhere."""
    monkeypatch.setattr("apollo.evaluation.statistics.RESAMPLINGS", 200)


@pytest.fixture
def evaluation() -> Evaluation:
    """Two codecs, three bitrates, two systems, two kinds of music."""
    return made()


@pytest.fixture
def wide() -> Evaluation:
    """The same with the six bitrates that are usual."""
    return made(bitrates=BITRATES)


@pytest.fixture(
    params=["pairs", "single piece", "single bitrate", "no systems", "no kinds", "nothing defined", "no scores"]
)
def unusual(request: pytest.FixtureRequest) -> Evaluation:
    """What a report must not stumble over."""
    plain = made(kinds=(), codecs=("mp3",))
    return {
        "pairs": made(codecs=(PAIRS,), bitrates=(None,)),
        "single piece": made(pieces=1),
        "single bitrate": made(bitrates=(64,)),
        "no systems": made(systems=()),
        "no kinds": plain,
        "nothing defined": replace(
            plain, scores=[replace(score, values=dict.fromkeys(score.values, math.nan)) for score in plain.scores]
        ),
        "no scores": replace(plain, scores=[]),
    }[request.param]


@pytest.fixture
def clip(chords: np.ndarray) -> Clip:
    """A second of music, louder than full scale in one version."""
    part = chords[:, 44_100:88_200]
    part = 0.5 * part / np.abs(part).max()
    return Clip(
        place="worst",
        system=MODEL,
        metric="visqol",
        piece=HOSTILE,
        condition=Condition("mp3", 24),
        start=61.25,
        sample_rate=44_100,
        original=part,
        versions={UNPROCESSED: 0.5 * part, MODEL: 2.5 * part},
        scores={UNPROCESSED: 2.0, MODEL: 1.5},
    )
