"""Change the sample rate of a waveform, whole or block by block, with soxr (linear phase: the lag stays 0)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from apollo.errors import ApolloError


def resampled_length(frames: int, from_rate: int, to_rate: int) -> int:
    """The samples that `frames` become: frames · to_rate / from_rate, rounded, halves up."""
    return (2 * frames * to_rate + from_rate) // (2 * from_rate)


def resample(waveform: npt.NDArray[np.floating[Any]], from_rate: int, to_rate: int) -> npt.NDArray[np.float32]:
    """Resample a whole waveform.

    Args:
        waveform: Shape (channels, samples).
        from_rate: Its sample rate, in Hz.
        to_rate: The sample rate wanted, in Hz.

    Returns:
        float32 of shape (channels, `resampled_length(samples, from_rate, to_rate)`); the input itself where there is
        nothing to do.

    Raises:
        ApolloError: A sample rate is not above 0.
    """
    _check_rates(from_rate, to_rate)
    waveform = np.asarray(waveform, dtype=np.float32)
    if from_rate == to_rate:
        return waveform
    if waveform.shape[1] == 0:
        return waveform.copy()
    resampled = np.ascontiguousarray(soxr.resample(waveform.T, from_rate, to_rate).T)
    return _fit(resampled, resampled_length(waveform.shape[1], from_rate, to_rate))


class Resampler:
    """Resample a stream: what comes out, joined, is what `resample` makes of what went in, joined.

    Args:
        from_rate: Sample rate of what goes in, in Hz.
        to_rate: Sample rate of what comes out, in Hz.
        channels: Number of channels.

    Raises:
        ApolloError: A sample rate is not above 0.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        _check_rates(from_rate, to_rate)
        self._rates = (from_rate, to_rate)
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32")
        self._received = 0
        self._given = 0

    def process(self, block: npt.NDArray[np.floating[Any]], last: bool = False) -> npt.NDArray[np.float32]:
        """Take the next block and give what is ready.

        Args:
            block: Shape (channels, samples); may be empty.
            last: Whether the stream ends here, so that all the rest comes out. Nothing may follow.

        Returns:
            Shape (channels, any number of samples, 0 included).
        """
        samples = np.ascontiguousarray(np.asarray(block, dtype=np.float32).T)
        self._received += samples.shape[0]
        if self._rates[0] == self._rates[1]:
            return np.ascontiguousarray(samples.T)
        ready = np.ascontiguousarray(self._stream.resample_chunk(samples, last=last).T)
        if last:
            ready = _fit(ready, resampled_length(self._received, *self._rates) - self._given)
        self._given += ready.shape[1]
        return ready


def _check_rates(from_rate: int, to_rate: int) -> None:
    if from_rate <= 0 or to_rate <= 0:
        raise ApolloError(f"Cannot resample from {from_rate} to {to_rate} Hz; give sample rates above 0.")


def _fit(resampled: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Hold soxr to the length promised, from which rounding may keep it by a sample."""
    missing = length - resampled.shape[1]
    if missing > 0:
        resampled = np.pad(resampled, ((0, 0), (0, missing)))
    return resampled[:, :length]
