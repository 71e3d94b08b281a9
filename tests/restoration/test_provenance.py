"""A result says how it was made, and a second run knows one that was made otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apollo.audio import info, read_metadata, write
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
    restored(tmp_path / "a.mp3", tmp_path / "b.flac", restorer, Output())
    tags = read_metadata(tmp_path / "b.flac").tags
    assert tags["restored_from"] == ("mp3 at 320 kbit/s",)
