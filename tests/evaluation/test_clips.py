from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import apollo
from apollo.audio.codecs import degrade
from apollo.evaluation.cases import Cases, find_cases
from apollo.evaluation.clips import Clip, cut_clips, loudest
from apollo.evaluation.evaluate import evaluate
from apollo.evaluation.results import UNPROCESSED, Evaluation
from apollo.evaluation.systems import Settings

SAMPLE_RATE = 44_100
TINY_MODEL = str(Path(__file__).parents[1] / "golden" / "apollo-tiny.msst.ckpt")


@pytest.fixture(scope="module")
def song(chords: np.ndarray) -> np.ndarray:
    """6 s, the first four of them quiet."""
    song = np.tile(chords, 2)
    song[:, : 4 * SAMPLE_RATE] *= 0.2
    return song


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, song: np.ndarray) -> tuple[Evaluation, Cases]:
    folder = tmp_path_factory.mktemp("music")
    soundfile.write(folder / "song.wav", song.T, SAMPLE_RATE, subtype="FLOAT")
    cases = find_cases(folder, ("mp3",), (24, 64, 128))
    return evaluate(cases, Settings([TINY_MODEL], metrics=("si_sdr",))), cases


@pytest.fixture(scope="module")
def clips(evaluated: tuple[Evaluation, Cases]) -> list[Clip]:
    """Of 1 s each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apollo.evaluation.clips.SECONDS", 1.0)
        return cut_clips(*evaluated, Settings([TINY_MODEL]))


def test_a_clip_holds_the_samples_of_the_whole_restoration(clips: list[Clip], song: np.ndarray) -> None:
    restorer = apollo.Restorer(apollo.load_model(TINY_MODEL))
    assert [clip.place for clip in clips] == ["best", "median", "worst"]
    for clip in clips:
        assert clip.condition.bitrate is not None
        moment = slice(round(clip.start * SAMPLE_RATE), round(clip.start * SAMPLE_RATE) + SAMPLE_RATE)
        assert 4 <= clip.start <= 5
        damaged = degrade(song, SAMPLE_RATE, bitrate=1000 * clip.condition.bitrate)
        assert np.array_equal(clip.original, song[:, moment])
        assert np.array_equal(clip.versions[UNPROCESSED], damaged[:, moment])
        assert np.abs(clip.versions[TINY_MODEL] - restorer(damaged)[:, moment]).max() < 1e-5 * np.abs(song).max()


def test_best_and_worst_are_those_by_the_gain(evaluated: tuple[Evaluation, Cases], clips: list[Clip]) -> None:
    evaluation, _ = evaluated
    gains = {
        where: evaluation.values(TINY_MODEL, "si_sdr")[where] - before
        for where, before in evaluation.values(UNPROCESSED, "si_sdr").items()
    }
    best, median, worst = clips
    assert gains[best.piece, best.condition] == max(gains.values())
    assert gains[median.piece, median.condition] == sorted(gains.values())[1]
    assert gains[worst.piece, worst.condition] == min(gains.values())
    assert best.scores == {
        system: evaluation.values(system, "si_sdr")[best.piece, best.condition] for system in evaluation.systems
    }


def test_a_piece_that_is_gone_leaves_no_clip(evaluated: tuple[Evaluation, Cases]) -> None:
    evaluation, cases = evaluated
    gone = [replace(case, sources=(Path("gone.wav"),)) for case in cases.cases]
    assert cut_clips(evaluation, replace(cases, cases=gone), Settings([TINY_MODEL])) == []


@pytest.mark.parametrize("samples", [1, 1000, SAMPLE_RATE, 3 * SAMPLE_RATE, 9 * SAMPLE_RATE])
def test_the_loudest_moment_lies_within_the_piece(samples: int) -> None:
    waveform = np.zeros((2, 3 * SAMPLE_RATE), np.float32)
    waveform[:, 2 * SAMPLE_RATE :] = 1
    start = loudest(waveform, samples)
    assert 0 <= start <= max(0, waveform.shape[1] - samples)
    assert waveform[:, start : start + samples].any()
