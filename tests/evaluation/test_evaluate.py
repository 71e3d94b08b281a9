import math
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from apollo.audio import write
from apollo.audio.codecs import degrade
from apollo.errors import ApolloError, DataError
from apollo.evaluation.cases import find_cases
from apollo.evaluation.evaluate import evaluate
from apollo.evaluation.results import PAIRS, UNPROCESSED, Condition, Evaluation
from apollo.evaluation.systems import Restorations, Settings, parse_restorations
from apollo.metrics import si_sdr

module = import_module("apollo.evaluation.evaluate")  # the package's own `evaluate` is the function

SAMPLE_RATE = 44_100
TINY_MODEL = str(Path(__file__).parents[1] / "golden" / "apollo-tiny.msst.ckpt")


@pytest.fixture
def folder(tmp_path: Path, chords: np.ndarray) -> Path:
    """Two originals, one of them mono and in a folder of its own."""
    (tmp_path / "music" / "deeper").mkdir(parents=True)
    soundfile.write(tmp_path / "music" / "stereo.flac", chords[:, :70_000].T, SAMPLE_RATE)
    soundfile.write(tmp_path / "music" / "deeper" / "mono.wav", chords[0, 60_000:], SAMPLE_RATE, subtype="FLOAT")
    return tmp_path / "music"


@pytest.fixture
def pairs(tmp_path: Path, chords: np.ndarray) -> Path:
    root = tmp_path / "pairs"
    for name, part in (("one", chords[:, :100_000]), ("two", chords[:, 30_000:])):
        for side, waveform in (("original", part), ("codec", degrade(part, SAMPLE_RATE, bitrate=48_000))):
            (root / side).mkdir(parents=True, exist_ok=True)
            soundfile.write(root / side / f"{name}.wav", waveform.T, SAMPLE_RATE, subtype="FLOAT")
    return root


def run(
    root: Path,
    *models: str,
    bitrates: tuple[int, ...] = (64,),
    workers: int = 1,
    restorations: Sequence[Restorations] = (),
    align: bool = True,
    **options: Any,
) -> Evaluation:
    settings = Settings(models, restorations, ("si_sdr",), workers, align=align)
    return evaluate(find_cases(root, ("mp3",), bitrates), settings, **options)


def test_scores_come_for_every_piece_condition_and_system(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    result = evaluate(
        find_cases(folder, ("mp3", "opus"), (64, 24)),
        Settings([TINY_MODEL], metrics=("si_sdr", "lsd")),
        progress=lambda done, total, piece: calls.append((done, total)),
    )
    assert [(s.piece, str(s.condition), s.system) for s in result.scores] == [
        (piece, f"{codec} {bitrate} kbit/s", system)
        for piece in ("deeper/mono.wav", "stereo.flac")
        for codec in ("MP3", "Opus")
        for bitrate in (24, 64)
        for system in (UNPROCESSED, TINY_MODEL)
    ]
    assert not result.failures
    assert calls == [(done, 8) for done in range(9)]
    # Random weights do nothing good, so the two systems cannot be mixed up.
    assert result.mean(TINY_MODEL, "si_sdr") < result.mean(UNPROCESSED, "si_sdr")


def test_unprocessed_scores_are_those_of_the_codec(folder: Path) -> None:
    original, _ = soundfile.read(folder / "stereo.flac", dtype="float32")
    expected = si_sdr(original.T, degrade(original.T, SAMPLE_RATE, codec="mp3", bitrate=48_000))
    result = run(folder / "stereo.flac", bitrates=(48,))
    assert result.mean(UNPROCESSED, "si_sdr") == pytest.approx(expected, abs=1e-6)


def test_worker_processes_give_the_same_scores(folder: Path) -> None:
    alone = run(folder, bitrates=(32, 128))
    spread = run(folder, bitrates=(32, 128), workers=2)
    assert spread.scores == alone.scores


def test_other_sample_rates_are_scored_at_44_kilohertz(tmp_path: Path, chords: np.ndarray) -> None:
    soundfile.write(tmp_path / "song.wav", chords.T, 48_000)
    assert run(tmp_path, bitrates=(128,)).mean(UNPROCESSED, "si_sdr") > 10


def test_a_broken_piece_is_listed_and_the_others_go_on(folder: Path) -> None:
    (folder / "broken.flac").write_bytes(b"not audio")
    result = run(folder)
    assert [failure.piece for failure in result.failures] == ["broken.flac"]
    assert "broken.flac" in result.failures[0].reason
    assert len(result.scores) == 2


def test_a_system_that_fails_leaves_the_others_their_scores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(module, "restored", failing)
    result = run(folder, TINY_MODEL)
    assert {failure.system for failure in result.failures} == {TINY_MODEL}
    assert {score.system for score in result.scores} == {UNPROCESSED}


def test_nothing_that_can_be_scored_is_an_error(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.flac").write_bytes(b"not audio")
    with pytest.raises(DataError, match="none of the 1 cases"):
        run(tmp_path / "bad")
    with pytest.raises(DataError, match="pesq"):
        evaluate(find_cases(folder, ("mp3",), (64,)), Settings(metrics=("pesq",)))
    with pytest.raises(DataError, match="two systems are called"):
        run(folder, TINY_MODEL, TINY_MODEL)


def test_a_missing_model_is_one_error_before_anything_starts(folder: Path) -> None:
    started: list[int] = []
    with pytest.raises(ApolloError):
        run(folder, str(folder / "none.ckpt"), progress=lambda done, total, piece: started.append(done))
    assert not started


def test_a_model_file_that_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.ckpt"
    model.write_bytes(Path(TINY_MODEL).read_bytes())
    run(folder / "stereo.flac", str(model))
    model.write_bytes(b"not a model")
    with pytest.raises(ApolloError):
        run(folder / "stereo.flac", str(model))


def test_pairs_are_scored_as_they_lie_and_a_wrong_one_is_listed(pairs: Path, chords: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (50_000, 2))
    soundfile.write(pairs / "original" / "wrong.wav", noise, SAMPLE_RATE)
    soundfile.write(pairs / "codec" / "wrong.wav", chords[:, :50_000].T, SAMPLE_RATE)
    soundfile.write(pairs / "original" / "lonely.wav", noise, SAMPLE_RATE)
    result = run(pairs, TINY_MODEL)
    assert result.conditions == [Condition(PAIRS)]
    assert result.pieces == ["original/one.wav", "original/two.wav"]
    reasons = {failure.piece: failure.reason for failure in result.failures}
    assert "not the same" in reasons["original/wrong.wav"]
    assert "no partner" in reasons["original/lonely.wav"]
    expected = si_sdr(chords[:, :100_000], degrade(chords[:, :100_000], SAMPLE_RATE, bitrate=48_000))
    found = result.values(UNPROCESSED, "si_sdr")["original/one.wav", Condition(PAIRS)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_restorations_of_other_tools_stand_in_the_same_table(pairs: Path, tmp_path: Path, chords: np.ndarray) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    # Later than the original, in another format, at another level, and one of them missing.
    late = np.pad(0.5 * chords[:, :100_000], ((0, 0), (1105, 0)))
    soundfile.write(folder / "one.restored.flac", late.T, SAMPLE_RATE, subtype="PCM_24")
    result = run(pairs, restorations=[parse_restorations(f"theirs={folder}")])
    assert result.systems == [UNPROCESSED, "theirs"]
    assert result.values("theirs", "si_sdr")["original/one.wav", Condition(PAIRS)] > 60
    assert [(failure.piece, failure.system) for failure in result.failures] == [("original/two.wav", "theirs")]
    assert "two" in result.failures[0].reason


def test_restorations_of_originals_lie_in_a_folder_for_each_condition(folder: Path, tmp_path: Path) -> None:
    for bitrate in (24, 64):
        shutil.copytree(folder, tmp_path / "perfect" / f"mp3-{bitrate}")
    result = run(folder, bitrates=(24, 64), restorations=[Restorations("perfect", tmp_path / "perfect")])
    assert not result.failures
    assert result.mean("perfect", "si_sdr") == 100


@pytest.mark.parametrize("text", ["theirs", "=x", "theirs=", "theirs=/nowhere/at/all"])
def test_restorations_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"NAME=FOLDER|no folder"):
        parse_restorations(text)


def test_what_is_kept_is_not_scored_again_and_the_rest_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "scores.jsonl"
    scored: list[tuple[str, str]] = []
    work = module._evaluate_one

    def counting(job: Any) -> Any:
        scored.extend((job.case.piece, system) for system in job.missing)
        return work(job)

    monkeypatch.setattr(module, "_evaluate_one", counting)
    first = run(folder, kept=kept)
    assert len(scored) == 2
    scored.clear()
    assert run(folder, kept=kept).scores == first.scores
    assert not scored
    # Another model is all that is new; a torn last line costs only itself.
    kept.write_text(kept.read_text()[:-10])
    both = run(folder, TINY_MODEL, kept=kept)
    assert sorted(scored) == [
        ("deeper/mono.wav", TINY_MODEL),
        ("stereo.flac", TINY_MODEL),
        ("stereo.flac", UNPROCESSED),
    ]
    assert both.scores == run(folder, TINY_MODEL).scores
    # A file that changed is another file.
    soundfile.write(folder / "stereo.flac", np.random.default_rng(0).normal(0, 0.1, (70_000, 2)), SAMPLE_RATE)
    scored.clear()
    changed = run(folder, kept=kept)
    assert scored == [("stereo.flac", UNPROCESSED)]
    assert changed.mean(UNPROCESSED, "si_sdr") != first.mean(UNPROCESSED, "si_sdr")


def test_a_stopped_evaluation_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scores.jsonl"

    def stop(done: int, total: int, piece: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, kept=kept, progress=stop)
    assert len(kept.read_text().splitlines()) == 1
    assert run(folder, kept=kept).scores == run(folder).scores


def test_values_that_are_not_defined_are_kept_as_such(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros((70_000, 2)), SAMPLE_RATE)
    kept = tmp_path / "scores.jsonl"
    for _ in range(2):
        (score,) = run(tmp_path, kept=kept).scores
        assert math.isnan(score.values["si_sdr"])


def test_what_was_aligned_is_told_and_can_be_left_out(pairs: Path, chords: np.ndarray) -> None:
    late = np.pad(degrade(chords[:, :100_000], SAMPLE_RATE, bitrate=48_000), ((0, 0), (1, 0)))
    soundfile.write(pairs / "codec" / "one.wav", late.T, SAMPLE_RATE, subtype="FLOAT")
    key = ("original/one.wav", Condition(PAIRS))
    aligned, literal = run(pairs), run(pairs, align=False)
    assert "1 of 2 pairs were aligned, by 0.02 ms (1.0 samples); most: original/one.wav" in aligned.notes
    assert any("--no-align" in note for note in literal.notes)
    expected = si_sdr(chords[:, :100_000], late[:, :100_000])
    assert literal.values(UNPROCESSED, "si_sdr")[key] == pytest.approx(expected, abs=1e-4)
    assert aligned.values(UNPROCESSED, "si_sdr")[key] > expected + 1
    assert any("none of 1 pairs had a lag" in note for note in run(pairs_of_one(pairs, "two")).notes)


def pairs_of_one(pairs: Path, name: str) -> Path:
    """The same folder with one pair left."""
    for side in ("original", "codec"):
        for path in (pairs / side).iterdir():
            if path.stem != name:
                path.unlink()
    return pairs


def test_scores_of_both_kinds_are_kept_apart(pairs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scores.jsonl"
    aligned = run(pairs, kept=kept)
    assert run(pairs, kept=kept, align=False).scores == run(pairs, align=False).scores
    again = run(pairs, kept=kept)
    assert (again.scores, again.notes) == (aligned.scores, aligned.notes)


def test_different_music_is_scored_where_nothing_is_aligned(pairs: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (50_000, 2))
    soundfile.write(pairs / "codec" / "one.wav", noise, SAMPLE_RATE)
    assert not run(pairs, align=False).failures


def test_originals_with_traces_of_a_codec_are_told(tmp_path: Path, chords: np.ndarray) -> None:
    loud = np.tile(chords, 4)
    soundfile.write(tmp_path / "song.flac", degrade(loud, SAMPLE_RATE, bitrate=64_000).T, SAMPLE_RATE)
    assert any("1 of 1 originals show traces of a lossy codec" in note for note in run(tmp_path).notes)


def test_originals_that_were_restored_are_told(tmp_path: Path, chords: np.ndarray) -> None:
    tags = {"restored_by": "Apollo 1.0", "restored_model": "m"}
    write(tmp_path / "song.flac", chords, SAMPLE_RATE, tags=tags)
    assert any("1 of 1 originals show" in note and "or were restored" in note for note in run(tmp_path).notes)
