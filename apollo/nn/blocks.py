"""The blocks between band split and band merge: attention over bands, convolution over frames.

Features are `(batch, frames, bands, channels)`, so that every 1×1 convolution is a matrix product on contiguous memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Divide `(..., channels)` by its root mean square over channels, measured in float32, and scale by `weight`."""
    if weight.dim() == 1 and x.dtype == weight.dtype and x.device.type == "cpu" and torch.is_grad_enabled():
        return cast(Tensor, _RMSNormCPU.apply(x, weight))  # type: ignore[no-untyped-call]
    return x * inverse_rms(x).to(x.dtype) * weight.to(x.dtype)


def inverse_rms(x: Tensor) -> Tensor:
    """`1 / sqrt(mean(x²) + EPS)` over the last dimension, `(..., channels)` → `(..., 1)`, at least in float32."""
    kind = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=kind)
    return torch.rsqrt(norm.square() / x.shape[-1] + EPS)


class _RMSNormCPU(torch.autograd.Function):
    """RMS normalisation whose backward pass is one fused kernel, nine times as fast on a CPU as PyTorch's own.

    It is the kernel of layer normalisation, `r (h − mean(h) − x̂ mean(h x̂))` with `h = weight · gradient` and `r` the
    inverse deviation. With the mean set to zero, `x̂` is our output, and only the term `r mean(h)` differs.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        inverse = inverse_rms(x)
        ctx.save_for_backward(x, weight, inverse)
        return x * inverse * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, inverse = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous()
        channels = x.shape[-1]
        by_layer_norm, by_weight, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, x.contiguous(), [channels], torch.zeros_like(inverse), inverse, weight, None, [True, True, False]
        )
        mean = (gradient @ weight).unsqueeze(-1) / channels
        return by_layer_norm.addcmul_(inverse, mean), by_weight


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension with a learnt weight, `(..., channels)` → same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x`, `(..., channels)`."""
        return rms_norm(x, self.weight)


TILE = 640 * 256  # features whose hidden layers, some eight times as wide, fit into a CPU's cache


def frame_by_frame(function: Callable[[Tensor], Tensor], x: Tensor, base: Tensor) -> Tensor:
    """Compute `base + function(x)`, both `(batch, frames, bands, channels)`, for a function of each frame alone.

    On a CPU without gradients it takes a few frames at a time, so that the hidden layers stay in the cache and take
    little memory.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return base + function(x)
    result = torch.empty_like(base)
    step = max(1, TILE // (x.shape[2] * x.shape[3]))
    for start in range(0, x.shape[1], step):
        tile = slice(start, start + step)
        torch.add(base[:, tile], function(x[:, tile]), out=result[:, tile])
    return result


def silu(x: Tensor) -> Tensor:
    """`x · sigmoid(x)`, in place if no gradients are needed."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


class BandAttention(nn.Module):
    """Attention over the bands of one frame, then a gated linear unit; both with a residual connection.

    Args:
        channels: Feature channels N, a multiple of `2 * heads`.
        expansion: Width of the gated unit in multiples of N.
        heads: Number of attention heads.
        bands: Number of positions that the embedding covers.
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
        return frame_by_frame(self.transform, x, x)

    def transform(self, x: Tensor) -> Tensor:
        """What attention and gated unit add to `(batch, frames, bands, channels)`."""
        attended: Tensor = self.output(self.attend(self.qkv(self.norm(x))))
        hidden = silu(self.gate(self.gate_norm(x + attended)))
        gate, value = hidden.chunk(2, dim=-1)
        # The gate passes SiLU twice: the published network does so, and trained weights depend on it.
        added: Tensor = self.gate_output(F.silu(gate) * value)
        return attended + added

    def attend(self, qkv: Tensor) -> Tensor:
        """Full attention over bands; `(batch, frames, bands, 3 * channels)` → `(batch, frames, bands, channels)`."""
        batch, frames, bands, width = qkv.shape
        heads = qkv.view(batch * frames, bands, self.heads, 3, -1)
        cosine, sine = self.cosine[:bands].to(qkv.dtype), self.sine[:bands].to(qkv.dtype)
        query, key = rotate(heads[:, :, :, :2], cosine, sine).transpose(1, 2).unbind(3)
        value = heads[:, :, :, 2].transpose(1, 2)
        attended = attention(query, key, value).transpose(1, 2)
        return attended.reshape(batch, frames, bands, width // 3)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention without a mask; `(items, heads, bands, channels)` each → same."""
    if query.device.type != "cpu" or not (torch.is_grad_enabled() or query.dtype == torch.bfloat16):
        return F.scaled_dot_product_attention(query, key, value)
    # PyTorch's fused kernel for CPUs takes six times as long in the backward pass of such short sequences, and is not
    # faster in bfloat16.
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        mixed: Tensor = scores.softmax(-1) @ value
        return mixed


def only_shapes() -> bool:
    """Whether tensors are made on the device "meta", where computing constants would import a compiler for a second."""
    return torch.get_default_device().type == "meta"


def rotary_table(positions: int, channels: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary position embedding (Su et al. 2021, eq. 15).

    Returns:
        Two tensors `(positions, channels)`; the angle of a pair of neighbouring channels stands twice.
    """
    if only_shapes():
        return torch.empty(positions, channels), torch.empty(positions, channels)
    rates = 10000.0 ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    angles = torch.outer(torch.arange(positions, dtype=torch.float64), rates).repeat_interleave(2, dim=-1)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate neighbouring channels, (x0, x1) → (x0 cos − x1 sin, x1 cos + x0 sin).

    `x` is `(items, positions, heads, any, channels)`, and both of `rotary_table` are `(positions, channels)`.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        # A product of complex numbers is one kernel, several times as fast; the compiler does not support it.
        kind = torch.promote_types(x.dtype, torch.float32)
        turn = torch.complex(cosine[:, ::2].to(kind), sine[:, ::2].to(kind))[:, None, None]
        turned = torch.view_as_complex(x.to(kind).reshape(*x.shape[:-1], -1, 2)) * turn
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    first, second = x.view(*x.shape[:-1], -1, 2).unbind(-1)
    swapped = torch.stack((-second, first), dim=-1).flatten(-2)
    return torch.addcmul(x * cosine[:, None, None], swapped, sine[:, None, None])


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
        self.dilation = dilation
        padding = (kernel_size // 2, 0)
        self.depthwise = nn.Conv2d(channels, channels, (kernel_size, 1), padding=padding, groups=channels)
        self.norm = RMSNorm(channels)
        self.expand = nn.Linear(channels, expansion * channels)
        self.project = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `(batch, frames, bands, channels)` to the same shape, every band on its own."""
        return frame_by_frame(self.transform, self.convolve(x), x)

    def transform(self, convolved: Tensor) -> Tensor:
        """The two-layer perceptron, every position on its own; shapes as in `forward`."""
        added: Tensor = self.project(silu(self.expand(self.norm(convolved))))
        return added

    def convolve(self, x: Tensor) -> Tensor:
        """The depthwise convolution over frames, zeros beyond both ends; shapes as in `forward`."""
        if x.device.type == "cuda" and torch.compiler.is_compiling():
            return self.convolve_by_taps(x)
        frames, bands = x.shape[1:3]
        # PyTorch's bfloat16 kernel for CPUs now and then leaves NaN in the gradient of a depthwise kernel.
        unsafe = x.device.type == "cpu" and torch.is_grad_enabled()
        with torch.autocast("cpu", enabled=False) if unsafe else nullcontext():
            if unsafe:
                x = x.to(self.depthwise.weight.dtype)
            # Every d-th frame is a sequence of its own: laid beside the bands, dilation costs nothing.
            if self.dilation > 1:
                x = F.pad(x, (0, 0, 0, 0, 0, -frames % self.dilation))
            x = x.reshape(x.shape[0], -1, self.dilation * bands, x.shape[-1])
            # A permuted view of this layout is what PyTorch calls channels-last: no sample is moved.
            convolved: Tensor = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return convolved.reshape(x.shape[0], -1, bands, x.shape[-1])[:, :frames]

    def convolve_by_taps(self, x: Tensor) -> Tensor:
        """The same as a sum over taps, which the compiler fuses into one kernel with the operations around it.

        cuDNN's kernel for depthwise convolutions takes 40 % of the published network's time on an H100. Uncompiled,
        the taps are separate kernels and take as long.
        """
        frames, taps, d = x.shape[1], self.depthwise.kernel_size[0], self.dilation
        padded = F.pad(x, (0, 0, 0, 0, d * (taps // 2), d * (taps // 2)))
        kind = torch.promote_types(x.dtype, torch.float32)
        assert self.depthwise.bias is not None
        convolved = self.depthwise.bias.to(kind)
        for tap in range(taps):
            convolved = convolved + padded[:, tap * d : tap * d + frames].to(kind) * self.depthwise.weight[:, 0, tap, 0]
        return convolved.to(x.dtype)


class Block(nn.Module):
    """Band attention, then temporal convolutions; `(batch, frames, bands, channels)` → same."""

    def __init__(self, channels: int, expansion: int, heads: int, kernel_size: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.attention = BandAttention(channels, expansion, heads)
        self.convolutions = nn.ModuleList(
            TemporalConvolution(channels, expansion, kernel_size, dilation) for dilation in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform `(batch, frames, bands, channels)` to the same shape."""
        x = self.attention(x)
        for convolution in self.convolutions:
            x = convolution(x)
        return x
