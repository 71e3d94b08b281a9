from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio.codecs import degrade
from apollo.errors import ApolloError, DataError
from apollo.evaluation.evaluate import evaluate, find_originals
from apollo.evaluation.metrics import si_sdr
from apollo.evaluation.results import UNPROCESSED

SAMPLE_RATE = 44_100
TINY_MODEL = str(Path(__file__).parents[1] / "golden" / "apollo-tiny.msst.ckpt")


@pytest.fixture
def folder(tmp_path: Path, music: np.ndarray) -> Path:
    """Two originals, one of them mono and in a folder of its own."""
    (tmp_path / "deeper").mkdir()
    soundfile.write(tmp_path / "stereo.flac", music[:, :70_000].T, SAMPLE_RATE)
    soundfile.write(tmp_path / "deeper" / "mono.wav", music[0, 60_000:], SAMPLE_RATE, subtype="FLOAT")
    return tmp_path


def test_scores_come_for_every_piece_bitrate_and_system(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    result = evaluate(
        find_originals(folder),
        [TINY_MODEL],
        bitrates=(64, 24),
        metrics=("si_sdr", "lsd"),
        workers=1,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [(s.piece, s.bitrate, s.system) for s in result.scores] == [
        (piece, bitrate, system)
        for piece in ("deeper/mono.wav", "stereo.flac")
        for bitrate in (24, 64)
        for system in (UNPROCESSED, TINY_MODEL)
    ]
    assert not result.failures
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    # Random weights do nothing good, so the two systems cannot be mixed up.
    for bitrate in (24, 64):
        assert result.mean(TINY_MODEL, bitrate, "si_sdr") < result.mean(UNPROCESSED, bitrate, "si_sdr")


def test_unprocessed_scores_are_those_of_the_codec(folder: Path, music: np.ndarray) -> None:
    (original, _) = soundfile.read(folder / "stereo.flac", dtype="float32")
    expected = si_sdr(original.T, degrade(original.T, SAMPLE_RATE, codec="mp3", bitrate=48_000))
    result = evaluate([folder / "stereo.flac"], bitrates=(48,), metrics=("si_sdr",), workers=1)
    assert result.mean(UNPROCESSED, 48, "si_sdr") == pytest.approx(expected, abs=1e-6)


def test_worker_processes_give_the_same_scores(folder: Path) -> None:
    originals = find_originals(folder)
    alone = evaluate(originals, bitrates=(32, 128), metrics=("si_sdr",), workers=1)
    spread = evaluate(originals, bitrates=(32, 128), metrics=("si_sdr",), workers=2)
    assert spread.scores == alone.scores


def test_other_sample_rates_are_scored_at_44_kilohertz(tmp_path: Path, music: np.ndarray) -> None:
    soundfile.write(tmp_path / "song.wav", music.T, 48_000)
    result = evaluate([tmp_path / "song.wav"], bitrates=(128,), metrics=("si_sdr",), workers=1)
    assert result.mean(UNPROCESSED, 128, "si_sdr") > 10


def test_a_broken_piece_is_listed_and_the_others_go_on(folder: Path) -> None:
    (folder / "broken.flac").write_bytes(b"not audio")
    result = evaluate(find_originals(folder), bitrates=(64,), metrics=("si_sdr",), workers=1)
    assert [failure.piece for failure in result.failures] == ["broken.flac"]
    assert "broken.flac" in result.failures[0].reason
    assert len(result.scores) == 2


def test_nothing_to_evaluate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        find_originals(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("no music")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    with pytest.raises(DataError, match="no audio file"):
        find_originals(tmp_path)
    (tmp_path / "broken.flac").write_bytes(b"not audio")
    with pytest.raises(DataError, match="None of the 1 pieces"):
        evaluate(find_originals(tmp_path), workers=1)
    with pytest.raises(DataError, match="no metric 'pesq'"):
        evaluate(find_originals(tmp_path), metrics=("pesq",))


def test_a_missing_model_is_one_error_before_anything_starts(folder: Path) -> None:
    started: list[int] = []
    with pytest.raises(ApolloError):
        evaluate(find_originals(folder), [str(folder / "none.ckpt")], progress=lambda done, total: started.append(done))
    assert not started


def test_a_model_file_that_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.ckpt"
    model.write_bytes(Path(TINY_MODEL).read_bytes())
    options = {"bitrates": (64,), "metrics": ("si_sdr",), "workers": 1}
    evaluate([folder / "stereo.flac"], [str(model)], **options)
    model.write_bytes(b"not a model")
    with pytest.raises(ApolloError):
        evaluate([folder / "stereo.flac"], [str(model)], **options)
