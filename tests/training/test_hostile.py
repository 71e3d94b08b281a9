"""What a checkpoint says harms nothing, whoever wrote it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from apollo.atomic import alone
from apollo.errors import ApolloError, ConfigError, ModelFileError
from apollo.training.saving import Checkpoints
from apollo.training.train import train


@pytest.fixture(scope="module")
def config(make_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_config(
        tmp_path_factory.mktemp("hostile"), "datas.num_steps=1", "loss_g.weights={magnitude: 1}", "discriminator=null"
    )


@pytest.fixture(scope="module")
def checkpoint(config: Path) -> dict[str, Any]:
    """What the run `victim` saved after its only epoch."""
    train(config, ["exp.name=victim"])
    content: dict[str, Any] = torch.load(config.parent / "victim" / "checkpoints" / "last.ckpt", weights_only=True)
    return content


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spelling", ["absolute", "relative", "URL", "in the folder"])
def test_a_checkpoint_that_names_a_path_deletes_nothing(
    config: Path, checkpoint: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    own = config.parent / f"resumed-{spelling}" / "checkpoints"
    precious = own / "precious.ckpt" if spelling == "in the folder" else tmp_path / "precious.ckpt"
    for folder in (precious, own / "empty.ckpt"):  # a folder may have the name of a checkpoint
        folder.mkdir(parents=True)
    (precious / "thesis.txt").write_text("years of work")
    # Another run's checkpoint is no more the hostile one's to delete than a folder is.
    (own / "another.ckpt").write_bytes((config.parent / "victim" / "checkpoints" / "last.ckpt").read_bytes())
    monkeypatch.chdir(own)
    named = {
        "absolute": str(precious),
        "relative": "../../../" * 9 + str(precious),
        "URL": f"local://{precious}",
        "in the folder": "precious.ckpt",
    }[spelling]
    key, known = next((key, state) for key, state in checkpoint["callbacks"].items() if "Checkpoint" in key)
    worst = torch.tensor(1e9)
    path = str(own / named) if spelling == "in the folder" else named
    # As this program writes it, and as Lightning does.
    stated: dict[str, Any] = {
        "run": "guessed",
        "last": named,
        "best": named,
        "scores": {named: 1e9, "another.ckpt": 1e9},
    }
    stated |= {"monitor": "val_loss", "dirpath": str(own), "best_model_path": path, "best_model_score": worst}
    stated |= {"kth_best_model_path": path, "kth_value": worst, "last_model_path": path}
    stated |= {"best_k_models": {path: worst}, "current_score": worst}
    before = {**files(tmp_path), **files(own)}
    hostile = tmp_path / "hostile.ckpt"
    torch.save({**checkpoint, "callbacks": {**checkpoint["callbacks"], key: {**known, **stated}}}, hostile)
    train(config, [f"exp.name={own.parent.name}", "trainer.max_epochs=2"], resume=hostile)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (own / "empty.ckpt").is_dir()
    assert (own / "last.ckpt").is_file()


def test_a_run_that_goes_on_keeps_its_own_best_few_only(config: Path) -> None:
    for epochs in (1, 2, 3):
        resume = config.parent / "few" / "checkpoints" / "last.ckpt" if epochs > 1 else None
        train(config, ["exp.name=few", f"trainer.max_epochs={epochs}"], resume=resume)
        names = sorted(path.name for path in (config.parent / "few" / "checkpoints").iterdir())
        assert len(names) == 2
        assert names[-1] == "last.ckpt"


@pytest.mark.parametrize(("wanted", "kept"), [(-1, "abc"), (2, "ab"), (0, "")])
def test_a_run_that_goes_on_with_fewer_of_the_best_counts_the_others_no_more(
    tmp_path: Path, wanted: int, kept: str
) -> None:
    before, now = (Checkpoints(tmp_path, save_top_k=k, monitor="val_loss", filename="{epoch}") for k in (3, wanted))
    before.run = "ours"
    before.best_k_models = {str(tmp_path / f"{name}.ckpt"): torch.tensor(ord(name)) for name in "bac"}
    for path in before.best_k_models:
        torch.save({"callbacks": {before.state_key: before.state_dict()}}, path)
    now.load_state_dict(before.state_dict())
    assert "".join(sorted(Path(path).stem for path in now.best_k_models)) == kept
    assert Path(now.best_model_path).stem == kept[:1]
    assert len(list(tmp_path.iterdir())) == 3


def test_it_is_told_once_where_the_newest_state_goes_if_not_to_its_usual_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    checkpoints, trainer = Checkpoints(), Mock(is_global_zero=True)
    for name in ("", "run/last.ckpt", "run/last-v1.ckpt", "run/last-v1.ckpt"):
        checkpoints.last_model_path = name
        checkpoints.on_save_checkpoint(trainer, Mock(), {})
    assert caplog.text.count("the newest state goes to run/last-v1.ckpt") == len(caplog.records) == 1


BROKEN: dict[str, dict[str, Any]] = {
    "no optimisers": {"optimizer_states": []},
    "an optimiser in words": {"optimizer_states": ["adam"]},
    "more optimisers": {"optimizer_states": [{}, {}, {}]},
    "no memory": {"optimizer_states": [{"state": {}, "param_groups": [{"betas": [0.9, 0.99], "params": [0]}]}]},
    "moments of another shape": {"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(1)}}, "param_groups": []}]},
    "no schedulers": {"lr_schedulers": []},
    "schedulers in words": {"lr_schedulers": "step"},
    "loops in words": {"loops": "fit"},
    "no loops": {"loops": {}},
    "loops that count backwards": {"loops": {"fit_loop": {"epoch_progress": -1}}},
    "randomness of none": {"random": {"cpu": torch.zeros(3), "cuda": []}},
    "callbacks in words": {"callbacks": {"Checkpoints": "best"}, "pytorch-lightning_version": "x"},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_checkpoint_is_told_in_one_sentence(
    config: Path, checkpoint: dict[str, Any], tmp_path: Path, what: str
) -> None:
    path = tmp_path / "broken.ckpt"
    torch.save({**checkpoint, **BROKEN[what]}, path)
    with pytest.raises(ModelFileError) as caught:
        train(config, ["exp.name=broken", "trainer.max_epochs=2"], resume=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (config.parent / "broken" / "checkpoints").exists()


@pytest.mark.parametrize("value", [torch.ones(2, 2), [torch.ones(2)], {"a": 1}, "x" * 9, None, math.nan])
def test_whatever_a_checkpoint_says_it_learnt_by_is_told(
    config: Path, checkpoint: dict[str, Any], tmp_path: Path, value: object
) -> None:
    path = tmp_path / "broken.ckpt"
    torch.save({**checkpoint, "learning": {**checkpoint["learning"], "optimizer_g.lr": value, 3: value}}, path)
    with pytest.raises(ConfigError, match=r"learns otherwise: .*optimizer_g\.lr is ") as caught:
        train(config, ["exp.name=broken", "trainer.max_epochs=2"], resume=path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("place", ["weights", "moments", "learning rate"])
def test_numbers_that_are_none_are_not_gone_on_with(
    config: Path, checkpoint: dict[str, Any], tmp_path: Path, place: str, number: float
) -> None:
    path = tmp_path / "broken.ckpt"
    content = copy.deepcopy(checkpoint)
    optimizer = content["optimizer_states"][0]
    if place == "weights":
        where = next(name for name, tensor in content["state_dict"].items() if tensor.is_floating_point())
        content["state_dict"][where].view(-1)[0] = number
    elif place == "moments":
        where = "optimizer_states.0.state.0.exp_avg"
        optimizer["state"][0]["exp_avg"].view(-1)[-1] = number
    else:
        where = "optimizer_states.0.param_groups.0.lr"
        optimizer["param_groups"][0]["lr"] = math.nan
    torch.save(content, path)
    with pytest.raises(ModelFileError) as caught:
        train(config, ["exp.name=broken", "trainer.max_epochs=2"], resume=path)
    assert f"{path} holds NaN or infinity in " in str(caught.value)
    assert where in str(caught.value)
    assert not (config.parent / "broken" / "checkpoints").exists()


def test_two_runs_do_not_share_a_folder(config: Path) -> None:
    run = config.parent / "shared"
    run.mkdir()
    with alone(run), pytest.raises(ApolloError, match="another run of Apollo is at work in"):
        train(config, ["exp.name=shared"])
    assert not list(run.iterdir())


@pytest.mark.parametrize("filename", ["../{epoch}", "/tmp/{epoch}"])
def test_checkpoints_stay_in_their_folder(config: Path, filename: str) -> None:
    with pytest.raises(Exception, match="leads out of the folder"):
        train(config, ["exp.name=out", f"checkpoint.filename={filename}"])
