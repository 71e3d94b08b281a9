"""What a training step does to both networks, and what becomes of their averages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

import apollo
from apollo.nn import MultiFrequencyDiscriminator
from apollo.nn.losses import r1_penalty
from apollo.training.recipe import parse
from apollo.training.system import ApolloSystem, halves
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
def test_averaged_weights_are_what_is_validated_and_exported(
    config: Path, logged: Callable[[Path, str], list[float]], tmp_path: Path
) -> None:
    state = trained(config, "run", "ema={decay: 0.9}", "trainer.max_epochs=2")
    averaged, current = state["state_dict"], state["current_model_state"]
    assert not same(part(averaged, "generator"), part(current, "generator"))
    newest = logged(tmp_path / "run", "val_loss")[-1]
    for weights, is_validated in ((averaged, True), (current, False)):
        loaded = parse(config)
        system = build_system(loaded)
        system.load_state_dict(weights)
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        (scores,) = trainer.validate(system, datamodule=loaded["datas"].build(seed=0), verbose=False)
        assert (scores["val_loss"] == pytest.approx(newest, abs=1e-6)) is is_validated
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
