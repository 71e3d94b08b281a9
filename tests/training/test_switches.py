"""What can be switched on changes speed, memory or what is logged, and not what is learnt."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import MixedPrecision

from apollo.errors import ConfigError
from apollo.nn import Apollo
from apollo.training import system
from apollo.training.recipe import parse
from apollo.training.train import build_system, train


@pytest.fixture
def config(make_config: Callable[..., Path], tmp_path: Path) -> Path:
    return make_config(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_a_compiled_run_learns_the_same_under_the_same_names(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    train(config, ["exp.name=eager"])
    train(config, ["exp.name=compiled", "system.compile=true", "ema={decay: 0.5}"])
    for name in ("train/loss_g", "train/loss_d"):
        assert logged(tmp_path / "compiled", name) == pytest.approx(logged(tmp_path / "eager", name), rel=1e-4)
    for writer, reader in (("eager", "true"), ("compiled", "false")):
        state = torch.load(tmp_path / writer / "checkpoints" / "last.ckpt", weights_only=True)
        build_system(parse(config, [f"system.compile={reader}"])).load_state_dict(state["state_dict"])


def test_sixteen_bits_on_a_cpu_are_bfloat16(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"not supported on CPU. Using `precision='bf16-mixed'`"):
        train(config, ["trainer.precision=16"])
    assert logged(tmp_path / "run", "train/skipped_steps") == [0, 0, 0]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scaler_of_gradients_changes_no_step(config: Path, accumulate: int) -> None:
    def learnt(**options: object) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        loaded = parse(config, [f"trainer.accumulate_grad_batches={accumulate}"])
        trained = build_system(loaded)
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            limit_val_batches=0,
            **options,  # type: ignore[arg-type]
        )
        trainer.fit(trained, datamodule=loaded["datas"].build(seed=0))
        assert trained.skipped == 0
        return trained.generator.state_dict()

    # As `precision: 16` has it on a GPU, but in bfloat16, as float16 takes a CPU a minute; and with another scale after
    # every step, of the discriminator's too.
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1))
    scaled.precision = "bf16-mixed"
    plain = learnt(precision="bf16-mixed")
    for name, value in learnt(plugins=[scaled]).items():
        assert torch.allclose(value, plain[name], atol=1e-5), name


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_a_precision_that_cannot_be_had_is_one_sentence(config: Path, precision: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.precision must be 32, 16, bf16 or 64, not {precision}"):
        train(config, [f"trainer.precision={precision}"])


def test_checkpointed_gradients_are_the_same_from_fewer_bytes() -> None:
    torch.manual_seed(0)
    generator = Apollo(feature_dim=16, layer=3).double()
    waveform = torch.randn(1, 2, 8820, dtype=torch.float64)
    gradients, kept = [], []
    for checkpointing in (False, True):
        generator.checkpointing = checkpointing
        storages: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, storages: dict[int, torch.Tensor] = storages) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = generator(waveform).square().sum()
        kept.append(sum(tensor.untyped_storage().nbytes() for tensor in storages.values()))
        gradients.append(torch.autograd.grad(loss, list(generator.parameters())))
    for plain, again in zip(*gradients, strict=True):
        assert torch.allclose(plain, again, rtol=1e-12, atol=1e-12 * float(plain.abs().max()))
    assert kept[1] < 0.4 * kept[0]


def test_gradient_checkpointing_trains_to_the_same_weights(config: Path, tmp_path: Path) -> None:
    train(config, ["exp.name=kept"])
    train(config, ["exp.name=again", "system.gradient_checkpointing=true"])
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("kept", "again")
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.slow
def test_validation_measures_visqol_where_it_is_wanted(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    train(config, ["system.visqol=true", "datas.segments=1.2", "datas.num_steps=1"])
    for name in ("val_visqol", "val_visqol_unprocessed"):
        (score,) = logged(tmp_path / "run", name)
        assert 1 < score < 5
    # Items too short for ViSQOL have no score, and do not take that of the others away.
    train(config, ["exp.name=short", "system.visqol=true", "datas.num_steps=1"])
    assert logged(tmp_path / "short", "val_loss")
    assert not logged(tmp_path / "short", "val_visqol")


def test_visqol_that_is_not_installed_is_told_before_training(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"pip install -c constraints.txt '\.\[eval\]'"):
        train(config, ["system.visqol=true"])
