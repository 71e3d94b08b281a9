"""Whatever happens, a verb ends with one sentence, an exit code, and nothing that a name could make of the terminal."""

from __future__ import annotations

import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from apollo.cli import app, main
from apollo.cli.net import run
from apollo.cli.terminal import MANNER, MODEL

ROOT = Path(__file__).parents[2]
# A verb each, typed so that it reaches its own work, and what that begins with.
VERBS = {
    "restore": ("apollo.restoration.plan", ["restore", "song.mp3"]),
    "evaluate": ("apollo.evaluation.run.run_evaluation", ["evaluate", "songs"]),
    "benchmark": ("apollo.speed.benchmark.benchmark", ["benchmark"]),
    "inspect": ("apollo.audio.inspection.inspect", ["inspect", "song.mp3"]),
    "compare": ("apollo.player.look_at", ["compare", "examples/dodgems-beat.mp3", "x.mp3", "-o", "x.html"]),
    "web": ("apollo.web.serve", ["web"]),
    "report merge": ("apollo.cli.report.read", ["report", "merge", "a.json", "-o", "b.json"]),
    "models": ("apollo.checkpoints.hub.fetched", ["models"]),
    "train": ("apollo.training.train.train", ["train", "-c", "configs/apollo.yaml"]),
    "data check": ("apollo.data.check.check", ["data", "check", "songs"]),
    "data degrade": ("apollo.data.offline.degrade_folder", ["data", "degrade", "songs", "pairs"]),
    "data prepare": (
        "apollo.training.recipe.parse",
        ["data", "prepare", "-c", "configs/default-model-data.yaml", "shards"],
    ),
    "data stems": ("apollo.data.store_building.build_store", ["data", "stems", "a", "b", "--corpus", "musdb"]),
    "export paper": ("apollo.checkpoints.exporting.read_for_export", ["export", "paper", "-m", "default", "-o", "x"]),
    "export msst": ("apollo.checkpoints.exporting.read_for_export", ["export", "msst", "-m", "default", "-o", "x"]),
    "export onnx": ("apollo.checkpoints.exporting.read_for_export", ["export", "onnx", "-m", "default", "-o", "x"]),
    "export safetensors": (
        "apollo.checkpoints.exporting.read_for_export",
        ["export", "safetensors", "-m", "default", "-o", "x"],
    ),
}
SCRIPTS = {
    "train.py": ("apollo.training.train.train", ["-c", "configs/apollo.yaml"]),
    "inference.py": ("apollo.restoration.plan", ["--in_wav=a.wav", "--out_wav=b.wav"]),
    "generate_msst.py": ("apollo.checkpoints.exporting.read_for_export", ["-m", "default", "-o", "x"]),
}
FAULTS = [
    RuntimeError("a \x1b[2Jbug\nof two lines"),
    KeyError("key"),
    ValueError(),
    MemoryError(),
    OSError(28, "No space left on device", "a\x1b[2Jb"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
]


def faulty(error: BaseException) -> object:
    def raising(*arguments: object, **options: object) -> None:
        raise error

    return raising


def put(place: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a value into a module, which may share its name with something in its package."""
    module, _, name = place.rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), name, value)


def leave(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["apollo", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert isinstance(left.value.code, int)
    return left.value.code, capsys.readouterr().err


def assert_one_harmless_sentence(errors: str) -> None:
    assert re.fullmatch(r"Error: [^\n]+\n", errors), errors
    assert errors.removesuffix("\n").isprintable(), errors


def leaves(command: typer.Typer, path: str = "") -> list[str]:
    own = [f"{path}{(info.name or info.callback.__name__)}" for info in command.registered_commands if info.callback]
    groups = [(info.typer_instance, f"{path}{info.name} ") for info in command.registered_groups]
    return own + [name for group, prefix in groups if group for name in leaves(group, prefix)]


def test_no_verb_is_left_out() -> None:
    assert sorted(leaves(app)) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_what_nobody_foresaw_is_one_sentence_in_every_verb(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, words = VERBS[verb]
    monkeypatch.chdir(ROOT)
    for error in FAULTS:
        put(place, faulty(error), monkeypatch)
        code, errors = leave(words, monkeypatch, capsys)
        assert code == 1
        assert_one_harmless_sentence(errors)
        if not isinstance(error, MemoryError):
            assert "--debug" in errors


@pytest.mark.parametrize("script", SCRIPTS)
def test_and_in_the_predecessors_commands(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, words = SCRIPTS[script]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(place, faulty(RuntimeError("a bug")))
    monkeypatch.setattr(sys, "argv", [script, *words])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert left.value.code == 1
    assert_one_harmless_sentence(capsys.readouterr().err)


def test_debug_shows_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("apollo.checkpoints.hub.fetched", faulty(RuntimeError("a bug")))
    for words in (["--debug", "models"], ["models", "--debug"]):
        code, errors = leave(words, monkeypatch, capsys)
        assert code == 1
        assert "Traceback" in errors
        assert "in raising" in errors
        assert errors.splitlines()[-1].startswith("Error: ")
    assert MANNER.debug
    assert "Traceback" not in leave(["models"], monkeypatch, capsys)[1]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_typed_wrong_is_one_sentence_in_every_verb(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(MODEL, raising=False)
    command: Any = typer.main.get_command(app)
    for name in verb.split():
        command = command.commands[name]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    alone = [each.opts[-1] for each in options if not each.is_flag]
    misspelt = [f"{each.opts[-1]}x" for each in options if each.opts[-1].startswith("--")]
    for words in (["--nope"], ["-Z"], ["--evil\x1b[2J\u202e.mp3"], *([each] for each in (*alone[:2], *misspelt[:2]))):
        code, errors = leave([*verb.split(), *words], monkeypatch, capsys)
        assert code == 2, words
        assert_one_harmless_sentence(errors)
        assert errors.endswith(f"; see apollo {verb} --help\n")
        if words[0] in misspelt:
            assert f"{words[0].removesuffix('x')}" in errors.partition("did you mean")[2]


@pytest.mark.parametrize(
    ("line", "told"),
    {
        "restor x": "no such command 'restor' (did you mean 'restore', 'report'?); see apollo --help",
        "evil\x9b2J": r"no such command 'evil\x9b2J'; see apollo --help",
        "data chek": "no such command 'chek' (did you mean 'check'?); see apollo data --help",
        "inspect": "missing argument 'FILE'; see apollo inspect --help",
        "models x": "got unexpected extra argument(s) (x); see apollo models --help",
        "restore a --chunk \x1b]0;x\x07": "invalid value for '--chunk': it must be a number; see apollo restore --help",
        "restore a --workers x": "invalid value for '--workers': it must be a whole number; see apollo restore --help",
        "restore a --workers 0": "invalid value for '--workers': it must be 1 or more; see apollo restore --help",
        "web --port 70000": "invalid value for '--port': it must be 65535 or less; see apollo web --help",
        "data stems a b": "missing option '--corpus': choose from musdb, moisesdb, folders; "
        "see apollo data stems --help",
        "data stems a b --corpus x": "invalid value for '--corpus': 'x' is not one of 'musdb', 'moisesdb', 'folders'; "
        "see apollo data stems --help",
        "restore a --force=1": "option '--force' does not take a value; see apollo restore --help",
    }.items(),
)
def test_and_says_what_is_wrong_and_what_can_be_typed(
    line: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(line.split(" "), monkeypatch, capsys) == (2, f"Error: {told}\n")


def test_a_fault_in_a_thread_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_thread(*_: object) -> dict[str, Path]:
        thread = threading.Thread(target=faulty(OSError(28, "No space left on device")))  # type: ignore[arg-type]
        thread.start()
        thread.join()
        return {}

    monkeypatch.setattr("apollo.checkpoints.hub.fetched", with_thread)
    code, errors = leave(["models"], monkeypatch, capsys)
    assert code == 0
    assert re.fullmatch(r"Warning: [^\n]*No space left on device[^\n]*\n", errors)


def test_what_a_signal_makes_fail_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    def cut_short() -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RecursionError

    with pytest.raises(SystemExit) as left:
        run(cut_short)
    assert (left.value.code, capsys.readouterr().err) == (130, "Error: stopped before the end\n")


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_verb_with_one_sentence(number: str, start_fork: Callable[..., Any]) -> None:
    sent = getattr(signal, number)
    place, words = VERBS["models"]
    module, _, name = place.rpartition(".")
    program = f"""
import importlib, sys, time
import apollo.cli
def waiting(*arguments, **options):
    print("ready", flush=True)
    time.sleep(600)
setattr(importlib.import_module({module!r}), {name!r}, waiting)
sys.argv = ["apollo", *{words!r}]
apollo.cli.main()
"""
    process = start_fork("-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, sent)
    _, errors = process.communicate()
    assert process.returncode == 128 + sent
    assert_one_harmless_sentence(errors)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["models"], ["inspect", "examples/singing.mp3", "--json", "-"]])
def test_a_full_standard_output_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, errors = leave(words, monkeypatch, capsys)
    assert code == 1
    assert_one_harmless_sentence(errors)
    assert errors.startswith("Error: standard output takes no more (No space left on device)")


@pytest.mark.parametrize("words", [["restore", ""], ["inspect", ""], ["compare", "", "b.mp3", "-o", "c.html"]])
def test_an_empty_name_is_no_folder(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, errors = leave(words, monkeypatch, capsys)
    assert code == 1
    assert_one_harmless_sentence(errors)
    assert "an empty name" in errors


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
def test_nohup_keeps_a_run_alive_when_its_terminal_is_closed(start_fork: Callable[..., Any]) -> None:
    program = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
from apollo.cli.net import run
run(lambda: os.kill(os.getpid(), signal.SIGHUP))
"""
    assert start_fork("-c", program).wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="closes a terminal")
def test_a_closed_terminal_ends_a_run_and_leaves_no_half_written_file(
    start_fork: Callable[..., Any], tmp_path: Path
) -> None:
    program = f"""
import time
from pathlib import Path
from apollo.atomic import replacing
from apollo.cli.net import run

def work():
    with replacing(Path({str(tmp_path / "half")!r})) as temporary:
        temporary.write_text("half")
        print("begun", flush=True)
        time.sleep(600)

run(work)
"""
    watched, terminal = os.openpty()
    process = start_fork("-c", program, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    assert os.read(watched, 100).startswith(b"begun")
    os.close(watched)
    process.send_signal(signal.SIGHUP)  # as the system does to all that a terminal has started
    assert process.wait() == 128 + signal.SIGHUP
    assert list(tmp_path.iterdir()) == []
