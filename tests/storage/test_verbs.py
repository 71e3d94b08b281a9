"""Verbs that only look take URLs as well, and those that take none say so."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from apollo.cli import app
from apollo.cli.data import app as data
from apollo.cli.export import app as export
from apollo.cli.report import app as report
from apollo.drivers import reached
from apollo.errors import ApolloError
from apollo.storage import here

Run = Callable[..., tuple[int, str, str]]


def test_inspect_tells_of_objects_what_it_tells_of_files(store: Any, songs: Path, run: Run) -> None:
    store.fill(songs, "songs/")
    told = []
    for root in (songs, "s3://music/songs"):
        code, said, errors = run("inspect", root, "--json")
        assert (code, errors) == (0, "")
        told.append([{**each, "file": each["file"].removeprefix(f"{root}/")} for each in json.loads(said)])
    assert told[0] == told[1]
    code, said, errors = run("inspect", "s3://music/songs/a.wav", "s3://music/none.wav")
    assert code == 1
    assert said.startswith("s3://music/songs/a.wav\n")
    assert "there is no s3://music/none.wav" in errors


def test_inspect_names_the_object_that_is_damaged(store: Any, songs: Path, run: Run) -> None:
    damaged = bytearray((songs / "b.flac").read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 200] = bytes(200)
    store.put("music", "b.flac", bytes(damaged))
    _, said, errors = run("inspect", "s3://music/b.flac")
    assert "s3://music/b.flac" in errors
    assert said


def test_data_check_looks_at_a_bucket(store: Any, songs: Path, run: Run) -> None:
    store.fill(songs, "songs/")
    store.put("music", "songs/cover.jpg", b"")
    rows = []
    for root in (songs, "s3://music/songs"):
        code, said, _ = run("data", "check", root, "--json")
        assert code == 0
        rows.append([{**row, "original": row["original"].removeprefix(f"{root}/")} for row in json.loads(said)])
    assert rows[0] == rows[1]


def test_compare_takes_a_recording_here_and_one_there(store: Any, songs: Path, tmp_path: Path, run: Run) -> None:
    store.put("music", "b.flac", (songs / "b.flac").read_bytes())
    code, said, errors = run("compare", songs / "b.flac", "s3://music/b.flac", "-o", tmp_path / "b.html")
    assert (code, errors) == (0, "")
    assert "s3://music/b.flac" in said
    assert (tmp_path / "b.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "error",
    [  # as the drivers and stores of Azure and Google say it
        ValueError("unable to connect: Must provide either a connection_string or account_name with credentials!!"),
        OSError("Forbidden: https://storage.googleapis.com/music"),
        RuntimeError("Operation returned an invalid status 'Server failed to authenticate the request.'"),
        RuntimeError("Anonymous caller does not have storage.objects.list access to the bucket., 401"),
    ],
)
def test_missing_credentials_are_told_as_such(error: Exception) -> None:
    with (
        pytest.raises(ApolloError, match="gs://music may not be accessed: check the credentials"),
        reached("memory", "gs://music"),
    ):
        raise error


def test_what_drivers_log_does_not_reach_the_terminal() -> None:
    names = ["adlfs", "azure.core", "botocore", "fsspec", "gcsfs.retry", "google.auth", "huggingface_hub", "s3fs"]
    program = f"import logging, apollo.storage\nfor name in {names}: logging.getLogger(name).error('traceback')"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "words",
    [
        ("data", "stems", "--corpus", "folders", "s3://music/songs", "store"),
        ("data", "degrade", "s3://music/songs", "pairs"),
        ("compare", "a.wav", "b.wav", "-o", "s3://music/a.html"),
        ("export", "safetensors", "-m", "default", "-o", "gs://music/model.safetensors"),
        ("train", "-c", "s3://music/config.yaml"),
    ],
)
def test_what_is_of_this_machine_alone_says_so(run: Run, words: tuple[str, ...]) -> None:
    code, _, errors = run(*words)
    assert (code, errors.count("\n")) == (1, 1)
    assert "is in a store, and only what is on this machine will do here" in errors
    code, _, errors = run(*(word.replace("music/", "key:not-to-be-told@music/") for word in words))
    assert "leave that out" in errors


def test_every_path_on_the_command_line_refuses_urls() -> None:
    commands = [each for group in (app, data, export, report) for each in group.registered_commands]
    found = 0
    for command in commands:
        assert command.callback is not None
        for name, hint in typing.get_type_hints(command.callback, include_extras=True).items():
            told = getattr(hint, "__metadata__", ())
            if Path in (typing.get_args(hint)[:1] + typing.get_args(typing.get_args(hint)[0]) if told else ()):
                assert isinstance(told[0], (typer.models.ArgumentInfo, typer.models.OptionInfo))
                assert told[0].parser is here, f"{command.callback.__name__}: {name}"
                found += 1
    assert found > 10
