import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from apollo.nn import MultiFrequencyDiscriminator, losses
from apollo.nn.discriminator import Judgement
from apollo.nn.losses import DiscriminatorLoss, GeneratorLoss, NegativeSDR, hearing_bands, r1_penalty

DATA = Path(__file__).parent.parent / "golden"
GOLDEN = json.loads((DATA / "apollo-tiny.golden.json").read_text())


@pytest.fixture(scope="module")
def signals() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "apollo-tiny.golden.npz").items()}


@pytest.fixture(scope="module")
def discriminator() -> MultiFrequencyDiscriminator:
    state = torch.load(DATA / "apollo-tiny.lightning.ckpt", weights_only=True)["state_dict"]
    network = MultiFrequencyDiscriminator(window=GOLDEN["discriminator_windows"])
    prefix = "discriminator."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    return network.eval()


@torch.no_grad()
def test_the_discriminator_gives_its_published_logits(
    discriminator: MultiFrequencyDiscriminator, signals: dict[str, Tensor]
) -> None:
    judgements = discriminator(signals["loss_estimate"])
    for size, judgement in zip(GOLDEN["discriminator_windows"], judgements, strict=True):
        torch.testing.assert_close(judgement.logits, signals[f"disc_logits_{size}"], rtol=1e-4, atol=1e-5)
        assert len(judgement.features) == 6


@torch.no_grad()
def test_losses_have_their_published_values(
    discriminator: MultiFrequencyDiscriminator, signals: dict[str, Tensor]
) -> None:
    estimate, reference = signals["loss_estimate"], signals["loss_reference"]
    real, made = discriminator(reference), discriminator(estimate)
    terms = GeneratorLoss()(estimate, reference, estimate, real, made)
    assert DiscriminatorLoss()(real, made).item() == pytest.approx(GOLDEN["loss_discriminator"], rel=1e-4)
    assert terms["loss"].item() == pytest.approx(GOLDEN["loss_generator"], rel=1e-4)
    assert terms["magnitude"].item() == pytest.approx(GOLDEN["multi_resolution_magnitude_mae"], rel=1e-4)
    assert NegativeSDR("sisdr")(estimate, reference).item() == pytest.approx(GOLDEN["neg_si_sdr_db"], rel=1e-4)
    assert NegativeSDR("snr")(estimate, reference).item() == pytest.approx(GOLDEN["neg_snr_db"], rel=1e-4)


def test_the_discriminator_takes_no_notice_of_level(
    discriminator: MultiFrequencyDiscriminator, signals: dict[str, Tensor]
) -> None:
    loud = discriminator(signals["loss_estimate"])
    quiet = discriminator(0.1 * signals["loss_estimate"])
    for a, b in zip(loud, quiet, strict=True):
        torch.testing.assert_close(a.logits, b.logits, rtol=1e-4, atol=1e-5)


def test_every_reconstruction_term_is_least_for_the_original_and_teaches(signals: dict[str, Tensor]) -> None:
    reference = signals["loss_reference"]
    names = GeneratorLoss.TERMS[2:]
    loss = GeneratorLoss(weights=dict.fromkeys(names, 1.0), windows=[256, 1024])
    degraded = reference + 0.01 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    estimate = (0.8 * degraded).requires_grad_()
    terms, best = loss(estimate, reference, degraded), loss(reference, reference, degraded)
    for name in names:
        assert best[name] < terms[name], name
        (gradient,) = torch.autograd.grad(terms[name], estimate, retain_graph=True)
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_the_error_ratio_of_an_untouched_input_is_zero_however_good_it_is(signals: dict[str, Tensor]) -> None:
    reference = signals["loss_reference"]
    loss = GeneratorLoss(weights={"error_ratio": 1, "band_error_ratio": 1}, windows=[512])
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    for amount in (1.0, 1e-1, 1e-2):
        degraded = reference + amount * noise
        untouched = loss(degraded, reference, degraded)
        assert abs(untouched["error_ratio"].item()) < 1e-4
        assert abs(untouched["band_error_ratio"].item()) < 1e-3
        halved = loss(reference + 0.5 * amount * noise, reference, degraded)
        assert halved["error_ratio"].item() == pytest.approx(np.log(0.25), abs=0.02)


def test_harm_counts_only_what_was_made_worse_and_grows_faster_than_the_error(signals: dict[str, Tensor]) -> None:
    reference = signals["loss_reference"]
    loss = GeneratorLoss(weights={"harm": 1, "error_ratio": 1})
    noise = 0.1 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))

    def terms(factor: float) -> dict[str, Tensor]:
        return loss(reference + factor * noise, reference, reference + noise)

    assert terms(1.0)["harm"].item() == pytest.approx(0, abs=1e-9)
    assert terms(0.5)["harm"].item() == 0
    for factor in (1.2, 2.0):
        assert terms(factor)["harm"].item() == pytest.approx(terms(factor)["error_ratio"].item() ** 2, rel=1e-4)


@pytest.mark.parametrize("signal", ["zeros", "equal"])
def test_silence_and_identity_give_finite_losses(signal: str) -> None:
    waveform = torch.zeros(1, 2, 8192) if signal == "zeros" else torch.randn(1, 2, 8192)
    estimate = waveform.clone().requires_grad_()
    loss = GeneratorLoss(weights=dict.fromkeys(GeneratorLoss.TERMS[2:], 1.0), windows=[256, 1024])
    total = loss(estimate, waveform, waveform)["loss"]
    total.backward()
    assert total.isfinite()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
    assert NegativeSDR()(waveform, waveform).isfinite()


@pytest.mark.parametrize("samples", [1, 31, 32, 700])
def test_music_shorter_than_a_window_is_judged_as_if_silence_followed(samples: int) -> None:
    torch.manual_seed(0)
    original, estimate = torch.randn(2, 1, 2, samples)
    judge = MultiFrequencyDiscriminator(window=[64])
    loss = GeneratorLoss(weights=dict.fromkeys(GeneratorLoss.TERMS, 1.0), windows=[64, 65536])
    total = loss(estimate, original, original * 0.9, judge(original), judge(estimate))["loss"]
    assert total.isfinite()
    spectral = GeneratorLoss(weights={"magnitude": 1.0}, windows=[65536])
    longer = (torch.nn.functional.pad(side, (0, 32769 - samples)) for side in (estimate, original, original))
    assert spectral(estimate, original, original)["loss"] == spectral(*longer)["loss"]


@pytest.mark.parametrize("kind", ["sisdr", "snr", "sdsdr"])
def test_long_waveforms_are_compared_as_a_whole(kind: losses.SDRKind, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = torch.randn(2, 2, 10_000).cumsum(-1)
    estimate = 0.9 * reference + torch.randn_like(reference)
    whole = NegativeSDR(kind)(estimate, reference)
    monkeypatch.setattr(losses, "BLOCK", 777)
    assert NegativeSDR(kind)(estimate, reference).item() == pytest.approx(whole.item(), rel=1e-5)


def test_an_unknown_loss_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown loss 'magic'"):
        GeneratorLoss(weights={"magic": 1})
    with pytest.raises(ValueError, match="every weight is 0"):
        GeneratorLoss(weights={"magnitude": 0})
    with pytest.raises(ValueError, match="sdr_type"):
        NegativeSDR("sdr")  # type: ignore[arg-type]


def test_hearing_bands_average_every_bin_once() -> None:
    bands = hearing_bands(2048)
    assert torch.allclose(bands.sum(1), torch.ones(len(bands)))
    assert ((bands > 0).sum(0) == 1).all()
    assert 35 < len(bands) < 45


def test_without_judgements_the_other_terms_remain(signals: dict[str, Tensor]) -> None:
    reference, estimate = signals["loss_reference"], signals["loss_estimate"]
    terms = GeneratorLoss()(estimate, reference, estimate)
    assert set(terms) == {"magnitude", "loss"}


def test_the_r1_penalty_is_half_the_squared_gradient(signals: dict[str, Tensor]) -> None:
    original = signals["loss_reference"].double().requires_grad_()
    weight = torch.linspace(-1, 1, original.shape[-1], dtype=torch.float64)
    judgement = Judgement((original * weight).sum((1, 2)).view(-1, 1, 1, 1), [])
    penalty = r1_penalty([judgement], original)
    assert penalty.item() == pytest.approx(0.5 * 2 * weight.square().sum().item(), rel=1e-5)
