"""Apollo's generator: spectrum → 80 bands → blocks → spectrum, and what is lost filled in.

Li & Luo, "Apollo: Band-sequence Modeling for High-Quality Audio Restoration", arXiv 2409.08514, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from apollo.nn.blocks import Block, only_shapes, rms_norm
from apollo.nn.filling import Fill
from apollo.nn.memory import keep_freed_memory
from apollo.nn.options import check_options

BANDS = 80
POWER_EPS = torch.finfo(torch.float32).eps

Output = Literal["direct", "residual"]


class Apollo(nn.Module):
    """Restores music that lossy compression has damaged.

    Every channel of every item is restored on its own: stereo or mono, alone or in a batch, the samples are the same.

    Args:
        sr: Sample rate in Hz.
        win: STFT window in milliseconds.
        feature_dim: Feature channels N, a multiple of `2 * heads`.
        layer: Number of blocks; 0 for a network that only fills in what is lost.
        output: `"direct"` estimates the spectrum itself, as published. `"residual"` estimates a correction that is
            added to the input's spectrum; it starts at zero, so an untrained network is the identity.
        expansion: Width of the blocks' hidden layers in multiples of N.
        heads: Attention heads.
        kernel_size: Frames under each temporal kernel, odd.
        dilations: Dilation of each temporal convolution in a block, one number a convolution.
        fill: Options of `apollo.nn.filling.Fill`, `{channels: 192, dilations: [1, 2, 4]}`, for a residual network that
            also fills in what is lost; None for one that does not.

    Raises:
        ValueError: If a size is one that the network cannot have.
    """

    def __init__(
        self,
        sr: int = 44100,
        win: float = 20,
        feature_dim: int = 256,
        layer: int = 6,
        output: Output = "direct",
        expansion: int = 4,
        heads: int = 8,
        kernel_size: int = 7,
        dilations: Sequence[int] = (1, 1, 1),
        fill: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "sr": sr,
            "win": win,
            "feature_dim": feature_dim,
            "layer": layer,
            "output": output,
            "expansion": expansion,
            "heads": heads,
            "kernel_size": kernel_size,
            "dilations": list(dilations),
        }
        if fill is not None:
            if set(fill) != {"channels", "dilations"}:
                raise ValueError(f"fill must hold channels and dilations, and nothing else, not {sorted(fill)}")
            self.config["fill"] = {"channels": fill["channels"], "dilations": list(fill["dilations"])}
        check_options(self.config)
        if feature_dim % (2 * heads):
            raise ValueError(f"feature_dim must be a positive multiple of 2 * heads = {2 * heads}, not {feature_dim}")
        self.n_fft = int(sr * win / 1000)
        self.hop_length = self.n_fft // 2
        self.band_widths = band_widths(self.n_fft)
        self.output: Output = output
        # Whether training keeps only the input of each block and computes the rest again when needed: half the speed
        # of a block for a fraction of the memory.
        self.checkpointing = False
        self.compiled = False  # whether `compile_blocks` has been called
        window = torch.empty(self.n_fft) if only_shapes() else torch.hann_window(self.n_fft)
        self.register_buffer("window", window, persistent=False)
        if layer:
            level_scale = 0.125 if output == "residual" else 1.0
            self.band_split = BandSplit(self.band_widths, feature_dim, level_scale)
        self.blocks = nn.ModuleList(Block(feature_dim, expansion, heads, kernel_size, dilations) for _ in range(layer))
        if layer:
            self.band_merge = BandMerge(self.band_widths, feature_dim, residual=output == "residual")
        self.fill = Fill(self.band_widths, self.n_fft, sr, **self.config["fill"]) if fill is not None else None

    window: Tensor

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz that the network was made for."""
        return int(self.config["sr"])

    @property
    def size(self) -> str:
        """A short description: `256 × 6, direct`, or `fill 192 × 8` of a network without blocks."""
        if not self.blocks:
            fill = self.config["fill"]
            return f"fill {fill['channels']} × {len(fill['dilations'])}"
        return f"{self.config['feature_dim']} × {self.config['layer']}, {self.output}"

    @property
    def spectrum_dtype(self) -> torch.dtype:
        """Type of all spectra: float32 whatever the precision of the blocks, float64 in a float64 network."""
        return torch.promote_types(self.window.dtype, torch.float32)

    @property
    def context_frames(self) -> int:
        """Frames on either side that a frame of the output depends on; no sample further away matters.

        The convolutions reach `layer · Σ dilation · (kernel_size − 1) / 2` frames, and overlapping windows one frame
        into the spectrum and one out of it.
        """
        reach: int = sum(self.config["dilations"]) * (self.config["kernel_size"] // 2)
        return max(int(self.config["layer"]) * reach, self.fill.context_frames if self.fill else 0) + 2

    def compile_blocks(self, dynamic: bool | None = None) -> None:
        """Compile the blocks with `torch.compile`; weights and their names stay.

        Blocks are alike, so the compiled code of one serves all. The transforms stay as they are: they are library
        calls, and the compiler would unroll the overlapping windows of the inverse sample by sample, which takes many
        minutes. On a CPU, the process keeps freed memory from then on (`keep_freed_memory`): compiled blocks make
        tensors of the whole waveform, and new memory each time would cost a tenth of their time.

        Args:
            dynamic: As for `torch.compile`, whether one compilation serves all lengths: None compiles for the first
                length, and for all from the second on; False compiles for each.
        """
        if self.window.device.type == "cpu":
            keep_freed_memory()
        for block in self.blocks:
            block.compile(dynamic=dynamic)
        self.compiled = True

    def __getstate__(self) -> dict[str, Any]:
        # PyTorch does not copy what is compiled.
        return {**super().__getstate__(), "compiled": False}  # type: ignore[no-untyped-call]

    def forward(self, waveform: Tensor, fill: float | Tensor = 1.0) -> Tensor:
        """Restore a batch of waveforms.

        Args:
            waveform: `(batch, channels, samples)` at `sample_rate`, at least one sample.
            fill: Share of the lost sound that is filled in, from 0 (most faithful waveform) to 1 (full sound).

        Returns:
            `(batch, channels, samples)`, float32, or float64 from a network in float64.

        Raises:
            ValueError: If the shape is another.
        """
        if waveform.dim() != 3 or waveform.shape[-1] < 1:
            raise ValueError(f"waveform must be (batch, channels, samples >= 1), not {tuple(waveform.shape)}")
        spectrum = self.stft(waveform.flatten(0, 1).to(self.spectrum_dtype))
        estimate = self.restore_spectrum(spectrum, fill)
        return self.istft(estimate, waveform.shape[-1]).view_as(waveform)

    def restore_spectrum(self, spectrum: Tensor, fill: float | Tensor = 1.0) -> Tensor:
        """Estimate the undamaged spectrum; `(items, frames, bins, 2)` float32 → same. `fill` as in `forward`."""
        estimate = self.repair(spectrum)
        if self.fill is None:
            return estimate
        lowering, filling = cast("tuple[Tensor, Tensor]", self.fill(spectrum))
        return estimate + lowering + fill * filling

    def repair(self, spectrum: Tensor) -> Tensor:
        """Correct what is there bin by bin; `(items, frames, bins, 2)` float32 → same."""
        if not self.blocks:
            return spectrum
        features, power = self.band_split(spectrum)
        for block in self.blocks:
            if self.checkpointing and torch.is_grad_enabled():
                features = checkpoint(block, features, use_reentrant=False)
            else:
                features = block(features)
        estimate: Tensor = self.band_merge(features, power)
        return spectrum + estimate if self.output == "residual" else estimate

    def stft(self, waveform: Tensor) -> Tensor:
        """Short-time Fourier transform with the ends reflected; `(items, samples)` → `(items, frames, bins, 2)`.

        The end is extended to a whole number of hops, so that every sample lies well inside some window. Published code
        divides its last samples by the tail of the window, which is close to zero and turns errors into clicks. If the
        length is a multiple of the hop, there is no difference.
        """
        samples = waveform.shape[-1]
        hop = self.hop_length
        shortest = 2 * hop + self.n_fft % 2  # what reflection at both ends needs
        if samples < shortest:
            waveform = F.pad(waveform, (0, shortest - samples))
        extension = -waveform.shape[-1] % hop
        left = self.n_fft // 2
        padded = F.pad(waveform, (left, extension + left), mode="reflect")
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                padded, self.n_fft, hop, window=self.window.to(padded.dtype), center=False, return_complex=True
            )
        return torch.view_as_real(spectrum.transpose(1, 2))

    def istft(self, spectrum: Tensor, samples: int) -> Tensor:
        """Inverse of `stft`, never in less than float32; `(items, frames, bins, 2)` → `(items, samples)`."""
        with torch.autocast(spectrum.device.type, enabled=False):
            frames = torch.view_as_complex(spectrum.to(self.spectrum_dtype).contiguous())
            window, hop = self.window.to(self.spectrum_dtype), self.hop_length
            if self.n_fft % 2:
                return torch.istft(frames.transpose(1, 2), self.n_fft, hop, window=window, length=samples)
            # The same samples in a third of the time, as two windows overlap everywhere.
            parts = torch.fft.irfft(frames, self.n_fft) * window
            overlapped = parts[:, 1:, :hop] + parts[:, :-1, hop:]
            waveform: Tensor = overlapped / (window[:hop].square() + window[hop:].square())
            return waveform.flatten(1)[:, :samples]


def band_widths(n_fft: int) -> list[int]:
    """Bins in each of the 80 bands: 79 of `n_fft // 160`, the last takes the rest; raises ValueError if too few."""
    bins, width = n_fft // 2 + 1, n_fft // 160
    if width < 1:
        raise ValueError(f"a window of {n_fft} samples is too short for {BANDS} bands: use a longer win")
    return [width] * (BANDS - 1) + [bins - width * (BANDS - 1)]


class BandSplit(nn.Module):
    """Spectrum to band features: direction and log power of each band, normalised and projected to N channels.

    The equal bands are one batched product, the wider last band another. Weights are `(bands, in, out)`.

    Args:
        widths: Bins in each band.
        channels: Feature channels N.
        level_scale: Factor of the log power, which spans ±8 while directions have length 1. At 1, as published,
            normalisation leaves little more than its sign; at 1/8 it still measures the level.
    """

    def __init__(self, widths: Sequence[int], channels: int, level_scale: float = 1.0) -> None:
        super().__init__()
        self.level_scale = level_scale
        self.equal = GroupedLinear(len(widths) - 1, 2 * widths[0] + 1, channels)
        self.last = GroupedLinear(1, 2 * widths[-1] + 1, channels)
        self.edge = widths[0] * (len(widths) - 1)

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Split into bands.

        Args:
            spectrum: `(items, frames, bins, 2)`, float32.

        Returns:
            Features `(items, frames, bands, channels)` and the bands' power `(items, frames, bands, 1)`.
        """
        parts = []
        powers = []
        for layer, part in ((self.equal, spectrum[..., : self.edge, :]), (self.last, spectrum[..., self.edge :, :])):
            bands = part.reshape(*part.shape[:2], layer.groups, -1, 2)
            power = torch.sqrt(bands.square().sum((-1, -2)) + POWER_EPS).unsqueeze(-1)
            # Channels of a band are [Re of all bins, Im of all bins, log power].
            direction = (bands / power.unsqueeze(-1)).transpose(-1, -2).flatten(-2)
            parts.append(layer(torch.cat((direction, power.log() * self.level_scale), dim=-1)))
            powers.append(power)
        return torch.cat(parts, dim=2), torch.cat(powers, dim=2)


class BandMerge(nn.Module):
    """Band features to spectrum: normalise, project to four numbers a bin, gate, and lay the bands side by side.

    With `residual`, the output is a correction in units of a predicted level: a share of the band's own power, plus a
    share of the frame's power for bands that a codec left empty. Shares are exponentials, so small ones are as easy to
    predict as large ones. The correction starts at zero.
    """

    def __init__(self, widths: Sequence[int], channels: int, residual: bool) -> None:
        super().__init__()
        self.equal = GroupedLinear(len(widths) - 1, channels, 4 * widths[0])
        self.last = GroupedLinear(1, channels, 4 * widths[-1])
        self.level = nn.Linear(channels, 2) if residual else None
        if self.level is not None:
            nn.init.zeros_(self.level.weight)
            self.level.bias.data = torch.tensor([-1.0, -4.0])
            for layer in (self.equal, self.last):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, power: Tensor) -> Tensor:
        """Merge `(items, frames, bands, channels)` into `(items, frames, bins, 2)` of the type of `power`.

        Args:
            features: `(items, frames, bands, channels)`.
            power: `(items, frames, bands, 1)`, the power of the input's bands.
        """
        parts = [self.equal(features[:, :, :-1]), self.last(features[:, :, -1:])]
        parts = [F.glu(part.to(power.dtype), dim=-1) for part in parts]
        parts = [part.view(*part.shape[:-1], 2, -1) for part in parts]
        if self.level is not None:
            around = torch.cat((power, power.square().mean(2, keepdim=True).sqrt().expand_as(power)), dim=-1)
            scale = (
                (around * self.level(features).to(power.dtype).clamp(max=5.0).exp()).sum(-1, keepdim=True).unsqueeze(-1)
            )
            parts = [parts[0] * scale[:, :, :-1], parts[1] * scale[:, :, -1:]]
        return torch.cat([part.transpose(-1, -2).flatten(2, 3) for part in parts], dim=2)


class GroupedLinear(nn.Module):
    """Root-mean-square normalisation and a linear layer, with weights of its own for every group.

    `(items, frames, groups, inputs)` → `(items, frames, groups, outputs)`.
    """

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.groups = groups
        bound = 1 / math.sqrt(inputs)
        self.norm = nn.Parameter(torch.ones(groups, inputs))
        self.weight = nn.Parameter(torch.empty(groups, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Transform every group with its own weights."""
        items, frames = x.shape[:2]
        grouped = rms_norm(x, self.norm).flatten(0, 1).transpose(0, 1)
        product = torch.bmm(grouped, self.weight).transpose(0, 1) + self.bias
        return product.reshape(items, frames, self.groups, -1)
