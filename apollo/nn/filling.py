"""Fill: bands that a codec has removed, as predicted levels × an excitation made from the input's own spectrum.

The waveform of a lost band cannot be known, and hearing hardly needs it: what counts is the right power in the right
band at the right time. So a small network predicts the power of every band and frame from the powers that are left.
Copies of the input's own lower spectrum, scaled to that power, replace what is lost, as in spectral band replication
(Dietz et al., "Spectral Band Replication, a Novel Approach in Audio Coding", AES 112, 2002). Nothing here is random or
depends on the position in a recording: chunks give the same samples as the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apollo.nn.blocks import RMSNorm

COPIED_HZ = (1100.0, 1650.0, 2200.0)  # each copy takes the octave above one of these, again and again up to the top
LEVEL_FRAMES = 17  # over which the level that others are measured against is averaged
# Power below which a band counts as empty; full scale is about 2e5. It clamps instead of being added: ONNX exporters
# remove an addition of so little.
SILENCE = 1e-16
EMPTY = 1e-9  # of a frame's power: the rounding errors that an empty band holds
LONGEST = 100  # frames between taps
MOST_CHANNELS, MOST_LAYERS = 1 << 12, 64
RANGE_DB = (-100.0, 20.0)  # of a band's power against that level


@dataclass(frozen=True)
class Levels:
    """Predictions about the original, for every band and frame; all `(items, frames, bands)`."""

    level: Tensor  # power of the original's band in dB, its median
    # Mean absolute error in dB that the network expects of itself there (scale of a Laplace distribution).
    deviation: Tensor
    share: Tensor  # how much of that amplitude to fill in, from 0 for bands that are not lost to 1
    gain: Tensor  # factor for what is left of the band, from 0 to 1: lower if coding noise is strong against the music


class Fill(nn.Module):
    """Corrects the power of every band: lowers noise, and makes what is to be added to lost bands.

    Lowering is the Wiener gain, which minimises the squared error (Wiener, "Extrapolation, Interpolation, and Smoothing
    of Stationary Time Series", 1949). It and the fill do not depend on each other.

    Args:
        widths: Bins in each band.
        n_fft: Of the spectrum; the hop is half of it.
        sample_rate: In Hz.
        channels: Feature channels of the level network.
        dilations: Frames between the three taps of each of its layers, one number a layer.

    Raises:
        ValueError: If an option is one that the network cannot have.
    """

    def __init__(
        self, widths: Sequence[int], n_fft: int, sample_rate: int, channels: int, dilations: Sequence[int]
    ) -> None:
        super().__init__()
        if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
            raise ValueError(f"fill.channels must be a whole number from 1 to {MOST_CHANNELS}, not {channels!r}")
        if not 1 <= len(dilations) <= MOST_LAYERS or not all(type(d) is int and 1 <= d <= LONGEST for d in dilations):
            raise ValueError(f"fill.dilations must be 1 to {MOST_LAYERS} whole numbers from 1 to {LONGEST}")
        self.widths = list(widths)
        self.levels = LevelNetwork(len(widths), channels, dilations)
        # A spectrum moved by an even number of bins is that of a modulated waveform in every frame, because the
        # modulation makes whole turns in a hop of half a window. Odd numbers would change sign from frame to frame.
        spans = [2 * max(1, round(hz * n_fft / sample_rate / 2)) for hz in COPIED_HZ]
        self.copies = [runs(source_bins(n_fft // 2 + 1, span)) for span in spans]

    @property
    def context_frames(self) -> int:
        """Frames on either side that a frame's fill depends on."""
        return self.levels.context_frames

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Give two spectra to add to the input's: one lowers noise, one fills in.

        Args:
            spectrum: `(items, frames, bins, 2)`.

        Returns:
            Two of the same shape.
        """
        power = power_of(spectrum)
        predicted = self.predict(power)
        amplitude = predicted.share * 10 ** (predicted.level / 20)
        lowering = scaled(spectrum, predicted.gain - 1, self.widths)
        return lowering, self.excitation(spectrum, power, amplitude)

    def predict(self, power: Tensor) -> Levels:
        """Predict the levels of the original from the power of the damaged, `(items, frames, bins)`."""
        bands = gather(power, self.widths)
        # From 0 dB for power spread evenly over a band to 10 dB and more for a single partial. An empty band holds
        # rounding errors, which differ between machines: it counts as noise.
        peaks = gather(power.square(), self.widths) * self.widths[0]
        rounding = (EMPTY * power.sum(-1, keepdim=True)).square().clamp(min=1e-20)
        noise = 2 * self.widths[0] / (self.widths[0] + 1)
        peakiness = 10 * torch.log10((peaks + noise * rounding) / (bands.square() + rounding))
        levels: Levels = self.levels(10 * torch.log10(bands.clamp(min=SILENCE)), peakiness)
        return levels

    def excitation(self, spectrum: Tensor, power: Tensor, amplitude: Tensor) -> Tensor:
        """A spectrum `(items, frames, bins, 2)` made of the input's lower frequencies.

        It is the sum of three copies from different places, which keeps less of their melody than one copy, and leaves
        no band empty because its source is.

        Args:
            spectrum: `(items, frames, bins, 2)`.
            power: `power_of(spectrum)`.
            amplitude: Root of the power that each of the result's bands gets, `(items, frames, bands)`.
        """
        least = 1e-9 * power.sum(-1, keepdim=True)
        copies = []
        for copy in self.copies:
            whitening = self._whitening(torch.cat([power[..., run] for run in copy], dim=-1), least)
            copied = torch.cat([spectrum[..., run, :] for run in copy], dim=-2)
            copies.append(scaled(copied, whitening, self.widths))
        mixed = sum(copies[1:], start=copies[0])
        return scaled(mixed, amplitude * self._whitening(power_of(mixed)), self.widths)

    def _whitening(self, power: Tensor, least: Tensor | float = 0.0) -> Tensor:
        """The factors that scale each band to power 1, `(items, frames, bands)`; bands below `least` stay quiet."""
        return (gather(power, self.widths) + least).clamp(min=SILENCE).rsqrt()


class LevelNetwork(nn.Module):
    """Predicts levels from levels: gated convolutions over frames on all bands at once.

    Levels are relative to the frames around, so that a change of gain in the music is the same change in its levels.

    Args:
        bands: Number of bands.
        channels: Feature channels.
        dilations: Frames between the three taps of each layer.
    """

    def __init__(self, bands: int, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.input = nn.Linear(2 * bands + 1, channels)
        self.layers = nn.ModuleList(GatedConvolution(channels, dilation) for dilation in dilations)
        self.norm = RMSNorm(channels)
        self.output = nn.Linear(channels, 4 * bands)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.context_frames = sum(dilations) + LEVEL_FRAMES // 2

    def forward(self, bands: Tensor, peakiness: Tensor) -> Levels:
        """Predict.

        Args:
            bands: Power of the damaged in dB, `(items, frames, bands)`.
            peakiness: How unevenly the power of a band is spread, in dB, same shape.
        """
        total = (10 ** (bands / 10)).sum(-1, keepdim=True)
        around = moving_mean(total)
        reference = 10 * torch.log10(around.clamp(min=1e-9))
        relative = (bands - reference).clamp(*RANGE_DB)
        course = (10 * torch.log10(total.clamp(min=1e-9)) - reference).clamp(-60, 20)
        x = self.input(torch.cat((relative / 20 + 1.5, course / 10, peakiness.clamp(0, 11) / 5 - 1), dim=-1))
        for layer in self.layers:
            x = layer(x)
        level, deviation, share, noise = self.output(self.norm(x)).to(bands.dtype).chunk(4, dim=-1)
        return Levels(
            level=20 * level - 40 + reference,
            deviation=6 * F.softplus(deviation) + 0.5,
            share=torch.sigmoid(share - 1),
            gain=1 - torch.sigmoid(noise - 4),
        )


class GatedConvolution(nn.Module):
    """Three dilated taps over frames, gated, with a residual connection; `(items, frames, channels)` → same."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = RMSNorm(channels)
        self.taps = nn.Linear(3 * channels, 2 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform; zeros lie beyond both ends."""
        frames, d = x.shape[1], self.dilation
        padded = F.pad(self.norm(x), (0, 0, d, d))
        taps = torch.cat([padded[:, start : start + frames] for start in (0, d, 2 * d)], dim=-1)
        gate, value = self.taps(taps).chunk(2, dim=-1)
        added: Tensor = self.output(F.silu(gate) * value)
        return x + added


def moving_mean(x: Tensor) -> Tensor:
    """Mean of `LEVEL_FRAMES` frames around each, of fewer at both ends; `(items, frames, 1)` → same."""
    values, weights = (
        F.avg_pool1d(part.transpose(1, 2), LEVEL_FRAMES, 1, LEVEL_FRAMES // 2) for part in (x, torch.ones_like(x))
    )
    return (values / weights).transpose(1, 2)


def source_bins(bins: int, span: int) -> list[int]:
    """The bin that each bin is copied from, between `span` and `2 * span`, a multiple of `span` away."""
    sources = (span + at % span for at in range(bins))
    # A bin of the source region would be its own copy: it is taken from the neighbouring span.
    return [min(source + span * (source == at), bins - 1) for at, source in enumerate(sources)]


def runs(bins: Sequence[int]) -> list[slice]:
    """Cut a list of bins into runs of neighbours: slices are copied several times as fast as bins one by one."""
    starts = [i for i, bin_ in enumerate(bins) if i == 0 or bin_ != bins[i - 1] + 1]
    ends = [*starts[1:], len(bins)]
    return [slice(bins[start], bins[end - 1] + 1) for start, end in zip(starts, ends, strict=True)]


def power_of(spectrum: Tensor) -> Tensor:
    """Squared magnitude; `(..., 2)` → `(...)`. A sum over the last dimension would take three times as long."""
    return spectrum[..., 0].square() + spectrum[..., 1].square()


def gather(power: Tensor, widths: Sequence[int]) -> Tensor:
    """Sum over the bins of each band; `(..., bins)` → `(..., bands)`. All bands but the last are equally wide."""
    edge = widths[0] * (len(widths) - 1)
    equal = power[..., :edge].reshape(*power.shape[:-1], len(widths) - 1, widths[0]).sum(-1)
    return torch.cat((equal, power[..., edge:].sum(-1, keepdim=True)), dim=-1)


def scaled(spectrum: Tensor, factors: Tensor, widths: Sequence[int]) -> Tensor:
    """Multiply all bins of a band by one factor; `(..., bins, 2)` and `(..., bands)` → `(..., bins, 2)`.

    A factor for every bin would have to be laid out first, which takes twice as long.
    """
    edge = widths[0] * (len(widths) - 1)
    equal = spectrum[..., :edge, :].reshape(*factors.shape[:-1], len(widths) - 1, widths[0], 2)
    equal = equal * factors[..., :-1, None, None]
    return torch.cat((equal.flatten(-3, -2), spectrum[..., edge:, :] * factors[..., -1:, None]), dim=-2)
