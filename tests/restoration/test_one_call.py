"""One call restores what it is given, and the page that explains it is true."""

from __future__ import annotations

import doctest
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import apollo
from apollo.audio import write
from apollo.checkpoints import save_model
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer, one_call

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path, make_model: Callable[..., Apollo]) -> Path:
    save_model(make_model("residual"), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_paths_arrays_and_tensors_give_the_same_samples(tmp_path: Path, model: Path, music: np.ndarray) -> None:
    music = music[:, :60_000]
    expected = Restorer(apollo.load_model(model))(music)
    write(tmp_path / "song.wav", music, 44100, "FLOAT")
    for path in (tmp_path / "song.wav", str(tmp_path / "song.wav")):
        restored, sample_rate = apollo.restore(path, model=model)
        assert sample_rate == 44100
        assert np.array_equal(restored, expected)
    assert np.array_equal(apollo.restore(music, model=model), expected)
    tensor = apollo.restore(torch.from_numpy(music), 44100, str(model))
    assert torch.equal(tensor, torch.from_numpy(expected))


def test_options_reach_the_restorer(model: Path, music: np.ndarray) -> None:
    music = music[:, :60_000]
    options = {"chunk_seconds": 1, "precision": "bf16", "batch": 2, "mix": 0.3, "keep_below": 1000}
    expected = Restorer(apollo.load_model(model), **options)(music, 48000)  # type: ignore[arg-type]
    assert np.array_equal(apollo.restore(music, 48000, model, device="cpu", **options), expected)  # type: ignore[call-overload]


def test_model_is_loaded_once_unless_its_file_changes(
    model: Path, music: np.ndarray, make_model: Callable[..., Apollo], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    def counted(path: str, device: str) -> Apollo:
        loaded.append(path)
        return apollo.load_model(path, device)

    monkeypatch.setattr(one_call, "load_model", counted)
    first = apollo.restore(music[:, :5000], model=model)
    apollo.restore(music[:, :5000], model=model, mix=0.5)
    assert len(loaded) == 1
    save_model(make_model("direct"), model)
    assert not np.array_equal(apollo.restore(music[:, :5000], model=model), first)
    assert len(loaded) == 2


def test_a_file_has_a_sample_rate_of_its_own(tmp_path: Path, model: Path) -> None:
    with pytest.raises(ApolloError, match="leave out sample_rate"):
        apollo.restore(tmp_path / "song.wav", 44100, model)  # type: ignore[call-overload]


def test_the_page_on_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "dodgems-beat.mp3", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    results = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert results.attempted > 10
    assert not results.failed
