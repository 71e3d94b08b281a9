"""A result says how it was made, and a second run knows one that was made otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apollo import __version__
from apollo.audio import info, needs_restoration, read, read_metadata, write
from apollo.audio.inspection import inspect
from apollo.data.check import examine
from apollo.nn import Apollo
from apollo.restoration import Output, Restorer, Task, restore_files
from apollo.restoration.provenance import Provenance, fingerprint


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory, make_music: Callable[..., np.ndarray]) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.mp3"
    write(path, make_music(1.0), 44100, tags={"title": "T"}, bitrate=96_000)
    return path


def restored(song: Path, target: Path, restorer: Restorer, output: Output, model: str = "small") -> tuple[str, str]:
    (outcome,) = restore_files([Task(song, target)], restorer, output, model=model)
    return outcome.status, outcome.message


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".m4a", ".opus"])
def test_result_says_how_it_was_made(
    song: Path, tmp_path: Path, make_model: Callable[..., Apollo], suffix: str
) -> None:
    model = make_model("residual")
    target = tmp_path / f"a{suffix}"
    assert restored(song, target, Restorer(model), Output(), "models/small.bin")[0] == "restored"
    tags = info(target).tags
    assert tags["title"] == "T"
    assert tags["restored_by"].startswith("Apollo ")
    assert tags["restored_model"] == f"small.bin ({fingerprint(model)})"
    assert tags["restored_from"] == "mp3 at 96 kbit/s"
    assert "mix=1" in tags["restored_options"]
    assert Provenance.read(target) is not None
    assert Provenance.read(song) is None


def test_second_run_knows_what_was_made_otherwise(
    song: Path, tmp_path: Path, make_model: Callable[..., Apollo]
) -> None:
    model, target = make_model("residual"), tmp_path / "a.flac"
    assert restored(song, target, Restorer(model), Output())[0] == "restored"
    before = target.read_bytes()
    assert (
        restored(song, target, Restorer(model, chunk_seconds=5), Output(), "the same, called otherwise")[0]
        == "finished"
    )
    other = make_model("residual")
    next(other.parameters()).data += 1
    for restorer, output in (
        (Restorer(other), Output()),
        (Restorer(model, mix=0.5), Output()),
        (Restorer(model, keep_below=5000), Output()),
        (Restorer(model), Output(bits="16")),
        (Restorer(model), Output(clip="clamp")),
    ):
        status, message = restored(song, target, restorer, output)
        assert status == "failed"
        assert "was made with model small (" in message
        assert message.endswith("use --overwrite to replace it")
        assert "\n" not in message
    assert target.read_bytes() == before


def test_result_that_does_not_say_is_finished(song: Path, tmp_path: Path, make_model: Callable[..., Apollo]) -> None:
    model, target = make_model("residual"), tmp_path / "a.flac"
    write(target, np.zeros((2, 44100), np.float32), 44100)
    assert restored(song, target, Restorer(model), Output())[0] == "finished"


def test_same_weights_have_the_same_fingerprint(make_model: Callable[..., Apollo]) -> None:
    one, other = make_model("residual"), make_model("residual")
    assert fingerprint(one) == fingerprint(other)
    next(other.parameters()).data += 1e-3
    assert fingerprint(one) != fingerprint(other)


def test_result_of_a_result_tells_of_the_last_restoration(
    song: Path, tmp_path: Path, make_model: Callable[..., Apollo]
) -> None:
    restorer = Restorer(make_model("residual"))
    restored(song, tmp_path / "a.mp3", restorer, Output())
    list(restore_files([Task(tmp_path / "a.mp3", tmp_path / "b.flac")], restorer, Output(), force=True))
    tags = read_metadata(tmp_path / "b.flac").tags
    assert tags["restored_from"] == ("mp3 at 320 kbit/s",)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".m4a", ".opus"])
def test_result_is_passed_over_wherever_it_lies_unless_forced_and_is_no_original(
    song: Path, tmp_path: Path, make_model: Callable[..., Apollo], suffix: str
) -> None:
    restorer = Restorer(make_model("residual"))
    assert restored(song, tmp_path / f"a{suffix}", restorer, Output())[0] == "restored"
    moved = (tmp_path / f"a{suffix}").rename(tmp_path / f"another name{suffix}")
    history = f"restored by Apollo {__version__} from MP3 at 96 kbit/s"
    status, message = restored(moved, tmp_path / "again.flac", restorer, Output())
    assert status == "undamaged"
    assert message == f"{moved}: {history}: nothing more to restore"
    told = inspect(moved)
    assert told.verdict.sentence == f"{history}: nothing more to restore"
    assert told.as_json().items() >= {"lossy": True, "restored": True, "history": history}.items()
    assert examine(moved, None).lossy
    (forced,) = restore_files([Task(moved, tmp_path / "again.flac")], restorer, Output(), force=True)
    assert forced.status == "restored"


def test_result_below_the_rate_of_the_network_still_counts_as_coded(
    tmp_path: Path, make_music: Callable[..., np.ndarray], make_model: Callable[..., Apollo]
) -> None:
    write(tmp_path / "a.mp3", make_music(1.0)[:, ::2], 22050, bitrate=64_000)
    restorer = Restorer(make_model("residual"))
    assert restored(tmp_path / "a.mp3", tmp_path / "b.flac", restorer, Output(sample_rate="keep"))[0] == "restored"
    (forced,) = restore_files([Task(tmp_path / "b.flac", tmp_path / "c.flac")], restorer, Output(), force=True)
    assert info(forced.task.target).sample_rate == 44100


@pytest.mark.parametrize(
    ("by", "source", "history"),
    [
        ("Apollo 2.0", "pcm_s16le", "restored by Apollo 2.0 from pcm_s16le"),
        ("Apollo 2.0", "", "restored by Apollo 2.0"),
        ("me\x1b[31m", "a\nb", "restored by Apollo"),
    ],
)
def test_verdict_on_a_result_quotes_only_what_apollo_writes(tmp_path: Path, by: str, source: str, history: str) -> None:
    tags = {"restored_by": by, "restored_model": "m", "restored_from": source}
    write(tmp_path / "a.wav", np.zeros((2, 44100), np.float32), 44100, tags=tags)
    assert needs_restoration(tmp_path / "a.wav").history == history


def test_result_that_was_coded_again_is_damaged_anew(
    song: Path, tmp_path: Path, make_model: Callable[..., Apollo]
) -> None:
    restorer = Restorer(make_model("residual"))
    restored(song, tmp_path / "a.flac", restorer, Output())
    held, (waveform, rate) = read_metadata(tmp_path / "a.flac"), read(tmp_path / "a.flac")
    write(tmp_path / "b.mp3", waveform, rate, tags=held.joined, bitrate=64_000)
    assert Provenance.read(tmp_path / "b.mp3") is not None
    assert needs_restoration(tmp_path / "b.mp3").sentence == "lossy: MP3 at 64 kbit/s; `apollo restore` can help"
    assert examine(tmp_path / "b.mp3", None).lossy
