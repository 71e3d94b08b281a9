"""What is exported is what other tools read: same names, same shapes, same samples, and nothing half written."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open

from apollo.checkpoints import from_published, load_model, save_model, to_published
from apollo.checkpoints.exporting import msst_names
from apollo.cli import main
from apollo.nn import Apollo

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
LIGHTNING = GOLDEN / "apollo-tiny.lightning.ckpt"
UPSTREAM = GOLDEN / "apollo-tiny.upstream.bin"
MSST = GOLDEN / "apollo-tiny.msst.ckpt"
MODEL = "model: {_target_: look2hear.models.apollo.Apollo, sr: 44100, win: 20, feature_dim: 32, layer: 2}\n"

# As MSST's users have it on disk, key by key.
YAML = """\
audio:
  chunk_size: 441000
  min_mean_abs: 0.0
  num_channels: 2
  sample_rate: 44100
augmentations:
  enable: false
inference:
  batch_size: 1
  num_overlap: 4
model:
  feature_dim: 32
  layer: 2
  sr: 44100
  win: 20
training:
  batch_size: 1
  coarse_loss_clip: true
  grad_clip: 0
  instruments:
  - restored
  - addition
  lr: 1.0
  num_epochs: 1000
  num_steps: 1000
  optimizer: prodigy
  patience: 2
  q: 0.95
  reduce_factor: 0.95
  target_instrument: restored
  use_amp: true
"""

Export = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def export(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Run `apollo export` in an empty folder; give its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        if left.value.code:
            assert re.fullmatch(r"Error: [^\n]+\n", said.err), said.err
        return int(left.value.code or 0), said.err if left.value.code else said.out

    return run


def residual(path: Path) -> Path:
    save_model(Apollo(44100, 20, 16, 1, output="residual"), path)
    return path


def assert_golden(path: Path) -> None:
    golden = np.load(GOLDEN / "apollo-tiny.golden.npz")
    with torch.inference_mode():
        output = load_model(path)(torch.from_numpy(golden["input"])[None])[0]
    expected = torch.from_numpy(golden["output"])
    assert (output - expected).abs().max() <= 1e-5 * expected.abs().max()


def layout(content: Any) -> Any:
    """What a reader sees of a file but the numbers: keys, and types, shapes and kinds of what is under them."""
    if isinstance(content, dict):
        return {key: layout(value) for key, value in content.items()}
    if isinstance(content, torch.Tensor):
        return (tuple(content.shape), content.dtype)
    return type(content)


def assert_same_weights(exported: dict[str, torch.Tensor], published: dict[str, torch.Tensor]) -> None:
    for name, tensor in published.items():
        # The rotary tables are constants, which we compute in a higher precision than the published code did.
        torch.testing.assert_close(exported[name], tensor, rtol=0, atol=1e-6 if "_freq" in name else 0)


@pytest.mark.parametrize("source", [LIGHTNING, UPSTREAM, MSST])
def test_msst_gets_the_very_file_that_it_knows(export: Export, tmp_path: Path, source: Path) -> None:
    assert export("msst", "-m", source, "-o", "msst")[0] == 0
    exported = torch.load(tmp_path / "msst" / "model_apollo.ckpt", weights_only=True)
    known = torch.load(MSST, weights_only=True)
    assert layout(exported) == layout(known)
    assert exported["config"] == known["config"]
    assert_same_weights(exported["state_dict"], known["state_dict"])
    assert (tmp_path / "msst" / "config_apollo.yaml").read_text() == YAML
    assert_golden(tmp_path / "msst" / "model_apollo.ckpt")


def test_files_as_the_predecessors_programs_write_them_are_exported(
    export: Export, tmp_path: Path, predecessors_file: Path
) -> None:
    for form, target in (("safetensors", "model.safetensors"), ("paper", "model.bin"), ("msst", ".")):
        assert export(form, "-m", predecessors_file, "-o", target)[0] == 0
    for name in ("model.safetensors", "model.bin", "model_apollo.ckpt"):
        assert_golden(tmp_path / name)


def test_the_papers_code_gets_the_very_file_that_it_knows(export: Export, tmp_path: Path) -> None:
    assert export("paper", "-m", MSST, "-o", "pytorch_model.bin")[0] == 0
    exported = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    known = torch.load(UPSTREAM, weights_only=True)
    assert layout(exported) == layout(known)
    assert (exported["model_name"], exported["model_args"]) == (known["model_name"], known["model_args"])
    assert_same_weights(exported["state_dict"], known["state_dict"])
    assert_golden(tmp_path / "pytorch_model.bin")


def test_names_for_msst_keep_epoch_and_score(tmp_path: Path) -> None:
    assert msst_names("epoch=12-val_loss=-9.8765.ckpt")[0] == "model_apollo_ep_12_val_loss_-9.8765.ckpt"
    assert msst_names("epoch=3-val_loss=0.5000.ckpt")[1] == "config_apollo_ep_3_val_loss_0.5000.yaml"
    for other in (
        "epoch=3-val_loss=0.5-v1.ckpt",
        "epoch=3.ckpt",
        "default",
        "JusperLee/Apollo",
        "xepoch=1-val_loss=1.ckpt",
    ):
        assert msst_names(other) == ("model_apollo.ckpt", "config_apollo.yaml")


def test_the_published_command_writes_to_its_folder(tmp_path: Path, run_fork: Callable[..., Any]) -> None:
    (tmp_path / "apollo.yaml").write_text(MODEL)
    checkpoint = tmp_path / "epoch=1-val_loss=-3.2000.ckpt"
    checkpoint.write_bytes(LIGHTNING.read_bytes())
    result = run_fork(ROOT / "generate_msst.py", "-c", "apollo.yaml", "-m", checkpoint, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == [
        "config_apollo_ep_1_val_loss_-3.2000.yaml",
        "model_apollo_ep_1_val_loss_-3.2000.ckpt",
    ]


def test_what_weights_do_not_tell_comes_from_the_configuration(export: Export, tmp_path: Path) -> None:
    """Weights of a window of 960 samples at 48 kHz are, for all that they tell, those of one at 44.1 kHz."""
    model = Apollo(48000, 20, 16, 1)
    torch.save({f"audio_model.{name}": tensor for name, tensor in to_published(model).items()}, tmp_path / "last.ckpt")
    (tmp_path / "apollo.yaml").write_text("model: {sr: 48000, win: 20, feature_dim: 16, layer: 1}\n")
    assert export("msst", "-c", "apollo.yaml", "-m", "last.ckpt")[0] == 0
    assert yaml.safe_load((tmp_path / "output" / "config_apollo.yaml").read_text())["audio"]["sample_rate"] == 48000
    assert load_model(tmp_path / "output" / "model_apollo.ckpt").config == model.config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL.replace("layer: 2", "layer: 3"), "layer=3 is stated, but its weights have layer=2"),
        (MODEL.replace("win: 20", "win: 40"), "make 883 frequencies, but its weights have 442"),
        (MODEL.replace("layer: 2", "layer: two"), "layer=two"),
        (MODEL.replace("layer: 2", "layer: 2, output: residual"), "output=residual is stated"),
        (MODEL.replace("layer", "layers"), "model.layers in apollo.yaml is not known: did you mean 'layer'?"),
        ("datas: {}\n", "no block 'model'"),
        ("- 1\n", "must hold keys and values"),
        ("model: [\n", "not valid YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    export: Export, tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "apollo.yaml").write_text(text)
    code, said = export("msst", "-c", "apollo.yaml", "-m", LIGHTNING)
    assert code == 1
    assert words in said
    assert not (tmp_path / "output").exists()


def test_what_the_published_network_cannot_hold_is_refused_with_the_reason(export: Export, tmp_path: Path) -> None:
    path = residual(tmp_path / "residual.safetensors")
    for form, target in (("msst", "msst"), ("paper", "paper.bin")):
        code, said = export(form, "-m", path, "-o", target)
        assert code == 1
        assert "knows output=direct only, and the model has output=residual" in said
    assert [path.name for path in tmp_path.iterdir()] == ["residual.safetensors"]


def test_nothing_is_replaced_unasked_and_nothing_half_written(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "config_apollo.yaml").write_text("mine")
    code, said = export("msst", "-m", MSST)
    assert code == 1
    assert "exists already" in said
    assert [path.read_text() for path in (tmp_path / "output").iterdir()] == ["mine"]
    assert export("msst", "-m", MSST, "--overwrite")[0] == 0
    assert (tmp_path / "output" / "config_apollo.yaml").read_text() == YAML

    replace, calls = Path.replace, []

    def full(path: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(path, target)

    def unable(*places: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unable)  # a disk without links
    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "rename", full)  # on Windows
    code, said = export("msst", "-m", MSST, "-o", "new")
    assert code == 1
    assert "No space left on device" in said
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "file").write_text("")
    for form in ("paper", "safetensors"):
        assert export(form, "-m", MSST, "-o", "file/model")[0] == 1
        assert export(form, "-m", MSST, "-o", "output")[0] == 1


def test_safetensors_state_a_licence_that_nobody_invented(export: Export, tmp_path: Path) -> None:
    def metadata(path: str) -> dict[str, str]:
        with safe_open(tmp_path / path, framework="pt") as file:
            return dict(file.metadata())

    assert export("safetensors", "-m", MSST, "-o", "a.safetensors")[0] == 0
    assert metadata("a.safetensors")["licence"] == "unknown"
    assert export("safetensors", "-m", MSST, "-o", "b.safetensors", "--licence", "CC-BY-4.0", "--fp16")[0] == 0
    assert metadata("b.safetensors")["licence"] == "CC-BY-4.0"
    assert (tmp_path / "b.safetensors").stat().st_size < 0.6 * (tmp_path / "a.safetensors").stat().st_size
    assert export("safetensors", "-m", "b.safetensors", "-o", "c.safetensors")[0] == 0
    assert metadata("c.safetensors")["licence"] == "CC-BY-4.0"
    assert_golden(tmp_path / "a.safetensors")


class Planted:
    """Unpickles by running a command that leaves a file behind."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.evidence}",)


def lightning(path: Path, **content: Any) -> Path:
    """A checkpoint as Lightning writes it, with more in it."""
    torch.save({**torch.load(LIGHTNING, weights_only=True), **content}, path)
    return path


def test_configuration_objects_are_passed_over(export: Export, tmp_path: Path) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    settings = omegaconf.OmegaConf.create(
        {"a": 1, "b": [1, 2.5, None, {"c": True}], "d": "${a}", "e": "text", "f": b"bytes", "g": Path("/music")}
    )
    assert settings.d == 1
    path = lightning(
        tmp_path / "last.ckpt",
        hyper_parameters=settings,
        datamodule_hyper_parameters={"list": settings.b, "space": argparse.Namespace(lr=0.1)},
        callbacks={"deep": {"more": omegaconf.OmegaConf.structured(settings)}},
        extra=defaultdict(dict, {1: {2: 3}}),
    )
    for form, target in (("safetensors", "model.safetensors"), ("paper", "model.bin")):
        assert export(form, "-m", path, "-o", target)[0] == 0
        assert_golden(tmp_path / target)
    assert export("msst", "-m", path)[0] == 0
    weights = from_published(torch.load(UPSTREAM, weights_only=True)["state_dict"])
    exported = load_model(tmp_path / "model.safetensors").state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in weights.items())


def test_configuration_objects_are_never_made(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    path = lightning(tmp_path / "last.ckpt", hyper_parameters=omegaconf.OmegaConf.create({"a": [1, {"b": 2}]}))

    for name in [name for name in sys.modules if name.partition(".")[0] == "omegaconf"]:
        monkeypatch.setitem(sys.modules, name, None)  # whoever imports it now fails
    assert export("safetensors", "-m", path, "-o", "model.safetensors")[0] == 0


@pytest.mark.parametrize("where", ["beside", "inside", "state"])
def test_code_beside_or_inside_configuration_objects_is_named_and_not_run(
    export: Export, tmp_path: Path, where: str
) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    evidence = tmp_path / "evidence"
    settings = omegaconf.OmegaConf.create({"a": 1, "b": "text"})
    content: dict[str, Any] = {"hyper_parameters": settings}
    if where == "beside":
        content["callbacks"] = {"planted": Planted(evidence)}
    elif where == "inside":
        settings = omegaconf.OmegaConf.create({"a": Planted(evidence)}, flags={"allow_objects": True})
        content["hyper_parameters"] = settings
    else:
        settings._metadata.flags = {"planted": Planted(evidence)}
    path = lightning(tmp_path / "last.ckpt", **content)
    for form, target in (("safetensors", "model.safetensors"), ("paper", "model.bin"), ("msst", "msst")):
        code, said = export(form, "-m", path, "-o", target)
        assert code == 1
        assert f"would run {os.system.__module__}.system" in said
        assert not (tmp_path / target).exists()
    assert not evidence.exists()


def test_other_classes_of_the_same_packages_are_refused(export: Export, tmp_path: Path) -> None:
    pytest.importorskip("omegaconf")
    from omegaconf import OmegaConf

    path = lightning(tmp_path / "last.ckpt", callbacks={"call": OmegaConf.load})
    code, said = export("safetensors", "-m", path, "-o", "model.safetensors")
    assert code == 1
    assert "would run" in said
    assert not (tmp_path / "model.safetensors").exists()
