"""What a training step does to both networks, and what becomes of their averages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn
from torch.optim.swa_utils import AveragedModel

import apollo
from apollo.data.crops import Crop
from apollo.nn import MultiFrequencyDiscriminator
from apollo.nn.discriminator import halves
from apollo.nn.losses import JUDGED, DiscriminatorLoss, r1_penalty
from apollo.training.callbacks import averaging
from apollo.training.recipe import parse
from apollo.training.system import ApolloSystem
from apollo.training.train import build_system, train


@pytest.fixture
def config(make_config: Callable[..., Path], tmp_path: Path) -> Path:
    rates = ("optimizer_g.lr=0.01", "optimizer_d.lr=0.001")
    return make_config(tmp_path, *rates, "datas.batch_size=2", "discriminator.window=[64,256]")


def trained(config: Path, name: str, *more: str) -> dict[str, Any]:
    """The last checkpoint of a run."""
    train(config, [f"exp.name={name}", *more])
    content: dict[str, Any] = torch.load(config.parent / name / "checkpoints" / "last.ckpt", weights_only=True)
    return content


def untrained(config: Path) -> ApolloSystem:
    """The networks as a run begins with them."""
    seed_everything(0, verbose=False)
    return build_system(parse(config))


def part(state: dict[str, torch.Tensor], network: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name.startswith(f"{network}.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    assert one
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_during_the_warm_up_the_discriminator_neither_learns_nor_judges(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    start = untrained(config).state_dict()
    warming = trained(config, "warming", "system.adversarial_warmup=3")["state_dict"]
    alone = trained(config, "alone", "loss_g.weights={magnitude: 1}")["state_dict"]
    assert same(part(warming, "discriminator"), part(start, "discriminator"))
    assert not same(part(warming, "generator"), part(start, "generator"))
    assert same(part(warming, "generator"), part(alone, "generator"))
    joined = trained(config, "joined", "system.adversarial_warmup=2")["state_dict"]
    assert not same(part(joined, "discriminator"), part(start, "discriminator"))
    assert not same(part(joined, "generator"), part(warming, "generator"))
    for name, judged in (("warming", 0), ("joined", 1)):
        assert len(logged(tmp_path / name, "train/loss_g")) == 3
        for term in ("train/adversarial", "train/loss_d"):
            assert len(logged(tmp_path / name, term)) == judged


@pytest.mark.slow
def test_after_the_warm_up_the_discriminators_terms_grow_to_their_weights(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    trained(config, "ramp", "system.adversarial_warmup=1", "system.adversarial_ramp=2", "datas.num_steps=4")
    terms = {name: logged(tmp_path / "ramp", f"train/{name}") for name in ("loss_g", "magnitude")}
    judged = [0.0, *map(sum, zip(*(logged(tmp_path / "ramp", f"train/{name}") for name in JUDGED), strict=True))]
    shares = [0.0, 0.5, 1.0, 1.0]
    for whole, plain, rest, share in zip(terms["loss_g"], terms["magnitude"], judged, shares, strict=True):
        assert whole == pytest.approx(plain + share * rest, rel=1e-5)


def test_an_average_that_warms_up_forgets_how_it_began() -> None:
    means = {warmup: torch.zeros(1) for warmup in (False, True)}
    for warmup, mean in means.items():
        averaged = AveragedModel(nn.Linear(1, 1, bias=False), **averaging(0.99, warmup)._kwargs)
        for value in (0.0, 1.0, 1.0, 1.0):
            network = nn.Linear(1, 1, bias=False)
            nn.init.constant_(network.weight, value)
            averaged.update_parameters(network)
        mean.copy_(averaged.module.weight.detach()[0])
    assert float(means[False]) == pytest.approx(1 - 0.99**3)
    assert float(means[True]) == pytest.approx(1 - 2 / 11 * 3 / 12 * 4 / 13)


def test_matrix_products_have_the_precision_asked_for_during_the_run_alone(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def watched(self: ApolloSystem, batch: Crop, number: int) -> None:
        found.append(torch.get_float32_matmul_precision())
        step(self, batch, number)

    step = ApolloSystem.training_step
    monkeypatch.setattr(ApolloSystem, "training_step", watched)
    before = torch.get_float32_matmul_precision()
    for wanted in ("high", "null"):
        train(config, [f"exp.name=products-{wanted}", f"system.matmul_precision={wanted}", "datas.num_steps=1"])
        assert torch.get_float32_matmul_precision() == before
    assert found == ["high", before]


@pytest.mark.slow
def test_averaged_weights_are_what_is_validated_and_exported(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    state = trained(config, "run", "ema={decay: 0.9}", "trainer.max_epochs=2")
    averaged, current = state["state_dict"], state["current_model_state"]
    assert not same(part(averaged, "generator"), part(current, "generator"))
    newest = logged(tmp_path / "run", "val_loss")[-1]
    rounding = float(np.spacing(np.float32(newest)))  # what is logged is no finer
    for weights, is_validated in ((averaged, True), (current, False)):
        loaded = parse(config)
        system = build_system(loaded)
        system.load_state_dict(weights)
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        (scores,) = trainer.validate(system, datamodule=loaded["datas"].build(seed=0), verbose=False)
        difference = abs(scores["val_loss"] - newest)
        assert difference <= 4 * abs(rounding) if is_validated else difference > 1000 * abs(rounding)
    exported = apollo.load_model(tmp_path / "run" / "best_model.safetensors").state_dict()
    (best,) = (tmp_path / "run" / "checkpoints").glob("epoch=*.ckpt")
    chosen = part(torch.load(best, weights_only=True)["state_dict"], "generator")
    assert same({f"generator.{name}": value for name, value in exported.items()}, chosen)


def test_judging_both_sides_as_one_batch_is_judging_each() -> None:
    torch.manual_seed(0)
    discriminator = MultiFrequencyDiscriminator(window=[64, 256]).eval()
    sides = torch.randn(2, 3, 2, 4410)
    together = halves(discriminator(torch.cat((sides[0], sides[1]))))
    for side, judgements in zip(sides, together, strict=True):
        for judgement, alone in zip(judgements, discriminator(side), strict=True):
            assert torch.allclose(judgement.logits, alone.logits, atol=1e-5)
            assert len(judgement.features) == len(alone.features)
            for feature, expected in zip(judgement.features, alone.features, strict=True):
                assert torch.allclose(feature, expected, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_penalty_is_that_of_real_music_and_is_learnt_from(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    plain = trained(config, "plain")["state_dict"]
    penalised = trained(config, "penalised", "loss_d.r1=10")["state_dict"]
    system = untrained(config).train()
    assert system.discriminator is not None
    batch = next(iter(parse(config)["datas"].build(seed=0).train_dataloader()))
    original = batch["original"].requires_grad_()
    real, _ = halves(system.discriminator(torch.cat((original, system.generator(batch["degraded"]).detach()))))
    terms = {name: logged(tmp_path / name, "train/loss_d") for name in ("plain", "penalised")}
    penalties = logged(tmp_path / "penalised", "train/r1")
    assert len(penalties) == 3
    assert penalties[0] == pytest.approx(float(r1_penalty(real, original).detach()), rel=1e-4)
    assert penalties[0] > 0
    assert terms["penalised"][0] == pytest.approx(terms["plain"][0], rel=1e-6)  # shown beside it
    assert not same(part(penalised, "discriminator"), part(plain, "discriminator"))


@pytest.mark.slow
def test_a_lazy_penalty_is_added_seldom_and_weighs_more(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    at_work: list[int] = []
    step = ApolloSystem.training_step

    def watched(self: ApolloSystem, batch: Crop, number: int) -> None:
        at_work[:] = [number]
        step(self, batch, number)

    def penalty(*sides: Any) -> torch.Tensor:
        batches.extend(at_work)
        return r1_penalty(*sides)

    monkeypatch.setattr(ApolloSystem, "training_step", watched)
    monkeypatch.setattr("apollo.training.system.r1_penalty", penalty)
    short = ("datas.num_steps=5", "trainer.limit_val_batches=1")
    lazy = trained(config, "lazy", "loss_d.r1={weight: 5, every: 2}", *short)["state_dict"]
    assert batches == [0, 2, 4]
    once = trained(config, "once", "loss_d.r1={weight: 2, every: 5}", *short)["state_dict"]
    assert batches[3:] == [0]
    single = trained(config, "single", "loss_d.r1=10", "datas.num_steps=1", "trainer.limit_val_batches=1")
    again = trained(config, "again", "loss_d.r1={weight: 2, every: 5}", "datas.num_steps=1")
    assert same(part(single["state_dict"], "discriminator"), part(again["state_dict"], "discriminator"))
    assert not same(part(lazy, "discriminator"), part(once, "discriminator"))


@pytest.mark.parametrize("r1", [{"weight": 1}, {"weight": 1, "every": 0}, {"weight": 1, "every": 1.5}])
def test_a_lazy_penalty_that_means_nothing_is_told(r1: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"r1 must be a number, or \{weight, every\}"):
        DiscriminatorLoss(r1=r1)
