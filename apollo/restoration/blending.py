"""How much of the restoration is heard, and from which frequency up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apollo.errors import ApolloError

TRANSITION_HZ = 200.0
ATTENUATION_DB = 80.0
KAISER_BETA = 0.1102 * (ATTENUATION_DB - 8.7)


@dataclass(frozen=True)
class Blend:
    """What is taken from the input and what from the restored.

    Attributes:
        mix: Share of the restored, from 0 (the input itself) to 1 (the restored alone).
        keep_below: Frequency in Hz below which the input's own sound is kept, whatever the network makes of it.

    Raises:
        ApolloError: If there is no such share or frequency.
    """

    mix: float = 1.0
    keep_below: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise ApolloError(f"mix must lie from 0 (the input) to 1 (the restored), not at {self.mix:g}")
        if self.keep_below is not None and not (self.keep_below >= TRANSITION_HZ and math.isfinite(self.keep_below)):
            raise ApolloError(f"keep_below must be {TRANSITION_HZ:g} Hz or more, not {self.keep_below:g}")

    @property
    def needs_input(self) -> bool:
        """Whether anything of the input is heard."""
        return self.mix < 1 or self.keep_below is not None


class BlendStream:
    """Blends a recording with its restoration, both of which come in blocks.

    `out = in + mix · (wet − in)`, where `wet` is the restored, or with `keep_below` the restored with the low band of
    the input in place of its own: `wet = restored + lowpass(in − restored)`. Where the network changes nothing, that is
    the input exactly; as the low-pass has linear phase and its delay is taken out, the two bands always fit together.

    Args:
        blend: What to take of each.
        channels: Number of channels.
        sample_rate: In Hz.
    """

    def __init__(self, blend: Blend, channels: int, sample_rate: int) -> None:
        self.mix = blend.mix
        self.low_pass: LowPass | None = None
        if blend.keep_below is not None:
            self.low_pass = LowPass(channels, sample_rate, blend.keep_below)
        self.delay = self.low_pass.delay if self.low_pass else 0
        self.dry = Waiting(channels)
        self.wet = Waiting(channels)

    def take(self, block: Tensor) -> None:
        """Take the next block of the input, `(channels, samples)`; it must come before its restoration."""
        self.dry.push(block)

    def push(self, restored: Tensor) -> Tensor:
        """Take the next restored block, `(channels, samples)`, and give what has become certain."""
        if self.low_pass is None:
            return self._mixed(self.dry.pop(restored.shape[1]), restored)
        before = self.wet.samples
        self.wet.push(restored)
        # What waits longest in `dry` has been through the low-pass already: it is there for the mix.
        difference = self.dry.peek(before, restored.shape[1]) - restored
        return self._crossed(self.low_pass.push(difference))

    def flush(self) -> Tensor:
        """Give the rest."""
        if self.low_pass is None:
            return torch.empty(self.dry.channels, 0)
        return self._crossed(self.low_pass.flush())

    def _crossed(self, low: Tensor) -> Tensor:
        """Put what the low-pass has given beside what waits for it."""
        samples = low.shape[1]
        return self._mixed(self.dry.pop(samples), self.wet.pop(samples) + low)

    def _mixed(self, dry: Tensor, wet: Tensor) -> Tensor:
        return wet if self.mix == 1 else dry + self.mix * (wet - dry)  # exact where both are the same


class Waiting:
    """Samples that wait for others, first in, first out."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.held = torch.empty(channels, 0)

    @property
    def samples(self) -> int:
        """How many wait."""
        return self.held.shape[1]

    def push(self, block: Tensor) -> None:
        """Let a block wait, `(channels, samples)`."""
        self.held = torch.cat((self.held, block), dim=1)

    def peek(self, start: int, samples: int) -> Tensor:
        """Look at samples that go on waiting."""
        return self.held[:, start : start + samples]

    def pop(self, samples: int) -> Tensor:
        """Give those that have waited longest."""
        given, self.held = self.held[:, :samples], self.held[:, samples:].clone()
        return given


class LowPass:
    """A linear-phase low-pass over a stream, its delay taken out: as many samples come out as went in.

    A sinc under a Kaiser window (Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5.3), 6 dB down at
    the cut-off and 80 dB down 100 Hz above it, by overlap-save on a grid that starts with the recording: how it comes
    cut into blocks does not show. Beyond its ends a recording is taken to be silent.

    Args:
        channels: Number of channels.
        sample_rate: In Hz.
        cutoff: In Hz; half the sample rate and more let all pass.
    """

    def __init__(self, channels: int, sample_rate: int, cutoff: float) -> None:
        kernel = low_pass_kernel(sample_rate, cutoff)
        self.reach = len(kernel) // 2
        self.n_fft = max(1 << 10, 1 << (8 * len(kernel)).bit_length())  # about the fastest for such a kernel
        self.step = self.n_fft - 2 * self.reach
        self.response = np.fft.rfft(kernel, self.n_fft)
        # The recording from `reach` before the next sample to be given.
        self.known = Waiting(channels)
        self.known.push(torch.zeros(channels, self.reach))
        self.taken = self.given = 0

    @property
    def delay(self) -> int:
        """Samples that it may lag behind."""
        return self.step - 1 + self.reach

    def push(self, block: Tensor) -> Tensor:
        """Take the next block, `(channels, samples)`, and give what is ready."""
        self.taken += block.shape[1]
        self.known.push(block)
        parts = [torch.empty(self.known.channels, 0)]
        while self.known.samples >= self.n_fft:
            parts.append(self._filtered(self.known.peek(0, self.n_fft)))
            self.known.pop(self.step)
        given = torch.cat(parts, dim=1)
        self.given += given.shape[1]
        return given

    def flush(self) -> Tensor:
        """Give the rest."""
        missing = self.taken - self.given
        self.known.push(torch.zeros(self.known.channels, self.n_fft - self.known.samples))
        # Less than `n_fft` was known, so one step and what silence brings is all there is.
        parts: list[Tensor] = []
        while missing > sum(part.shape[1] for part in parts):
            parts.append(self._filtered(self.known.peek(0, self.n_fft)))
            self.known.pop(self.step)
            self.known.push(torch.zeros(self.known.channels, self.step))
        return torch.cat([torch.empty(self.known.channels, 0), *parts], dim=1)[:, :missing]

    def _filtered(self, known: Tensor) -> Tensor:
        spectrum = np.fft.rfft(known.numpy().astype(np.float64), self.n_fft) * self.response
        # The first 2 · reach samples of a circular convolution are those that wrap.
        return torch.from_numpy(np.fft.irfft(spectrum, self.n_fft)[:, 2 * self.reach :].astype(np.float32))


def low_pass_kernel(sample_rate: int, cutoff: float) -> npt.NDArray[np.float64]:
    """The impulse response, symmetric, of an odd length and of gain 1 at 0 Hz."""
    if cutoff >= sample_rate / 2:
        return np.ones(1)
    # Kaiser's formula for the length: (attenuation − 8 dB) / (2.285 · transition in radians a sample).
    half = math.ceil((ATTENUATION_DB - 8) / (2.285 * 2 * math.pi * TRANSITION_HZ / sample_rate) / 2)
    kernel = np.sinc(2 * cutoff / sample_rate * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, KAISER_BETA)
    return np.asarray(kernel / kernel.sum())
