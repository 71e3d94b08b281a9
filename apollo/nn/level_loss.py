"""The loss of the level network, computed from powers alone: no waveform is made from its levels.

To analyse a fill as hearing does would take synthesis and a second analysis. But its mean power in the bands of hearing
follows from its levels (`FillPower`), and adds to the power of the music, because their phases are unrelated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apollo.nn.filling import Levels, gather, power_of
from apollo.nn.generator import Apollo, band_widths
from apollo.nn.losses import named_weights
from apollo.nn.similarity import GammatoneSpectrum, similarity

LOST_DB = 6.0  # a band that has lost more than this counts as lost
HEARD_DB = 75.0  # below a frame's level: softer bands of the original count as this soft
KEPT_WEIGHT = 0.1  # weight in `level` of bands that are not lost
LEAN = 0.08  # more weight on levels that are too low, less on those too high: music that was not learnt is brighter
UNHEARD_ERROR = 1e-4  # of the original's power: for an error this small, doubling it does not matter
FRAGILE_DB = 18.0  # of signal to error, where `harm` has weight 1
BEARABLE_DB = 1.0  # of harm, from where `excess` counts it
NEIGHBOURS = 11  # bands, as many as two filters of hearing are apart at the top, over which the share should be even
RIPPLE_FROM = 20  # below this band, filters of hearing are no wider than bands
EDGE = 2  # frames at either end that reach beyond the crop


class FillPower(nn.Module):
    """Mean power of a fill in the bands of hearing, from its amplitudes in the network's bands.

    Copies of a spectrum are coherent from frame to frame. So where frames have the amplitudes A_k, overlap-add gives
    the waveform the amplitude g(t) = Σ A_k h_k(t), with h_k = w² / Σ w² of the synthesis window w. A window v of the
    gammatone spectrum sees Σ v² g²: products of A of the same frame, and of neighbours.

    Args:
        widths: Bins in each band.
        n_fft: Of the spectrum that is filled; the hop is half of it, and that of the gammatone spectrum.
        gammatone: The spectrum to be predicted.

    Raises:
        ValueError: If the hops differ.
    """

    def __init__(self, widths: Sequence[int], n_fft: int, gammatone: GammatoneSpectrum) -> None:
        super().__init__()
        hop = n_fft // 2
        if gammatone.hop_length != hop or gammatone.n_fft != 4 * hop:
            raise ValueError(f"win must be 40 ms for levels to be learnt, not {n_fft} samples")
        window = torch.hann_window(n_fft, dtype=torch.float64).square()
        summed = window[:hop] + window[hop:]
        # Frame k is centred k hops behind the start of the gammatone window, which five frames reach into.
        shares = torch.zeros(5, 6 * hop, dtype=torch.float64)
        for k in range(5):
            shares[k, k * hop : k * hop + n_fft] = window / summed.repeat(2)
        shares = shares[:, hop : 5 * hop]
        seen = gammatone.window.double().square() * 4 / (gammatone.n_fft**2 * window.sum())
        self.register_buffer("own", (seen * shares.square()).sum(1).float(), persistent=False)
        self.register_buffer("shared", (2 * seen * shares[:-1] * shares[1:]).sum(1).float(), persistent=False)
        edges = (torch.tensor([0, *widths]).cumsum(0) * 2).tolist()  # the gammatone spectrum's bins are half as wide
        response = [gammatone.response[:, low:high].mean(1) for low, high in pairwise(edges)]
        self.register_buffer("response", torch.stack(response), persistent=False)

    own: Tensor
    shared: Tensor
    response: Tensor

    def forward(self, amplitude: Tensor) -> Tensor:
        """Predict; `(items, frames, bands)` → power `(items, hearing bands, frames - 4)`."""
        power = amplitude.square() @ self.response
        between = (amplitude[:, :-1] * amplitude[:, 1:]) @ self.response
        frames = power.shape[1] - 4
        seen = sum(weight * power[:, k : k + frames] for k, weight in enumerate(self.own))
        seen = seen + sum(weight * between[:, k : k + frames] for k, weight in enumerate(self.shared))
        return cast(Tensor, seen).transpose(1, 2)


@dataclass(frozen=True)
class Bands:
    """What is judged in the network's bands, `(items, frames, bands)` each."""

    power: Tensor  # of the original
    error: Tensor  # power of what the damage has added and taken away
    kept: Tensor  # power of the damaged
    repaired: Tensor  # power of the error after lowering
    amplitude: Tensor  # of the fill
    target: Tensor  # the level in dB that should be predicted
    lost: Tensor  # 1 in lost bands, else 0


class LevelLoss(nn.Module):
    """The loss of the level network alone: a weighted sum of named terms.

    - `similarity`: 1 − NSIM of the gammatone spectra of original and filled, see `apollo.nn.similarity`.
    - `level`: Negative log-likelihood of the original's levels in dB under Laplace distributions about the predicted
      ones with the predicted deviations. Lost bands count ten times as much as others.
    - `harm`: The dB by which lowering and fill increase the error of the waveform, as if the fill's phases were random.
      The smaller the error before, the more it weighs: what is nearly intact should stay so.
    - `excess`: `harm` beyond 1 dB, piece by piece: what one piece loses, others do not make good.
    - `repair`: `harm` of lowering alone, as without a fill.
    - `worse`: How far NSIM falls below that of the damaged, in items where it does, relative to what was missing.
    - `dulled`: The same for lowering alone: what is best for the waveform makes most music a little too dull.
    - `ripple`: Mean squared difference of a lost band's share from that of the lost bands around it. Similarity alone
      learns to fill in less between the centres of its filters than at them, which nobody hears.

    Args:
        weights: Weight by name; terms not named are not computed.
        sample_rate: Of the waveforms, in Hz.

    Raises:
        ValueError: If there is no such term, or every weight is 0.
    """

    TERMS = ("similarity", "level", "harm", "excess", "repair", "worse", "dulled", "ripple")

    def __init__(self, weights: Mapping[str, float], sample_rate: int = 44100) -> None:
        super().__init__()
        self.weights = named_weights(weights, self.TERMS)
        self.gammatone = GammatoneSpectrum(sample_rate)
        n_fft = 2 * self.gammatone.hop_length
        self.fill_power = FillPower(band_widths(n_fft), n_fft, self.gammatone)

    needs_discriminator = False

    def forward(self, generator: Apollo, original: Tensor, degraded: Tensor) -> dict[str, Tensor]:
        """Compute every weighted term for waveforms `(batch, channels, samples)`; those under 160 ms get silence added.

        Args:
            generator: A network with a fill, whose levels are judged.
            original: The waveforms whose levels they should be.
            degraded: The waveforms they are predicted from.

        Returns:
            The terms under their names, unweighted, and their weighted sum under `loss`.
        """
        assert generator.fill is not None
        shortest = self.gammatone.n_fft + 2 * EDGE * self.gammatone.hop_length  # one frame is judged
        missing = max(0, shortest - original.shape[-1])
        original, degraded = (F.pad(side.flatten(0, 1), (0, missing)) for side in (original, degraded))
        with torch.no_grad():
            there, left = generator.stft(original), generator.stft(degraded)
        predicted = generator.fill.predict(power_of(left))
        with torch.autocast(original.device.type, enabled=False):
            terms = self._terms(predicted, there, left, self.gammatone(original), self.gammatone(degraded))
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "loss": total}

    def _terms(
        self, predicted: Levels, there: Tensor, left: Tensor, heard: Tensor, heard_left: Tensor
    ) -> dict[str, Tensor]:
        bands = self._bands(predicted, there, left)
        terms = self._of_levels(predicted, bands)
        if {"harm", "excess", "repair"} & self.weights.keys():
            terms |= self._of_error(bands)
        if {"similarity", "worse", "dulled"} & self.weights.keys():
            terms |= self._of_hearing(predicted.gain, bands, heard, heard_left)
        return {name: term for name, term in terms.items() if name in self.weights}

    def _bands(self, predicted: Levels, there: Tensor, left: Tensor) -> Bands:
        widths = band_widths(2 * self.gammatone.hop_length)
        power, error, kept = (gather(power_of(s), widths) for s in (there, there - left, left))
        # |x - g y|² = |x - y|² + 2 (1 - g) Re (x - y) y* + (1 - g)² |y|²
        lowering = 1 - predicted.gain
        cross = gather(((there - left) * left).sum(-1), widths)
        repaired = (error + 2 * lowering * cross + lowering.square() * kept).clamp(min=0)
        amplitude = predicted.share * 10 ** (predicted.level / 20)
        target = target_levels(power)
        return Bands(power, error, kept, repaired, amplitude, target, lost_bands(target, kept).float())

    def _of_levels(self, predicted: Levels, bands: Bands) -> dict[str, Tensor]:
        terms = {}
        if "level" in self.weights:
            weight = KEPT_WEIGHT + bands.lost
            missing = bands.target - predicted.level
            surprise = (missing.abs() + LEAN * missing) / predicted.deviation + predicted.deviation.log()
            terms["level"] = (surprise * weight).sum() / weight.sum()
        if "ripple" in self.weights:
            terms["ripple"] = ripple(predicted.share, bands.lost)
        return terms

    def _of_error(self, bands: Bands) -> dict[str, Tensor]:
        power = bands.power.sum((1, 2))
        unheard = UNHEARD_ERROR * power + 1e-9
        before, after = (x.sum((1, 2)) + unheard for x in (bands.error, bands.repaired))
        weight = (power / before / 10 ** (FRAGILE_DB / 10)).clamp(0.5, 12)
        gentle = weight.clamp(max=3)
        harm = 10 * torch.log10((after + bands.amplitude.square().sum((1, 2))) / before)
        return {
            "harm": (harm * weight).mean(),
            "excess": ((harm - BEARABLE_DB).clamp(min=0) * gentle).mean(),
            "repair": (10 * torch.log10(after / before) * gentle).mean(),
        }

    def _of_hearing(self, gain: Tensor, bands: Bands, heard: Tensor, heard_left: Tensor) -> dict[str, Tensor]:
        frames = slice(EDGE, heard.shape[-1] - EDGE)
        root = (bands.kept + 1e-12).sqrt()
        added, lowered, unlowered = (
            self.fill_power(x)[..., : heard.shape[-1]] for x in (bands.amplitude, gain * root, root)
        )
        lowered = heard_left * lowered / unlowered

        def similar(estimate: Tensor) -> Tensor:
            return similarity(heard, estimate)[..., frames].mean((1, 2))

        with torch.no_grad():
            before = similar(heard_left)

        def loss(after: Tensor) -> Tensor:
            return ((before - after).clamp(min=0) / (1.02 - before)).mean()

        filled = similar(lowered + added)
        terms = {"similarity": 1 - filled.mean(), "worse": loss(filled)}
        if "dulled" in self.weights:
            terms["dulled"] = loss(similar(lowered))
        return terms


def ripple(share: Tensor, lost: Tensor) -> Tensor:
    """Mean squared difference of the share of lost bands, 1 in `lost`, from its neighbours'; `(..., bands)` each."""
    kernel = share.new_ones(1, 1, NEIGHBOURS)
    around, count = (
        F.conv1d(x.reshape(-1, 1, x.shape[-1]), kernel, padding=NEIGHBOURS // 2).view_as(x)
        for x in (share * lost, lost)
    )
    uneven, lost = ((share - around / count.clamp(min=1)).square() * lost)[..., RIPPLE_FROM:], lost[..., RIPPLE_FROM:]
    return uneven.sum() / lost.sum().clamp(min=1)


def target_levels(power: Tensor) -> Tensor:
    """Levels in dB of an original's bands, `(..., bands)`, from the softest that can be heard up."""
    total = 10 * torch.log10(power.sum(-1, keepdim=True) + 1e-9)
    return torch.maximum(10 * torch.log10(power + 1e-12), total - HEARD_DB)


def lost_bands(target: Tensor, left: Tensor) -> Tensor:
    """Which bands with these levels in dB are lost; `left` is their power in the degraded version."""
    return target - 10 * torch.log10(left + 1e-12) > LOST_DB


@torch.no_grad()
def level_bias(generator: Apollo, original: Tensor, degraded: Tensor, estimate: Tensor) -> Tensor:
    """Mean dB by which lost bands come back too loud; NaN if none is lost.

    A band that is more than 40 dB too soft counts as 40 dB too soft.

    Args:
        generator: The network whose spectra and bands are meant.
        original: `(batch, channels, samples)`.
        degraded: The same, damaged.
        estimate: The same, restored.
    """
    there, left, back = (
        gather(power_of(generator.stft(side.flatten(0, 1).float())), generator.band_widths)
        for side in (original, degraded, estimate)
    )
    target = target_levels(there)
    bias = (10 * torch.log10(back + 1e-12) - target).clamp(min=-40)
    return bias[lost_bands(target, left)].mean()
