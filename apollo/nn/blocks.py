"""The blocks between band split and band merge: attention over bands, convolution over frames.

Features are `(batch, frames, bands, channels)`, so that every 1×1 convolution is a matrix product on contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Divide by the root mean square over the last dimension, in float32, and scale.

    Args:
        x: `(..., channels)`.
        weight: `(channels,)`, or any shape that broadcasts to that of `x`.
        eps: Added to the mean square.

    Returns:
        Shape and type of `x`.
    """
    with torch.autocast(x.device.type, enabled=False):
        if x.dtype == torch.float32 and weight.dim() == 1:
            return F.rms_norm(x, weight.shape, weight.float(), eps)
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return (wide * scale * weight).to(x.dtype)


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension with a learnt weight, `(..., channels)` → same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, `(..., channels)`."""
        return rms_norm(x, self.weight)


class BandAttention(nn.Module):
    """Attention over the bands of one frame, then a gated linear unit; both with a residual connection.

    Args:
        channels: Feature channels N, a multiple of `2 * heads`.
        expansion: Width of the gated unit in multiples of N.
        heads: Number of attention heads.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, channels: int, expansion: int = 4, heads: int = 8, bands: int = 100) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.output = nn.Linear(channels, channels, bias=False)
        self.gate_norm = RMSNorm(channels)
        self.gate = nn.Linear(channels, 2 * expansion * channels, bias=False)
        self.gate_output = nn.Linear(expansion * channels, channels, bias=False)
        cosine, sine = rotary_table(bands, channels // heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `(batch, frames, bands, channels)` to the same shape, every frame on its own."""
        x = x + self.output(self.attend(self.qkv(self.norm(x))))
        gate, value = F.silu(self.gate(self.gate_norm(x))).chunk(2, dim=-1)
        # The gate passes SiLU twice: the published network does so, and trained weights depend on it.
        return x + self.gate_output(F.silu(gate) * value)

    def attend(self, qkv: Tensor) -> Tensor:
        """Full attention over bands; `(batch, frames, bands, 3 * channels)` → `(batch, frames, bands, channels)`."""
        batch, frames, bands, width = qkv.shape
        heads = qkv.view(batch * frames, bands, self.heads, width // self.heads).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)
        cosine, sine = self.cosine[:bands].to(qkv.dtype), self.sine[:bands].to(qkv.dtype)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        attended = F.scaled_dot_product_attention(query, key, value)
        return attended.transpose(1, 2).reshape(batch, frames, bands, width // 3)


def rotary_table(positions: int, channels: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary position embedding (Su et al. 2021, eq. 15).

    Returns:
        Two tensors `(positions, channels)`; the angle of a pair of neighbouring channels stands twice.
    """
    rates = base ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    angles = torch.outer(torch.arange(positions, dtype=torch.float64), rates).repeat_interleave(2, dim=-1)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate neighbouring channels (x0, x1) of `(..., positions, channels)` by the angles of `rotary_table`."""
    pairs = x.unflatten(-1, (-1, 2))
    turned = torch.stack((-pairs[..., 1], pairs[..., 0]), dim=-1).flatten(-2)
    return x * cosine + turned * sine


class TemporalConvolution(nn.Module):
    """A depthwise convolution over frames and a two-layer perceptron, with a residual connection.

    Args:
        channels: Feature channels N.
        expansion: Width of the hidden layer in multiples of N.
        kernel_size: Frames under the kernel, odd.
        dilation: Frames between taps.
    """

    def __init__(self, channels: int, expansion: int = 4, kernel_size: int = 7, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels,
            channels,
            (kernel_size, 1),
            padding=(dilation * (kernel_size // 2), 0),
            dilation=(dilation, 1),
            groups=channels,
        )
        self.norm = RMSNorm(channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.project = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `(batch, frames, bands, channels)` to the same shape, every band on its own."""
        # A permuted view of this layout is what PyTorch calls channels-last: no sample is moved.
        convolved = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.project(F.silu(self.expand(self.norm(convolved))))


class Block(nn.Module):
    """Band attention, then temporal convolutions; `(batch, frames, bands, channels)` → same."""

    def __init__(self, channels: int, expansion: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.attention = BandAttention(channels, expansion)
        self.convolutions = nn.ModuleList(
            TemporalConvolution(channels, expansion, kernel_size, dilation) for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform `(batch, frames, bands, channels)` to the same shape."""
        x = self.attention(x)
        for convolution in self.convolutions:
            x = convolution(x)
        return x
