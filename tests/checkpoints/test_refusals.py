"""What is not an Apollo model is refused with one sentence, and nothing in a file is ever run."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from apollo.checkpoints import load_model, to_published
from apollo.errors import ModelFileError
from apollo.nn import Apollo

DATA = Path(__file__).parents[1] / "golden"
UPSTREAM = DATA / "apollo-tiny.upstream.bin"


class Planted:
    """Unpickles by running a command that leaves a file behind."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.evidence}",)


def refusal(path: Path) -> str:
    """The error's message, after checking that it is one sentence about this file."""
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    return message


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("shape", ["zip", "old", "zip protocol 4", "pickle 0", "pickle 2", "pickle 4"])
def test_planted_code_is_named_and_not_run(tmp_path: Path, shape: str, nested: bool) -> None:
    evidence, path = tmp_path / "evidence", tmp_path / "model.ckpt"
    content: Any = Planted(evidence)
    if nested:
        tensors = {} if shape.startswith("pickle") else torch.load(UPSTREAM, weights_only=True)["state_dict"]
        content = {"epoch": 1, "state_dict": {**tensors, "extra": content}, "callbacks": {}}
    if shape.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(shape[-1])))
    else:
        protocol = 4 if shape.endswith("4") else 2
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=shape != "old")
    assert f"{os.system.__module__}.system" in refusal(path)
    assert not evidence.exists()


def test_planted_code_in_a_tar_is_not_run(tmp_path: Path) -> None:
    path, evidence = tmp_path / "model.tar", tmp_path / "evidence"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(Planted(evidence))
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    refusal(path)
    assert not evidence.exists()


def test_files_that_are_missing_damaged_or_something_else_are_refused(tmp_path: Path) -> None:
    whole = UPSTREAM.read_bytes()
    contents = {
        "empty.ckpt": b"",
        "text.ckpt": b"version https://git-lfs.github.com/spec/v1\n",
        "junk.safetensors": b"\x10\0\0\0\0\0\0\0{not json at all",
        "cut.ckpt": whole[:300_000],
        "cut.bin": whole[:-100],
        "wave.wav": b"RIFF\x24\0\0\0WAVEfmt " + bytes(1000),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        refusal(tmp_path / name)
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    assert "list" in refusal(tmp_path / "list.pt")
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    assert "no Apollo generator" in refusal(tmp_path / "other.pt")
    assert "there is no model file" in refusal(tmp_path / "missing.ckpt")
    assert "folder" in refusal(tmp_path)


def test_wrong_names_shapes_and_numbers_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    whole = to_published(Apollo(44100, 20, 16, 1))
    name = "net.0.band_net.output.weight"

    def saved(**changes: Any) -> str:
        torch.save(
            {
                **{key: value for key, value in whole.items() if key not in changes.get("drop", ())},
                **changes.get("add", {}),
            },
            path,
        )
        return refusal(path)

    assert f"lack {name!r}" in saved(drop=[name])
    assert "unknown 'net.0.surprise'" in saved(add={"net.0.surprise": torch.ones(1)})
    assert "lack 'net.1." in saved(add={"net.123456789.surprise": torch.ones(1)})
    assert "(8, 16)" in saved(add={name: torch.ones(8, 16, 1)})
    assert "'BN.5.1.weight'" in saved(add={"BN.5.1.weight": torch.ones(16, 3, 1)})
    assert "BN.0.1.weight" in saved(add={f"BN.{band}.1.weight": torch.ones(16) for band in range(80)})
    assert "contains NaN or infinity" in saved(add={name: torch.full((16, 16, 1), torch.nan)})
    assert "not a tensor of real numbers" in saved(add={name: 3})
    assert "rotary table" in saved(add={"net.0.band_net.cos_freq": torch.ones(100, 2)})


def test_configuration_that_contradicts_the_weights_is_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "model.pt", Apollo(44100, 20, 16, 1)
    for option, value in {"layer": 10**9, "feature_dim": 10**6, "win": 40, "sr": 10**12, "kernel_size": "x"}.items():
        torch.save({"config": {**model.config, option: value}, "state_dict": model.state_dict()}, path)
        refusal(path)
    torch.save({"config": {**model.config, "dilations": [1, 2]}, "state_dict": model.state_dict()}, path)
    assert "blocks.0.convolutions.2" in refusal(path)


def test_own_weights_without_configuration_are_refused_rather_than_guessed(tmp_path: Path) -> None:
    torch.save(Apollo(44100, 20, 16, 1).state_dict(), tmp_path / "bare.pt")
    assert "save_model" in refusal(tmp_path / "bare.pt")


def test_missing_default_model_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("apollo.checkpoints.loading.resources.files", lambda package: tmp_path)
    with pytest.raises(ModelFileError, match="no default model"):
        load_model("default")
