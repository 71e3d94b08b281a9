"""A run starts from nothing, from a model or from where it stopped, and says so before it reads any music."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from apollo.checkpoints import load_model
from apollo.errors import ApolloError, ConfigError, DataError, ModelFileError
from apollo.storage import place
from apollo.training.blocks import spec
from apollo.training.recipe import parse
from apollo.training.starting import refuse_to_overwrite, start_from
from apollo.training.train import build_system, train
from apollo.training.trainer import build_trainer

GOLDEN = Path(__file__).parents[1] / "golden" / "apollo-tiny.lightning.ckpt"
DISCRIMINATOR = "apollo.nn.MultiFrequencyDiscriminator"
NO_MUSIC = "datas.train_dir=nowhere"  # whoever looks for it is told that it is not there


@pytest.fixture(scope="module")
def config(make_config: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_config(tmp_path_factory.mktemp("starting"), "datas.num_steps=2")


@pytest.fixture(scope="module")
def run(config: Path) -> Path:
    """A run that has ended."""
    train(config)
    return config.parent / "run"


def test_paths_may_begin_in_the_home_folder(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    recipe = parse(config, ["datas.train_dir=~/music", "exp.dir=~/exps", "exp.name=a~/b"])
    assert recipe["datas"].arguments["train_dir"] == "/home/me/music"
    assert recipe["checkpoint"].arguments["dirpath"] == "/home/me/exps/a~/b/checkpoints"
    assert place("~/music/*.mp3") == Path("/home/me/music/*.mp3")
    assert place("~me.mp3") == Path("~me.mp3")


@pytest.mark.parametrize("from_model", [False, True])
def test_a_new_run_does_not_write_over_another(config: Path, run: Path, from_model: bool) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    init = run / "best_model.safetensors" if from_model else None
    with pytest.raises(ConfigError) as caught:
        train(config, [NO_MUSIC], init=init)
    last = run / "checkpoints" / "last.ckpt"
    assert f"the run {run} exists already: resume it with -m {last}, or name the new one with exp.name=" in str(
        caught.value
    )
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_new_run_does_not_write_over_the_model_of_one_without_checkpoints(tmp_path: Path) -> None:
    refuse_to_overwrite(tmp_path, tmp_path / "last.ckpt", None)
    (tmp_path / "best_model.safetensors").touch()
    with pytest.raises(ConfigError, match="exists already: name the new one"):
        refuse_to_overwrite(tmp_path, tmp_path / "last.ckpt", None)


def test_a_run_that_goes_on_does_not_write_over_another(config: Path, run: Path, tmp_path: Path) -> None:
    other = ["exp.name=other", "trainer.max_epochs=2"]
    train(config, other, resume=run / "checkpoints" / "last.ckpt")
    last = run.with_name("other") / "checkpoints" / "last.ckpt"
    before = {path: path.read_bytes() for path in last.parents[1].rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="exists already: resume it with -m"):
        train(config, [*other, NO_MUSIC], resume=run / "checkpoints" / "last.ckpt")
    assert {path: path.read_bytes() for path in last.parents[1].rglob("*") if path.is_file()} == before
    half = last.with_name(".0123abcd.part")  # as a killed run leaves it
    half.touch()
    train(config, ["exp.name=other", "trainer.max_epochs=3"], resume=last)
    assert not half.exists()


def test_what_is_no_run_to_go_on_with_is_told_before_music_is_read(config: Path, run: Path, tmp_path: Path) -> None:
    last = run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    weights = tmp_path / "weights.ckpt"  # as the published code's, once they are stripped
    torch.save({name: content[name] for name in ("state_dict", "config")}, weights)
    for path in (weights, run / "best_model.safetensors"):
        with pytest.raises(ModelFileError) as caught:
            train(config, [NO_MUSIC], resume=path)
        assert str(caught.value).startswith(f"{path} is not a checkpoint to resume from")
        assert str(caught.value).endswith(f"with --init-from {path}")
    truncated = tmp_path / "truncated.ckpt"
    truncated.write_bytes(last.read_bytes()[:10000])
    with pytest.raises(ModelFileError, match=r"truncated\.ckpt is damaged"):
        train(config, [NO_MUSIC], resume=truncated)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.feature_dim=32", "feature_dim is 16 there and 32 here"),
        ("discriminator.window=[64,128]", "differ in discriminator"),
        ("loss_g.weights={magnitude: 1}", "differ in discriminator"),
        ("optimizer_g.lr=0.5", "learns otherwise: optimizer_g.lr is 0.001 there and 0.5 here; a run goes on as it"),
        ("optimizer_g._target_=torch.optim.SGD", "optimizer_g._target_ is AdamW there and SGD here"),
        ("scheduler_d.gamma=0.5", "scheduler_d.gamma is not stated there and 0.5 here"),
    ],
)
def test_other_networks_or_rates_are_not_gone_on_with(config: Path, run: Path, override: str, message: str) -> None:
    with pytest.raises(ApolloError) as caught:
        train(config, [NO_MUSIC, override], resume=run / "checkpoints" / "last.ckpt")
    assert message in str(caught.value)
    assert "last.ckpt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_goes_on_has_the_patience_of_its_configuration() -> None:
    block = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val_loss"}
    before, now = (spec({**block, "patience": patience}, "early_stopping").build() for patience in (3, 7))
    before.wait_count = 3
    now.load_state_dict(before.state_dict())
    assert (now.wait_count, now.patience) == (3, 7)


def test_a_checkpoint_of_another_code_is_not_gone_on_with(config: Path, run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del content["config"]
    content["state_dict"] = {f"audio_model.{name}": tensor for name, tensor in content["state_dict"].items()}
    torch.save(content, tmp_path / "theirs.ckpt")
    with pytest.raises(ConfigError, match=r"theirs\.ckpt is the checkpoint of a run with other networks"):
        train(config, [NO_MUSIC], resume=tmp_path / "theirs.ckpt")


def test_going_on_and_starting_anew_exclude_each_other(config: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="give one of them"):
        train(config, [NO_MUSIC], resume=run / "checkpoints" / "last.ckpt", init=run / "best_model.safetensors")


def test_more_processes_than_validation_items_are_told(config: Path) -> None:
    with pytest.raises(DataError, match="each of 3 processes needs an item to validate on, and datas gives 1 in all"):
        train(config, ["exp.name=many", "trainer.devices=3", "trainer.strategy=ddp"])


def test_gpu_numbers_mean_nothing_to_a_cpu(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = parse(config, ["trainer.devices=[0, 1, 2, 3, 4, 5, 6, 7]"])
    system = build_system(loaded)
    callbacks: list[Callback] = []
    for there in (False, True):  # whether or not there are GPUs too
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert build_trainer(loaded, system, callbacks).num_devices == 1


def test_a_run_starts_from_the_published_codes_own_checkpoints(config: Path, tmp_path: Path) -> None:
    golden = torch.load(GOLDEN, weights_only=True)
    path = tmp_path / "epoch=7.ckpt"
    torch.save({**golden, "hyper_parameters": OmegaConf.create({"datas": {"batch_size": 1}})}, path)
    expected = load_model(path)
    sizes = [f"model.{name}={expected.config[name]}" for name in ("sr", "win", "feature_dim", "layer", "output")]
    system = build_system(parse(config, [*sizes, "discriminator={_target_: " + DISCRIMINATOR + "}"]))
    start_from(system, path)
    for name, value in expected.state_dict().items():
        assert torch.equal(system.generator.state_dict()[name], value), name
    assert system.discriminator is not None
    judge = {name: value for name, value in golden["state_dict"].items() if name.startswith("discriminator.")}
    assert judge
    for name, value in system.discriminator.state_dict(prefix="discriminator.").items():
        assert torch.equal(judge[name], value), name


def test_a_run_starts_from_what_the_predecessors_programs_write(config: Path, predecessors_file: Path) -> None:
    expected = load_model(predecessors_file)
    sizes = [f"model.{key}={expected.config[key]}" for key in ("sr", "win", "feature_dim", "layer", "output")]
    system = build_system(parse(config, sizes))
    assert system.discriminator is not None
    before = {key: value.clone() for key, value in system.discriminator.state_dict().items()}
    start_from(system, predecessors_file)
    for key, value in expected.state_dict().items():
        assert torch.equal(system.generator.state_dict()[key], value), key
    for key, value in system.discriminator.state_dict().items():
        assert torch.equal(before[key], value), key
