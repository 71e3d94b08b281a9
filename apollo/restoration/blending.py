"""How much of the restored sound is in the output, and from which frequency up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from apollo.audio.fir import FIR, low_pass_kernel
from apollo.errors import ApolloError

TRANSITION_HZ = 200.0


@dataclass(frozen=True)
class Blend:
    """How input and restored sound are mixed; raises ApolloError if a value is out of range."""

    mix: float = 1.0  # share of the restored sound, from 0 (the input alone) to 1 (the restored alone)
    keep_below: float | None = None  # frequency in Hz below which the input is kept

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise ApolloError(f"mix must be from 0 (the input) to 1 (the restored signal), not {self.mix:g}")
        if self.keep_below is not None and not (self.keep_below >= TRANSITION_HZ and math.isfinite(self.keep_below)):
            raise ApolloError(f"keep_below must be {TRANSITION_HZ:g} Hz or more, not {self.keep_below:g}")

    @property
    def needs_input(self) -> bool:
        """Whether any of the input is in the output."""
        return self.mix < 1 or self.keep_below is not None


class BlendStream:
    """Blends a recording with its restoration, block by block.

    `out = in + mix · (restored − in)`; with `keep_below`, the difference goes through a linear-phase high-pass, which
    is a delay minus a low-pass. Where the network changes nothing, the output is exactly the input.
    """

    def __init__(self, blend: Blend, channels: int, sample_rate: int) -> None:
        self.mix = blend.mix
        self.high_pass: FIR | None = None
        if blend.keep_below is not None:
            kernel = -low_pass_kernel(sample_rate, blend.keep_below, TRANSITION_HZ)
            kernel[len(kernel) // 2] += 1
            self.high_pass = FIR(kernel, channels)
            self.silence = torch.zeros(channels, self.high_pass.reach)  # beyond the ends of the recording
            self.high_pass.push(self.silence.numpy())
        self.delay = self.high_pass.step - 1 + self.high_pass.reach if self.high_pass else 0
        self.waiting = torch.empty(channels, 0)  # the input from the next sample of the blend on
        self.restored = 0  # samples of that which have been restored

    def take(self, block: Tensor) -> None:
        """Take the next block of the input, `(channels, samples)`; it must come before its restoration."""
        self.waiting = torch.cat((self.waiting, block), dim=1)

    def push(self, restored: Tensor) -> Tensor:
        """Take the next restored block, `(channels, samples)`, and give what is ready."""
        return self.add(restored - self.waiting[:, self.restored : self.restored + restored.shape[1]])

    def add(self, difference: Tensor) -> Tensor:
        """Take the difference of the next restored block from the input, and give what is ready."""
        self.restored += difference.shape[1]
        if self.high_pass is not None:
            difference = torch.from_numpy(self.high_pass.push(difference.numpy()))
        return self._added(difference)

    def flush(self) -> Tensor:
        """Give the rest."""
        if self.high_pass is None:
            return self.waiting[:, :0]
        rest = np.concatenate((self.high_pass.push(self.silence.numpy()), self.high_pass.flush()), axis=1)
        return self._added(torch.from_numpy(rest))

    def _added(self, difference: Tensor) -> Tensor:
        """Add a block of the difference to the oldest input that waits."""
        samples = difference.shape[1]
        blended = self.waiting[:, :samples] + self.mix * difference
        self.waiting = self.waiting[:, samples:].clone()
        self.restored -= samples
        return blended
