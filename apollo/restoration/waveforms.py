"""Checks of what can be restored: floating-point waveforms, their sample rates and peaks."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apollo.errors import ApolloError, WaveformError

Waveform = TypeVar("Waveform", Tensor, npt.NDArray[Any])

LARGEST = float(np.finfo(np.float32).max)
RATES = (1000, 1_000_000)  # Hz; beyond, a header is damaged, and a second may become hours
MANY_CHANNELS = 8  # an array with more channels, and fewer samples than channels, is taken for a transposed one


def as_tensor(waveform: Tensor | npt.NDArray[Any], channels: int | None = None) -> Tensor:
    """A waveform as a tensor without a graph, in the same memory if possible.

    Raises WaveformError if it is not floating point of shape `(channels, samples)`.
    """
    if not isinstance(waveform, Tensor | np.ndarray):
        raise WaveformError(f"a waveform must be a NumPy array or a torch tensor, not {type(waveform).__name__}")
    shape = tuple(waveform.shape)
    if len(shape) != 2:
        hint = ": give waveform[None] for one channel" if len(shape) == 1 else ""
        raise WaveformError(f"a waveform must be (channels, samples), not of shape {shape}{hint}")
    turned = channels is not None and shape[0] != channels == shape[1]
    if turned or (shape[0] > max(MANY_CHANNELS, shape[1]) and shape[1] > 0):
        raise WaveformError(
            f"a waveform must be (channels, samples), but {shape} looks like (samples, channels): give waveform.T"
        )
    if channels is not None and shape[0] != channels:
        raise WaveformError(f"a block must have {channels} channels, as the recording has, not {shape[0]}")
    is_float = waveform.is_floating_point() if isinstance(waveform, Tensor) else waveform.dtype.kind == "f"
    if not is_float:
        raise WaveformError(
            "a waveform must be (channels, samples) in floating point with full scale 1, "
            f"not {waveform.dtype}: convert it"
        )
    if isinstance(waveform, Tensor):
        if waveform.layout != torch.strided or waveform.is_meta or waveform.dtype.itemsize < 2:
            raise WaveformError("a waveform must be a dense tensor of 16 bits or more: convert it")
        return waveform.detach()
    # torch refuses negative strides, foreign byte order and extended precision, and warns about read-only arrays.
    kind = waveform.dtype.newbyteorder("=") if waveform.dtype.itemsize <= 8 else np.dtype(np.float64)
    return torch.from_numpy(np.require(waveform, kind, ["C", "W"]))


def as_rate(sample_rate: float) -> int:
    """A sample rate in Hz as a whole number; raises ApolloError if it is none, or one that no recording has."""
    number = isinstance(sample_rate, int | float | np.integer | np.floating) and not isinstance(sample_rate, bool)
    if not number or not RATES[0] <= sample_rate <= RATES[1] or sample_rate != int(sample_rate):
        raise ApolloError(
            f"cannot restore at {sample_rate!r} Hz: give sample rates above 0, whole numbers from {RATES[0]} to "
            f"{RATES[1]}"
        )
    return int(sample_rate)


def peaks_of(waveform: Tensor) -> list[float]:
    """Largest magnitude in each channel of `(channels, samples)`, at least one sample.

    Raises ApolloError if a sample is NaN, infinite or too large for float32.
    """
    peaks = [float(peak) for peak in torch.maximum(waveform.amax(dim=1), -waveform.amin(dim=1))]
    if not all(math.isfinite(peak) for peak in peaks):
        raise ApolloError("the audio contains NaN or infinite samples")
    if max(peaks, default=0.0) > LARGEST:
        raise ApolloError("the audio holds samples too large for float32: scale it to full scale 1")
    return peaks
