"""Objects in a store are evaluated as files are, and what was scored is neither fetched nor scored again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apollo.audio import degrade, read, write

Run = Callable[..., tuple[int, str, str]]

AFTER_EACH_CASE = """
from apollo.evaluation import scorebook
from apollo.cli import main
scorebook.UPLOADS = 1e9  # however long an upload takes
main()
"""
QUICK = ("--metrics", "si_sdr,lsd", "--bitrates", "64", "--workers", "1")


def scores(report: bytes) -> list[Any]:
    found: list[Any] = json.loads(report)["scores"]
    return [{**score, "system": score["system"].rpartition("/")[2]} for score in found]


@pytest.fixture
def coded(songs: Path, tmp_path: Path) -> Path:
    """What MP3 makes of the songs, under the same names."""
    for path in songs.rglob("*.*"):
        target = tmp_path / "coded" / path.relative_to(songs).with_suffix(".wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, degrade(read(path)[0], 44100, "mp3", 32_000), 44100)
    return tmp_path / "coded"


def test_bucket_is_evaluated_as_a_folder_is(store: Any, songs: Path, model: Path, tmp_path: Path, run: Run) -> None:
    store.fill(songs, "songs/")
    store.put("music", "model.safetensors", model.read_bytes())
    assert run("evaluate", songs, "-m", model, "-o", tmp_path / "here", *QUICK)[0] == 0
    command = (
        *("evaluate", "s3://music/songs", "-m", "s3://music/model.safetensors", "-o", "s3://music/report"),
        *QUICK,
    )
    code, said, errors = run(*command)
    assert (code, errors) == (0, "")
    assert "s3://music/report/report.html" in said
    kept = [key for key in store.keys("music") if key.startswith("report/")]
    assert {key.removeprefix("report/") for key in kept} == {path.name for path in (tmp_path / "here").iterdir()}
    report = store.get("music", "report/report.json")
    assert scores(report) == scores((tmp_path / "here" / "report.json").read_bytes())
    assert json.loads(report)["source"] == "s3://music/songs"

    # What is scored already is not scored again.
    book = store.get("music", "report/scores.jsonl")
    assert run(*command)[0] == 0
    assert store.get("music", "report/scores.jsonl") == book

    # An object that has changed is scored anew.
    changed = read(songs / "a.wav")[0][:, ::-1]
    write(tmp_path / "a.wav", changed, 44100)
    store.put("music", "songs/a.wav", (tmp_path / "a.wav").read_bytes())
    assert run(*command)[0] == 0
    assert len(store.get("music", "report/scores.jsonl").splitlines()) > len(book.splitlines())

    merge = ("report", "merge", "s3://music/report/report.json", "-o", "s3://music/merged")
    assert run(*merge)[0] == 0
    assert scores(store.get("music", "merged/report.json")) == scores(store.get("music", "report/report.json"))
    assert "s3://music/merged/scores.csv exists already" in run(*merge)[2]


def test_what_was_scored_is_not_fetched(store: Any, songs: Path, run: Run) -> None:
    from apollo.evaluation import Settings, evaluate, find_cases
    from apollo.evaluation.scorebook import kept_in
    from apollo.storage import place

    store.fill(songs, "songs/")
    for expected in (3, 0):
        store.downloads.clear()
        with kept_in(place("s3://music/report")) as (kept, keep):
            cases = find_cases(place("s3://music/songs"), ("mp3",), (64,))
            found = evaluate(cases, Settings(metrics=("si_sdr",)), kept=kept, progress=lambda *_: keep())
        assert len(found.scores) == 3
        assert sum(name.startswith("/music/songs/") for name in store.downloads) == expected


@pytest.mark.parametrize("there", [(True, True), (True, False)])
def test_each_side_of_pairs_may_be_here_or_there(
    store: Any, songs: Path, coded: Path, tmp_path: Path, run: Run, there: tuple[bool, bool]
) -> None:
    store.fill(songs, "left/")
    store.fill(coded, "right/")
    original, damaged = (
        f"s3://music/{name}" if far else folder
        for far, name, folder in zip(there, ("left", "right"), (songs, coded), strict=True)
    )
    files = ("evaluate", "--original", songs, "--damaged", coded, "-o", tmp_path / "here")
    objects = ("evaluate", "--original", original, "--damaged", damaged, "-o", tmp_path / "there")
    files = (*files, "--restored", f"theirs={songs}")
    objects = (*objects, "--restored", "theirs=s3://music/left")
    assert run(*files, *QUICK)[0] == run(*objects, *QUICK)[0] == 0
    here, far = ((tmp_path / name / "report.json").read_bytes() for name in ("here", "there"))
    assert len(scores(here)) == 4 * 3
    assert scores(here) == scores(far)


@pytest.mark.parametrize("layout", ["folders", "songs", "stems"])
def test_layouts_are_told_by_what_lies_in_the_bucket(
    store: Any, songs: Path, coded: Path, tmp_path: Path, run: Run, layout: str
) -> None:
    names = {
        "folders": ("original/a.wav", "codec/a.wav"),
        "songs": ("a/original.wav", "a/codec.wav"),
        "stems": ("a/vocals.wav", "a/drums.wav"),
    }[layout]
    for name, path in zip(names, (songs / "a.wav", coded / "a.wav"), strict=True):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music" / name).write_bytes(path.read_bytes())
    store.fill(tmp_path / "music", "set/")
    told = []
    for root in (tmp_path / "music", "s3://music/set"):
        code, said, errors = run("evaluate", root, "-o", tmp_path / f"report{len(told)}", *QUICK)
        assert (code, errors) == (0, "")
        told.append(said.partition("\n")[0].removeprefix(str(root)))
    assert told[0] == told[1]
    reports = [(tmp_path / f"report{number}" / "report.json").read_bytes() for number in range(2)]
    assert scores(reports[0]) == scores(reports[1])


def test_evaluation_that_is_killed_in_an_upload_goes_on(
    store: Any, songs: Path, tmp_path: Path, run: Run, start_fork: Callable[..., Any]
) -> None:
    store.watched, store.spared = "scores.jsonl", 1
    store.fill(songs, "songs/")
    command = ["evaluate", "s3://music/songs", "-o", "s3://music/report", "-m", "default", *QUICK]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = start_fork("-c", AFTER_EACH_CASE, *command, stdout=subprocess.DEVNULL, env=environment)
    store.victim = process.pid
    assert process.wait() == -signal.SIGKILL
    assert store.keys("music")[0] == "report/scores.jsonl"
    book = store.get("music", "report/scores.jsonl")
    assert book.endswith(b"\n")
    assert "report/report.json" not in store.keys("music")
    assert run(*command)[0] == 0
    assert store.get("music", "report/scores.jsonl").startswith(book)
    assert len(scores(store.get("music", "report/report.json"))) == 3 * 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("s3://music/none",), "there is no folder s3://music/none"),
        (("s3://nowhere/songs",), "there is no folder s3://nowhere/songs"),
        (("s3://closed/songs",), "s3://closed/songs may not be accessed"),
        (("s3://music/songs", "-o", "s3://nowhere/report"), "there is no bucket s3://nowhere"),
        (("s3://music/songs", "-o", "s3://music/mine"), "s3://music/mine/scores.csv exists already"),
        (("s3://music/songs", "-m", "s3://music/none.ckpt"), "there is no s3://music/none.ckpt"),
        (("s3://music/songs", "--restored", "other=s3://music/none"), "there is no folder s3://music/none"),
        (("s3://music/songs", "--restored", "other=s3://key:not-to-be-told@music/songs"), "leave that out"),
        (("s3://key:not-to-be-told@music/songs",), "leave that out"),
        (("--original", "s3://music/songs", "--damaged", "s3://music/songs/"), "cannot hold both"),
        (("--original", "s3://music/songs", "--damaged", "s3://music/mine"), "s3://music/mine holds no audio files"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    store: Any, songs: Path, run: Run, words: tuple[str, ...], sentence: str
) -> None:
    store.put("music", "songs/a.wav", (songs / "a.wav").read_bytes())
    store.put("music", "mine/scores.csv", b"mine")
    code, said, errors = run("evaluate", *words, *QUICK)
    assert code == 1, said
    assert errors.count("\n") == 1
    assert sentence in errors
    assert sorted(store.keys("music")) == ["mine/scores.csv", "songs/a.wav"]


def test_bad_object_is_told_by_its_url(store: Any, songs: Path, run: Run) -> None:
    store.put("music", "songs/0.wav", b"no sound")
    store.put("music", "songs/a.wav", (songs / "a.wav").read_bytes())
    code, said, errors = run("evaluate", "s3://music/songs", *QUICK)
    assert (code, errors) == (1, "")
    assert "s3://music/songs/0.wav" in said
