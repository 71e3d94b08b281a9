"""Objects in a store are restored as files are: whole or not at all, once, and nothing replaced unasked."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import soundfile

from apollo.atomic import discard_unfinished
from apollo.audio import read, read_metadata
from apollo.cli import main
from apollo.errors import AudioFileError
from apollo.storage import at_hand, place

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> Run:
    """Run `apollo restore`; nothing may stay in the temporary folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def restore(*arguments: object, with_model: object = model) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", "restore", "-m", str(with_model), *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        output = capsys.readouterr()
        assert not list((tmp_path / "tmp").glob("apollo-*"))
        assert "not-to-be-told" not in output.out + output.err
        assert str(tmp_path / "tmp") not in output.out + output.err
        return int(left.value.code or 0), output.out, output.err

    return restore


RESULTS = ["a.restored.flac", "b.restored.flac", "disc 2/歌 é.restored.flac"]


def samples(data: bytes | Path) -> bytes:
    content = soundfile.read(io.BytesIO(data) if isinstance(data, bytes) else data, dtype="int32")[0]
    return bytes(content.tobytes())


def test_bucket_is_restored_as_a_folder_is(
    store: Any, songs: Path, model: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.fill(songs, "songs/")
    store.put("music", "songs/.hidden.wav", b"")
    store.put("music", "songs/cover.jpg", b"")
    store.put("music", "model.safetensors", model.read_bytes())
    assert run(songs, "-o", tmp_path / "here")[0] == 0
    code, said, errors = run(
        "s3://music/songs",
        "-o",
        "s3://music/out/",
        "--json",
        "s3://music/r.json",
        with_model="s3://music/model.safetensors",
    )
    assert (code, errors) == (0, "")
    assert "s3://music/songs/a.wav → s3://music/out/a.restored.flac" in said
    assert "Restored 3 of 3 files." in said
    assert [key for key in store.keys("music") if key.startswith("out/")] == [f"out/{name}" for name in RESULTS]
    for name in RESULTS:
        assert samples(store.get("music", f"out/{name}")) == samples(tmp_path / "here" / name)
    report = json.loads(store.get("music", "r.json"))
    monkeypatch.setattr(sys, "argv", ["apollo", "report", "merge", "s3://music/r.json", "-o", "s3://music/all.json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(store.get("music", "all.json")) == report
    assert report["counts"]["restored"] == 3
    assert {file["source"] for file in report["files"]} == {
        f"s3://music/songs/{name}" for name in ("a.wav", "b.flac", "disc 2/歌 é.flac")
    }
    result = tmp_path / "a.flac"
    result.write_bytes(store.get("music", "out/a.restored.flac"))
    assert read_metadata(result).joined["title"] == "a.wav"

    # The same command has nothing left to do; other options want to be told that they may replace.
    command = ("s3://music/songs", "-o", "s3://music/out", "--json", "s3://music/r.json")
    store.uploads.clear()
    code, said, errors = run(*command)
    assert (code, errors, said.count("is finished already")) == (0, "", 3)
    code, said, errors = run(*command, "--mix", 0.5)
    assert (code, errors.count("use --overwrite")) == (1, 3)
    assert not store.uploads
    assert run(*command, "--mix", 0.5, "--overwrite")[0] == 0
    assert len(store.uploads) == 3


def test_each_end_may_be_here_or_there(store: Any, songs: Path, tmp_path: Path, run: Run) -> None:
    store.fill(songs)
    assert run("s3://music/a.wav", "-o", tmp_path / "a.flac")[0] == 0
    assert run(songs / "a.wav", "-o", "s3://music/b c.flac")[0] == 0
    assert run("s3://music/?.wav")[0] == 0
    assert run(f"file://{songs}/a.wav", "-o", f"file://{tmp_path}/file.flac")[0] == 0
    fsspec.filesystem("memory").pipe("/songs/a.wav", (songs / "a.wav").read_bytes())
    assert run("memory://songs/a.wav", "-o", "memory://out")[0] == 0
    expected = samples(tmp_path / "a.flac")
    assert expected == samples(tmp_path / "file.flac")
    assert expected == samples(store.get("music", "b c.flac"))
    assert expected == samples(store.get("music", "a.restored.flac"))
    assert expected == samples(fsspec.filesystem("memory").cat("/out/a.restored.flac"))
    assert fsspec.filesystem("memory").find("/out") == ["/out/a.restored.flac"]


def test_nothing_is_replaced_unasked(store: Any, songs: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("music", "a.wav", (songs / "a.wav").read_bytes())
    store.put("music", "a.restored.flac", b"mine")
    store.put("music", "r.json", b"mine")
    code, _, errors = run("s3://music/a.wav")
    assert (code, errors.count("\n")) == (1, 1)
    assert "s3://music/a.restored.flac exists already" in errors
    assert "s3://music/r.json exists already" in run("s3://music/a.wav", "--json", "s3://music/r.json")[2]
    assert "its own restoration" in run("s3://music/a.wav", "-o", "s3://music/a.wav", "--overwrite")[2]
    assert store.get("music", "a.restored.flac") == store.get("music", "r.json") == b"mine"
    assert run("s3://music/a.wav", "--overwrite")[0] == 0
    assert samples(store.get("music", "a.restored.flac"))


def test_result_that_appears_meanwhile_is_kept(
    store: Any, songs: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apollo.nn import Apollo

    forward = Apollo.forward

    def slow(self: Apollo, *arguments: Any) -> Any:
        store.put("music", "a.restored.flac", b"mine")
        return forward(self, *arguments)

    monkeypatch.setattr(Apollo, "forward", slow)
    store.put("music", "a.wav", (songs / "a.wav").read_bytes())
    code, _, errors = run("s3://music/a.wav")
    assert code == 1
    assert "s3://music/a.restored.flac exists already" in errors
    assert store.get("music", "a.restored.flac") == b"mine"


def test_run_that_is_killed_in_an_upload_leaves_nothing_half(
    store: Any, songs: Path, model: Path, tmp_path: Path, run: Run, start_fork: Callable[..., Any]
) -> None:
    store.fill(songs, "songs/")
    command = ("-m", "apollo", "restore", "s3://music/songs", "-o", "s3://music/out", "-m", model)
    for done in range(2):
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = start_fork(*command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        process.stdout.readline()
        if done:  # let one of them pass
            next(line for line in process.stdout if "→" in line)
        store.victim = process.pid
        assert process.wait() == -signal.SIGKILL
        assert [key for key in store.keys("music") if key.startswith("out/")] == [
            f"out/{name}" for name in RESULTS[:done]
        ]
    code, said, _ = run("s3://music/songs", "-o", "s3://music/out")
    assert code == 0
    assert said.count("is finished already") == 1
    assert [key for key in store.keys("music") if key.startswith("out/")] == [f"out/{name}" for name in RESULTS]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("s3://music/none.wav",), "there is no s3://music/none.wav"),
        (("s3://nowhere/a.wav",), "there is no s3://nowhere/a.wav"),
        (("s3://music/empty/",), "there is no s3://music/empty"),
        (("s3://music/*.mp4",), "nothing matches"),
        (("s3://music/a.wav", "-o", "s3://nowhere/out"), "there is no bucket s3://nowhere"),
        (("s3://music/a.wav", "--json", "s3://nowhere/r.json"), "there is no s3://nowhere/r.json"),
        (("s3://closed/a.wav",), "s3://closed/a.wav may not be accessed"),
        (("s3://music/a.wav", "-o", "s3://closed/out"), "s3://closed may not be accessed"),
        (("s3://music/a.wav", "--keep-times"), "--keep-times"),
        (("s3://key:not-to-be-told@music/a.wav",), "leave that out"),
        (("s3://music/a.wav?X-Amz-Signature=not-to-be-told",), "leave that out"),
        (("https://key:not-to-be-told@host/a.wav",), "known are s3://"),
        (("s3://",), "names no place"),
        (("gs://bucket/a.wav",), "pip install -c constraints.txt '.[gs]'"),
        (("az://bucket/a.wav",), "pip install -c constraints.txt '.[az]'"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    store: Any, songs: Path, run: Run, words: tuple[str, ...], sentence: str
) -> None:
    store.put("music", "a.wav", (songs / "a.wav").read_bytes())
    code, said, errors = run(*words)
    assert code == 1, said
    assert errors.count("\n") == 1
    assert sentence in errors
    assert store.keys("music") == ["a.wav"]


def test_bad_object_does_not_stop_the_others(store: Any, songs: Path, run: Run) -> None:
    store.put("music", "songs/0.wav", b"no sound")
    store.put("music", "songs/a.wav", (songs / "a.wav").read_bytes())
    code, said, errors = run("s3://music/songs", "-o", "s3://music/out")
    assert (code, errors.count("\n")) == (1, 1)
    assert "s3://music/songs/0.wav" in errors
    assert "Restored 1 of 2 files." in said


def test_names_in_a_bucket_lead_out_of_no_folder(store: Any, songs: Path, tmp_path: Path, run: Run) -> None:
    sound = (songs / "a.wav").read_bytes()
    for key in ("../up.wav", "x/../../up.wav", "//etc/root.wav", "a//b.wav", "a/b.wav", "\x1b[2J.wav"):
        store.put("music", f"songs/{key}", sound)
    out = tmp_path / "deep" / "out"
    code, said, errors = run("s3://music/songs", "-o", out)
    assert (code, errors) == (0, "")
    assert "\x1b" not in said
    assert {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*.flac")} == {("deep", "out")}


def test_lost_store_is_one_sentence(store: Any, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:not-to-be-told@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    code, _, errors = run("s3://music/a.wav")
    assert (code, errors.count("\n")) == (1, 1)
    assert "s3://music/a.wav cannot be reached" in errors


def test_path_inside_a_file_reaches_no_store(store: Any, songs: Path) -> None:
    store.put("music", "a.wav", (songs / "a.wav").read_bytes())
    with pytest.raises(AudioFileError, match="s3:/music"):
        read(Path("s3://music/a.wav"))
    with pytest.raises(AudioFileError, match="s3:/"):
        read("s3://music/a.wav")


def test_process_that_ends_early_can_take_its_copies_along(store: Any, songs: Path) -> None:
    store.put("music", "a.wav", (songs / "a.wav").read_bytes())
    with at_hand(place("s3://music/a.wav")) as copy:
        assert copy.read_bytes() == (songs / "a.wav").read_bytes()
        discard_unfinished()
        assert not copy.parent.exists()
