"""`--json FILE` means the same in every verb that has it, and `-` is standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apollo.audio import write
from apollo.checkpoints import save_model
from apollo.cli import main
from apollo.nn import Apollo
from apollo.speed import measuring

VERBS = ("restore", "inspect", "data check", "benchmark")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Each verb with what it needs; its work fails for no file."""
    monkeypatch.setattr(measuring, "PRODUCT", (80, 256, 2048))  # `benchmark` compares with products of matrices
    song, model = tmp_path / "song.wav", tmp_path / "tiny.safetensors"
    write(song, 0.1 * np.random.default_rng(0).standard_normal((1, 30_000)), 44_100)
    sizes = {"feature_dim": 16, "layer": 1, "expansion": 2, "heads": 2, "kernel_size": 3, "dilations": [1]}
    save_model(Apollo(win=40, output="residual", **sizes), model)
    measured = ("--chunk", "1", "--batch", "1", "--precision", "32", "--device", "cpu")
    return {
        "restore": ["restore", str(song), "-m", str(model), "--force", "--overwrite"],
        "inspect": ["inspect", str(song)],
        "data check": ["data", "check", str(song.parent)],
        "benchmark": ["benchmark", "-m", str(model), *measured],
    }


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return (int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_is_written_beside_what_is_told_and_replaced_only_if_asked(
    verb: str, words: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    target = tmp_path / "results.json"
    code, said, errors = run(*words[verb], "--json", target)
    assert (code, errors, len(said) > 0) == (0, "", True)
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content
    target.write_text("mine")
    given = [word for word in words[verb] if word != "--overwrite"]
    code, _, errors = run(*given, "--json", target)
    assert (code, errors.count("\n"), "results.json exists already" in errors) == (1, 1, True)
    assert target.read_text() == "mine"
    assert run(*given, "--json", target, "--overwrite")[0] == 0
    assert json.loads(target.read_text(encoding="utf-8")).__class__ is content.__class__


@pytest.mark.parametrize("verb", VERBS)
def test_standard_output_holds_json_and_nothing_else(verb: str, words: dict[str, list[str]], run: Run) -> None:
    code, said, _ = run(*words[verb], "--json", "-")
    assert code == 0
    assert json.loads(said)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("name", "told"), [("folder.json", "is a folder"), ("song.wav", "ends in .json, not")])
def test_a_name_that_cannot_be_written_is_refused_before_the_work(
    verb: str, name: str, told: str, words: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    (tmp_path / "folder.json").mkdir()
    before = sorted(tmp_path.iterdir())
    code, said, errors = run(*words[verb], f"--json={tmp_path / name}")
    assert (code, said, errors.count("\n")) == (1, "", 1)
    assert told in errors
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", ["inspect", "data check"])
def test_alone_it_is_standard_output_and_takes_no_path_for_its_value(
    verb: str, words: dict[str, list[str]], run: Run, tmp_path: Path
) -> None:
    *name, path = words[verb]
    song = (tmp_path / "song.wav").read_bytes()
    expected = json.loads(run(*words[verb], "--json", "-")[1])
    assert json.loads(run(*name, "--json", path)[1]) == expected
    assert json.loads(run(*name, path, "--json")[1]) == expected
    assert json.loads(run(*name, "--json", "--", path)[1]) == expected
    assert (tmp_path / "song.wav").read_bytes() == song


def test_results_are_told_to_standard_output_again_by_the_next_command(words: dict[str, list[str]], run: Run) -> None:
    run(*words["inspect"], "--json", "-")
    assert "Verdict" in run(*words["inspect"])[1]
