"""A compiled network restores the same, and where none can be compiled that is said."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import apollo.restoration.engine
from apollo.audio import write
from apollo.nn import Apollo
from apollo.restoration import Restorer, Task, compiling, pays_to_compile


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
@torch._dynamo.config.patch(recompile_limit=1)  # what more networks and blocks meet as well
def test_compiled_network_gives_the_same_samples(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    torch.compiler.reset()
    for model in (make_model("residual"), make_model("direct")):
        lengths = music, music[:, : 7 * music.shape[1] // 8]
        expected = [Restorer(model, 1)(part) for part in lengths]
        restorer = Restorer(model, 1)
        restorer.compile()
        counters.clear()
        for part, whole in zip(lengths, expected, strict=True):
            assert np.abs(restorer(part) - whole).max() <= 1e-5 * np.abs(whole).max()
            assert np.array_equal(Restorer(model, 1)(part), restorer(part))  # another one of the same network
        assert counters["stats"]["unique_graphs"] == 1  # one block, one length


def test_a_network_knows_that_it_is_compiled(
    make_model: Callable[..., Apollo], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[torch.device] = []
    monkeypatch.setattr(apollo.restoration.engine, "check_compiler", checked.append)
    model = make_model("residual")
    first, second = Restorer(model), Restorer(model)
    first.compile()
    second.compile()  # nothing is left to do
    assert [first.compiled, second.compiled, Restorer(model).compiled] == [True] * 3
    assert len(checked) == 1
    assert not Restorer(copy.deepcopy(model)).compiled  # PyTorch does not copy what is compiled


@pytest.mark.slow
def test_missing_compiler_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, music: np.ndarray, run_python: Callable[..., Any]
) -> None:
    write(tmp_path / "a.wav", music[:, :20_000], 44100)
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = ("-m", "apollo", "restore", "--force", "--compile", "on", tmp_path / "a.wav")
    run = run_python(*command, env=environment)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: PyTorch cannot compile for cpu here (")
    assert "Traceback" not in run.stderr
    assert run.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.flac"))


def test_compiling_pays_for_long_work_on_a_gpu_only(
    tmp_path: Path, music: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Task(tmp_path / name, tmp_path / "out.flac") for name in ("a.wav", "broken.wav", "b.wav")]
    for task in tasks:
        write(task.source, music[:, :44100], 44100)
    tasks[1].source.write_bytes(b"no sound")
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert not pays_to_compile(tasks, cuda)
    monkeypatch.setattr(compiling, "LONG", 2.0)
    assert pays_to_compile(tasks, cuda)
    assert not pays_to_compile(tasks[:2], cuda)
    assert not pays_to_compile(tasks, cpu)
