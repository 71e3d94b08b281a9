"""What training minimises: the adversarial losses of the paper and reconstruction losses, each under its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from apollo.errors import nearest
from apollo.nn.discriminator import Judgement
from apollo.nn.similarity import GammatoneSpectrum, similarity

WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
BLOCK = 1 << 20  # samples that `NegativeSDR` compares at once


class DiscriminatorLoss(nn.Module):
    """Least-squares GAN loss: real towards 1, made towards 0, averaged over the branches (Mao et al. 2017, eq. 2).

    Args:
        eps: Taken because published configurations give it; nothing here is divided.
        r1: Weight of `r1_penalty`, which training adds; 0 leaves it out.
    """

    def __init__(self, eps: float = 1e-8, r1: float = 0.0) -> None:
        super().__init__()
        self.r1 = r1

    def forward(self, real: Sequence[Judgement], made: Sequence[Judgement]) -> Tensor:
        """Loss over the judgements of original and restored waveforms; a scalar."""
        terms = [(r.logits - 1).square().mean() + m.logits.square().mean() for r, m in zip(real, made, strict=True)]
        return torch.stack(terms).mean()


def r1_penalty(real: Sequence[Judgement], originals: Tensor) -> Tensor:
    """`½ |∂D/∂x|²` at the originals, averaged over the batch (Mescheder et al. 2018, eq. 9), summed over the branches.

    Args:
        real: Judgements of `originals`.
        originals: `(batch, channels, samples)`, which must require a gradient.

    Returns:
        A scalar with a graph of its own gradient.
    """
    logits = torch.stack([judgement.logits.float().mean((1, 2, 3)).sum() for judgement in real]).sum()
    (gradient,) = torch.autograd.grad(logits, originals, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2)).mean()


def adversarial_loss(made: Sequence[Judgement]) -> Tensor:
    """How far the discriminator is from taking the restored waveforms for real; a scalar."""
    return torch.stack([(judgement.logits - 1).square().mean() for judgement in made]).mean()


def feature_matching_loss(real: Sequence[Judgement], made: Sequence[Judgement], eps: float = 1e-8) -> Tensor:
    """Mean of `|made − real| / |real|` over all feature maps; `real` gets no gradient; a scalar."""
    terms = [
        (f - r.detach()).abs().mean() / (r.detach().abs().mean() + eps)
        for judged_real, judged_made in zip(real, made, strict=True)
        for r, f in zip(judged_real.features, judged_made.features, strict=True)
    ]
    return torch.stack(terms).mean()


class GeneratorLoss(nn.Module):
    """The generator's loss: a weighted sum of named terms.

    Terms (`E`, `R`, `D` = spectra of estimate, reference and degraded input, Hann windows with a hop of half of them):

    - `adversarial`, `feature_matching`: from the discriminator, as published.
    - `magnitude`: mean `||E| − |R|| / |R|` over `windows`, as published.
    - `complex`: mean `|E − R| / |R|` over `windows`: magnitude and phase.
    - `waveform`: mean `|e − r|` over the waveform.
    - `log_magnitude`: mean `|ln |E| − ln |R||`, with a floor 60 dB below the reference's level.
    - `band_level`: the same on the power in bands as wide as hearing resolves them: it asks for the right level, not
      for the right noise.
    - `error_ratio`: `ln(Σ|e − r|² / Σ|d − r|²)` over the waveform of each channel. Undamaged and badly damaged music
      weigh the same, so what is already good is left alone.
    - `harm`: mean of `max(0, that logarithm)²`: the few pieces that would be made worse weigh more than the many that
      are made a little better.
    - `band_error_ratio`: `error_ratio` in each of those bands on its own, averaged.
    - `similarity`: 1 − the mean NSIM of gammatone spectra, what ViSQOL hears; see `apollo.nn.similarity`.

    Args:
        eps: Added to denominators.
        weights: Weight by name; terms not named are not computed.
        windows: STFT windows of the spectral terms, in samples.
        sample_rate: Of the waveforms, in Hz; it places the hearing bands.
    """

    TERMS = (
        "adversarial",
        "feature_matching",
        "magnitude",
        "complex",
        "waveform",
        "log_magnitude",
        "band_level",
        "error_ratio",
        "harm",
        "band_error_ratio",
        "similarity",
    )

    def __init__(
        self,
        eps: float = 1e-8,
        weights: Mapping[str, float] | None = None,
        windows: Sequence[int] = WINDOWS,
        sample_rate: int = 44100,
    ) -> None:
        super().__init__()
        self.eps = eps
        given = weights if weights is not None else dict.fromkeys(self.TERMS[:3], 1.0)
        for name in given:
            if name not in self.TERMS:
                raise ValueError(f"unknown loss {name!r}: {nearest(name, self.TERMS)}")
        self.weights = {name: float(given[name]) for name in self.TERMS if given.get(name)}
        if not self.weights:
            raise ValueError("every weight is 0: give at least one loss a weight")
        self.gammatone = GammatoneSpectrum(sample_rate) if "similarity" in self.weights else None
        self.windows = tuple(windows)
        for size in self.windows:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
            self.register_buffer(f"bands_{size}", hearing_bands(size, sample_rate), persistent=False)

    @property
    def needs_discriminator(self) -> bool:
        """Whether any term asks the discriminator."""
        return "adversarial" in self.weights or "feature_matching" in self.weights

    def forward(
        self,
        estimate: Tensor,
        reference: Tensor,
        degraded: Tensor,
        real: Sequence[Judgement] | None = None,
        made: Sequence[Judgement] | None = None,
    ) -> dict[str, Tensor]:
        """Compute every weighted term; those of the discriminator only if its judgements are given.

        Args:
            estimate: Restored waveforms, `(batch, channels, samples)`.
            reference: The originals, same shape.
            degraded: What the generator was given, same shape.
            real: The discriminator's judgement of the originals.
            made: Its judgement of the estimates.

        Returns:
            The terms under their names, unweighted, and their weighted sum under `loss`.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            terms = self._reconstruction(estimate.float(), reference.float(), degraded.float())
        if made is not None and "adversarial" in self.weights:
            terms["adversarial"] = adversarial_loss(made)
        if made is not None and real is not None and "feature_matching" in self.weights:
            terms["feature_matching"] = feature_matching_loss(real, made, self.eps)
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "loss": total}

    def _reconstruction(self, estimate: Tensor, reference: Tensor, degraded: Tensor) -> dict[str, Tensor]:
        wanted = set(self.weights) & {"magnitude", "complex", "log_magnitude", "band_level", "band_error_ratio"}
        sums: dict[str, list[Tensor]] = {name: [] for name in sorted(wanted)}
        for size in self.windows if wanted else ():
            for name, value in self._spectral(size, estimate, reference, degraded).items():
                sums[name].append(value)
        terms = {name: torch.stack(values).mean() for name, values in sums.items()}
        if "waveform" in self.weights:
            terms["waveform"] = (estimate - reference).abs().mean()
        if self.gammatone is not None:
            heard, restored = (self.gammatone(side.flatten(0, 1)) for side in (reference, estimate))
            terms["similarity"] = 1 - similarity(heard, restored).mean()
        if {"error_ratio", "harm"} & set(self.weights):
            error, before, level = (x.square().sum(-1) for x in (estimate - reference, degraded - reference, reference))
            ratio = log_ratio(error, before, 1e-8 * level)
            of_ratio = {"error_ratio": ratio.mean(), "harm": ratio.clamp(min=0).square().mean()}
            terms |= {name: value for name, value in of_ratio.items() if name in self.weights}
        return terms

    def _spectral(self, size: int, estimate: Tensor, reference: Tensor, degraded: Tensor) -> dict[str, Tensor]:
        window, bands = getattr(self, f"window_{size}"), getattr(self, f"bands_{size}")

        def spectrum(waveform: Tensor) -> Tensor:
            return torch.stft(waveform.flatten(0, 1), size, size // 2, window=window, return_complex=True)

        e, r = spectrum(estimate), spectrum(reference)
        e_magnitude, r_magnitude = magnitude(e), magnitude(r)
        level = r_magnitude.square().mean((1, 2), keepdim=True)
        terms = {}
        if "magnitude" in self.weights:
            terms["magnitude"] = (e_magnitude - r_magnitude).abs().mean() / (r_magnitude.mean() + self.eps)
        if "complex" in self.weights:
            terms["complex"] = magnitude(e - r).mean() / (r_magnitude.mean() + self.eps)
        if "log_magnitude" in self.weights:
            floor = 1e-3 * level.sqrt() + self.eps
            terms["log_magnitude"] = (torch.log(e_magnitude + floor) - torch.log(r_magnitude + floor)).abs().mean()
        if "band_level" in self.weights:
            e_bands, r_bands = bands @ e_magnitude.square(), bands @ r_magnitude.square()
            terms["band_level"] = 0.5 * log_ratio(e_bands, r_bands, 1e-5 * level).abs().mean()
        if "band_error_ratio" in self.weights:
            error = (bands @ magnitude(e - r).square()).sum(-1)
            before = (bands @ magnitude(spectrum(degraded) - r).square()).sum(-1)
            floor = 1e-6 * (bands @ r_magnitude.square()).sum(-1) + 1e-8 * level[..., 0] * r.shape[-1]
            terms["band_error_ratio"] = log_ratio(error, before, floor).mean()
        return terms


def magnitude(spectrum: Tensor) -> Tensor:
    """Absolute value of a complex tensor with a gradient that stays finite at zero."""
    return torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + 1e-12)


def log_ratio(numerator: Tensor, denominator: Tensor, floor: Tensor) -> Tensor:
    """`ln((numerator + floor) / (denominator + floor))`, finite for zeros."""
    return torch.log(numerator + floor + 1e-12) - torch.log(denominator + floor + 1e-12)


def hearing_bands(n_fft: int, sample_rate: int = 44100, spacing: float = 1.0) -> Tensor:
    """Averages of neighbouring bins, `(bands, bins)`, about one equivalent rectangular bandwidth wide.

    Edges stand `spacing` apart on the ERB-number scale `21.4 · log10(1 + 0.00437 f)` (Glasberg & Moore 1990, eq. 4);
    bands narrower than a bin are merged. Every row sums to one.
    """
    bins = n_fft // 2 + 1
    frequency = torch.arange(bins, dtype=torch.float64) * sample_rate / n_fft
    number = torch.floor(21.4 * torch.log10(1 + 0.00437 * frequency) / spacing)
    _, index = torch.unique(number, return_inverse=True)
    rows = nn.functional.one_hot(index).T.double()
    return (rows / rows.sum(1, keepdim=True)).float()


SDRKind = Literal["sisdr", "snr", "sdsdr"]


class NegativeSDR(nn.Module):
    """Negative signal-to-distortion ratio in dB, averaged over items and channels, on zero-mean signals.

    Args:
        sdr_type: `"sisdr"` scales the reference to the estimate, `"snr"` does not, `"sdsdr"` scales the target but
            takes the error against the unscaled one (Le Roux et al., "SDR – half-baked or well done?", 2019, eq. 2-5).
        eps: Added to energies.
    """

    def __init__(self, sdr_type: SDRKind = "sisdr", eps: float = 1e-8) -> None:
        super().__init__()
        if sdr_type not in ("sisdr", "snr", "sdsdr"):
            raise ValueError(f"sdr_type must be 'sisdr', 'snr' or 'sdsdr', not {sdr_type!r}")
        self.sdr_type: SDRKind = sdr_type
        self.eps = eps

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Compare `(..., samples)` tensors block by block, without a copy of them; a scalar in dB, lower is better."""
        means = estimate.mean(-1, keepdim=True), reference.mean(-1, keepdim=True)

        def summed(term: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
            pairs = zip(torch.split(estimate, BLOCK, -1), torch.split(reference, BLOCK, -1), strict=True)
            return torch.stack([term(e - means[0], r - means[1]).sum(-1, keepdim=True) for e, r in pairs]).sum(0)

        scale = torch.ones_like(means[1])
        if self.sdr_type != "snr":
            scale = summed(lambda e, r: e * r) / (summed(lambda e, r: r.square()) + self.eps)
        unscaled = self.sdr_type == "sdsdr"
        target = summed(lambda e, r: (scale * r).square())
        error = summed(lambda e, r: (e - (r if unscaled else scale * r)).square())
        return -10 / math.log(10) * torch.log(target / (error + self.eps) + self.eps).mean()
