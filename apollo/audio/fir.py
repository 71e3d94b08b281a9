"""Linear-phase filters of finite length, whole or block by block.

A symmetric kernel of an odd length moves nothing: sample `n` of what comes out is the kernel over the samples around
sample `n` of what goes in.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ATTENUATION_DB = 80.0


def low_pass_kernel(sample_rate: int, cutoff: float, transition: float) -> npt.NDArray[np.float64]:
    """A low-pass: a sinc under a Kaiser window (Oppenheim and Schafer, Discrete-Time Signal Processing, 7.5.3).

    It is 6 dB down at the cutoff and, half a transition in Hz above it, 80 dB; from half the sample rate on, it lets
    all pass. The kernel is symmetric, of an odd length and of gain 1 at 0 Hz.
    """
    if cutoff >= sample_rate / 2:
        return np.ones(1)
    # Kaiser's formulas: for the length, (attenuation - 8 dB) / (2.285 · transition in radians a sample).
    half = math.ceil((ATTENUATION_DB - 8) / (2.285 * 2 * math.pi * transition / sample_rate) / 2)
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    kernel = np.sinc(2 * cutoff / sample_rate * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, beta)
    return np.asarray(kernel / kernel.sum())


class FIR:
    """Filters a stream by overlap-save with a symmetric kernel of odd length; how it is cut into blocks does not show.

    What comes out, joined, is the convolution where the kernel lies on samples throughout: `2 * reach` samples less
    than went in, `reach` at either end. What is to lie beyond the ends goes in before and after.
    """

    def __init__(self, kernel: npt.NDArray[np.float64], channels: int) -> None:
        self.reach = len(kernel) // 2
        self.n_fft = max(1 << 10, 1 << (8 * len(kernel)).bit_length())  # about the fastest for such a kernel
        self.step = self.n_fft - 2 * self.reach
        self._response = np.fft.rfft(kernel, self.n_fft)
        self._known = np.zeros((channels, 0), np.float32)

    def push(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Take the next block, `(channels, samples)`, and give what is ready."""
        self._known = np.concatenate([self._known, block], axis=1)
        parts = [self._known[:, :0]]
        while self._known.shape[1] >= self.n_fft:
            parts.append(self._filtered(self._known[:, : self.n_fft]))
            self._known = self._known[:, self.step :]
        return np.concatenate(parts, axis=1)

    def flush(self) -> npt.NDArray[np.float32]:
        """Give the rest."""
        rest = max(0, self._known.shape[1] - 2 * self.reach)
        return self._filtered(self._known)[:, :rest]

    def _filtered(self, known: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        filtered = np.fft.irfft(np.fft.rfft(known.astype(np.float64), self.n_fft) * self._response, self.n_fft)
        # The first 2 · reach samples of a circular convolution are those that wrap.
        return filtered[:, 2 * self.reach :].astype(np.float32)
