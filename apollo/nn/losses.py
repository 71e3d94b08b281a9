"""The losses of training: the paper's adversarial losses and reconstruction losses, each under its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from apollo.errors import nearest
from apollo.nn.discriminator import LONGEST_WINDOW, MOST_WINDOWS, Judgement, stft
from apollo.nn.similarity import GammatoneSpectrum, similarity

WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
BLOCK = 1 << 20  # samples that `NegativeSDR` compares at once


class DiscriminatorLoss(nn.Module):
    """Least-squares GAN loss: real towards 1, made towards 0, averaged over the branches (Mao et al. 2017, eq. 2).

    Args:
        eps: Not used; published configurations give it.
        r1: Weight of `r1_penalty`, which training adds; 0 leaves it out. `{weight: 1, every: 16}` adds 16 times as much
            to every sixteenth batch only, which saves time (Karras et al. 2020, appendix B).
    """

    def __init__(self, eps: float = 1e-8, r1: float | Mapping[str, float] = 0.0) -> None:
        super().__init__()
        given = r1 if isinstance(r1, Mapping) else {"weight": r1, "every": 1}
        if set(given) != {"weight", "every"} or int(given["every"]) != given["every"] or given["every"] < 1:
            raise ValueError(f"r1 must be a number, or {{weight, every}} with a whole number of batches, not {r1!r}")
        if not 0 <= given["weight"] < math.inf:
            raise ValueError(f"r1 must be a number from 0, not {given['weight']}")
        self.r1 = float(given["weight"])
        self.r1_every = int(given["every"])

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
    """How far the discriminator is from judging the restored waveforms as real; a scalar."""
    return torch.stack([(judgement.logits - 1).square().mean() for judgement in made]).mean()


def feature_matching_loss(real: Sequence[Judgement], made: Sequence[Judgement], eps: float = 1e-8) -> Tensor:
    """Mean of `|made − real| / |real|` over all feature maps; `real` gets no gradient; a scalar."""
    terms = [
        (f - r.detach()).abs().mean() / (r.detach().abs().mean() + eps)
        for judged_real, judged_made in zip(real, made, strict=True)
        for r, f in zip(judged_real.features, judged_made.features, strict=True)
    ]
    return torch.stack(terms).mean()


@dataclass(frozen=True)
class Spectra:
    """The spectra that spectral terms compare, `(batch · channels, bins, frames)`; Hann windows half a window apart."""

    estimate: Tensor  # of the restored waveforms
    reference: Tensor  # of the originals
    make_degraded: Callable[[], Tensor]  # gives the spectrum of the input, which one term needs
    bands: Tensor  # averages of neighbouring bins, see `hearing_bands`
    eps: float  # added to denominators

    @cached_property
    def magnitudes(self) -> tuple[Tensor, Tensor]:
        """Of estimate and reference."""
        return magnitude(self.estimate), magnitude(self.reference)

    @cached_property
    def level(self) -> Tensor:
        """Mean power of each reference, `(batch · channels, 1, 1)`."""
        return self.magnitudes[1].square().mean((1, 2), keepdim=True)


def magnitude_distance(spectra: Spectra) -> Tensor:
    """Mean `||E| − |R|| / |R|`, as published."""
    estimate, reference = spectra.magnitudes
    return (estimate - reference).abs().mean() / (reference.mean() + spectra.eps)


def complex_distance(spectra: Spectra) -> Tensor:
    """Mean `|E − R| / |R|`: magnitude and phase."""
    return magnitude(spectra.estimate - spectra.reference).mean() / (spectra.magnitudes[1].mean() + spectra.eps)


def log_magnitude_distance(spectra: Spectra) -> Tensor:
    """Mean `|ln |E| − ln |R||`, with a floor 60 dB below the reference's level."""
    floor = 1e-3 * spectra.level.sqrt() + spectra.eps
    estimate, reference = (torch.log(side + floor) for side in spectra.magnitudes)
    return (estimate - reference).abs().mean()


def band_level_distance(spectra: Spectra) -> Tensor:
    """The same on the power in bands as wide as hearing resolves: it wants the right level, not the right noise."""
    estimate, reference = (spectra.bands @ side.square() for side in spectra.magnitudes)
    return 0.5 * log_ratio(estimate, reference, 1e-5 * spectra.level).abs().mean()


def band_error_ratio(spectra: Spectra) -> Tensor:
    """`error_ratio` in each of those bands on its own, averaged."""

    def energy(spectrum: Tensor) -> Tensor:
        return (spectra.bands @ spectrum.square()).sum(-1)

    error = energy(magnitude(spectra.estimate - spectra.reference))
    before = energy(magnitude(spectra.make_degraded() - spectra.reference))
    frames = spectra.reference.shape[-1]
    floor = 1e-6 * energy(spectra.magnitudes[1]) + 1e-8 * spectra.level[..., 0] * frames
    return log_ratio(error, before, floor).mean()


def waveform_distance(estimate: Tensor, reference: Tensor, degraded: Tensor) -> Tensor:
    """Mean `|e − r|`."""
    return (estimate - reference).abs().mean()


def error_ratio(estimate: Tensor, reference: Tensor, degraded: Tensor) -> Tensor:
    """`ln(Σ|e − r|² / Σ|d − r|²)` of each channel, averaged: slightly and badly damaged music weigh the same.

    So music that is good already is left alone.
    """
    return channel_error_ratios(estimate, reference, degraded).mean()


def harm(estimate: Tensor, reference: Tensor, degraded: Tensor) -> Tensor:
    """Mean of `max(0, that logarithm)²`: few pieces made worse weigh more than many made a little better."""
    return channel_error_ratios(estimate, reference, degraded).clamp(min=0).square().mean()


def channel_error_ratios(estimate: Tensor, reference: Tensor, degraded: Tensor) -> Tensor:
    """`ln(Σ|e − r|² / Σ|d − r|²)` of each channel, `(batch, channels)`."""
    error, before, level = (x.square().sum(-1) for x in (estimate - reference, degraded - reference, reference))
    return log_ratio(error, before, 1e-8 * level)


# The terms of `GeneratorLoss` by the names of their weights: a new one is entered here.
JUDGED = ("adversarial", "feature_matching")
SPECTRAL: dict[str, Callable[[Spectra], Tensor]] = {
    "magnitude": magnitude_distance,
    "complex": complex_distance,
    "log_magnitude": log_magnitude_distance,
    "band_level": band_level_distance,
    "band_error_ratio": band_error_ratio,
}
OF_WAVEFORMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "waveform": waveform_distance,
    "error_ratio": error_ratio,
    "harm": harm,
}


def named_weights(given: Mapping[str, float], terms: Sequence[str]) -> dict[str, float]:
    """The weights of the terms that are not 0, in the order of the terms.

    Raises:
        ValueError: If there is no such term, a weight is negative or not finite, or every weight is 0.
    """
    for name, weight in given.items():
        if name not in terms:
            raise ValueError(f"unknown loss {name!r}: {nearest(name, terms)}")
        if not 0 <= (weight or 0) < math.inf:
            raise ValueError(f"weights.{name} must be a number from 0, not {weight}")
    weights = {name: float(given[name]) for name in terms if given.get(name)}
    if not weights:
        raise ValueError("every weight is 0: give at least one loss a weight")
    return weights


def checked(eps: float) -> float:
    """What is added to denominators; raises ValueError if it is negative or not finite."""
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be a number from 0, not {eps}")
    return eps


class GeneratorLoss(nn.Module):
    """The generator's loss: a weighted sum of named terms.

    Those of `JUDGED` come from the discriminator, as published; those of `SPECTRAL` are averaged over `windows`; those
    of `OF_WAVEFORMS` compare the waveforms themselves; `similarity` is 1 − the mean NSIM of gammatone spectra,
    what ViSQOL hears (see `apollo.nn.similarity`).

    Args:
        eps: Added to denominators.
        weights: Weight by name; terms not named are not computed. By default the published three weigh 1 each.
        windows: STFT windows of the spectral terms, in samples.
        sample_rate: Of the waveforms, in Hz; it places the hearing bands.
    """

    TERMS = (*JUDGED, *SPECTRAL, *OF_WAVEFORMS, "similarity")

    def __init__(
        self,
        eps: float = 1e-8,
        weights: Mapping[str, float] | None = None,
        windows: Sequence[int] = WINDOWS,
        sample_rate: int = 44100,
    ) -> None:
        super().__init__()
        self.eps = checked(eps)
        given = weights if weights is not None else dict.fromkeys(self.TERMS[:3], 1.0)
        self.weights = named_weights(given, self.TERMS)
        self.gammatone = GammatoneSpectrum(sample_rate) if "similarity" in self.weights else None
        if not 1 <= len(windows) <= MOST_WINDOWS or not all(2 <= size <= LONGEST_WINDOW for size in windows):
            raise ValueError(f"windows must be 1 to {MOST_WINDOWS} numbers from 2 to {LONGEST_WINDOW}")
        self.windows = tuple(windows)
        for size in self.windows:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
            self.register_buffer(f"bands_{size}", hearing_bands(size, sample_rate), persistent=False)

    @property
    def needs_discriminator(self) -> bool:
        """Whether any term asks the discriminator."""
        return any(name in self.weights for name in JUDGED)

    def forward(
        self,
        estimate: Tensor,
        reference: Tensor,
        degraded: Tensor,
        real: Sequence[Judgement] | None = None,
        made: Sequence[Judgement] | None = None,
        judged: float = 1.0,
    ) -> dict[str, Tensor]:
        """Compute every weighted term; those of the discriminator only if its judgements are given.

        Args:
            estimate: Restored waveforms, `(batch, channels, samples)`.
            reference: The originals, same shape.
            degraded: What the generator was given, same shape.
            real: The discriminator's judgement of the originals.
            made: Its judgement of the estimates.
            judged: Factor for the weights of the discriminator's terms.

        Returns:
            The terms under their names, unweighted, and their weighted sum under `loss`.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            terms = self._reconstruction(estimate.float(), reference.float(), degraded.float())
        if made is not None and "adversarial" in self.weights:
            terms["adversarial"] = adversarial_loss(made)
        if made is not None and real is not None and "feature_matching" in self.weights:
            terms["feature_matching"] = feature_matching_loss(real, made, self.eps)
        weights = {**self.weights, **{name: judged * self.weights.get(name, 0.0) for name in JUDGED}}
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "loss": total}

    def _reconstruction(self, estimate: Tensor, reference: Tensor, degraded: Tensor) -> dict[str, Tensor]:
        values: dict[str, list[Tensor]] = {name: [] for name in SPECTRAL if name in self.weights}
        for size in self.windows if values else ():
            spectra = self._spectra(size, estimate, reference, degraded)
            for name, found in values.items():
                found.append(SPECTRAL[name](spectra))
        terms = {name: torch.stack(found).mean() for name, found in values.items()}
        for name, term in OF_WAVEFORMS.items():
            if name in self.weights:
                terms[name] = term(estimate, reference, degraded)
        if self.gammatone is not None:
            heard, restored = (self.gammatone(side.flatten(0, 1)) for side in (reference, estimate))
            terms["similarity"] = 1 - similarity(heard, restored).mean()
        return terms

    def _spectra(self, size: int, estimate: Tensor, reference: Tensor, degraded: Tensor) -> Spectra:
        window, bands = getattr(self, f"window_{size}"), getattr(self, f"bands_{size}")

        def spectrum(waveform: Tensor) -> Tensor:
            return stft(waveform.flatten(0, 1), window)

        return Spectra(spectrum(estimate), spectrum(reference), lambda: spectrum(degraded), bands, self.eps)


def magnitude(spectrum: Tensor) -> Tensor:
    """Absolute value of a complex tensor with a gradient that stays finite at zero."""
    return torch.sqrt(torch.view_as_real(spectrum).square().sum(-1) + 1e-12)


def log_ratio(numerator: Tensor, denominator: Tensor, floor: Tensor) -> Tensor:
    """`ln((numerator + floor) / (denominator + floor))`, finite for zeros."""
    return torch.log(numerator + floor + 1e-12) - torch.log(denominator + floor + 1e-12)


def hearing_bands(n_fft: int, sample_rate: int = 44100) -> Tensor:
    """Averages of neighbouring bins, `(bands, bins)`, about one equivalent rectangular bandwidth wide.

    Edges stand 1 apart on the ERB-number scale `21.4 · log10(1 + 0.00437 f)` (Glasberg & Moore 1990, eq. 4);
    bands narrower than a bin are merged. Every row sums to one.
    """
    bins = n_fft // 2 + 1
    frequency = torch.arange(bins, dtype=torch.float64) * sample_rate / n_fft
    number = torch.floor(21.4 * torch.log10(1 + 0.00437 * frequency))
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
        self.eps = checked(eps)

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
