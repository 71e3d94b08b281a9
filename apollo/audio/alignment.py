"""How late one recording of a piece of music is against another, to a fraction of a sample.

The generalised cross-correlation of Knapp and Carter, "The Generalized Correlation Method for Estimation of Time
Delay", IEEE Trans. ASSP 24(4), 1976, with the weights of Hannan and Thomson: each frequency counts as much as the two
recordings agree in it. That is what a lossy codec asks for. It leaves some bands nearly untouched and replaces others
by noise, whereas a plain correlation follows whatever is loudest: the bass, whose peak is too broad to tell one sample.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from apollo.errors import ApolloError

__all__ = ["lag"]

_SEGMENT = 4096
_OVERSAMPLING = 16
_MAX_COHERENCE = 0.999  # above, all bands are as good as one another: a finite weight for a perfect copy


def lag(reference: npt.NDArray[np.floating], other: npt.NDArray[np.floating], max_lag: int | None = None) -> float:
    """Estimate by how many samples `other` is later than `reference`.

    The sign is that of a delay: where `other[:, n + d] == reference[:, n]`, the lag is `d`; it is negative where
    `other` is ahead.

    Args:
        reference: Shape (channels, samples), or (samples,).
        other: The same music, with as many channels; it may differ in length.
        max_lag: The largest lag to look for, in samples; half of the shorter recording when not given.

    Returns:
        The lag in samples. On a few seconds of music it is good to 1/20 of a sample, through any codec that keeps some
        band of the music as it was.

    Raises:
        ApolloError: One of them is silent or shorter than 1024 samples, or their numbers of channels differ.
    """
    a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (reference, other))
    if a.shape[0] != b.shape[0]:
        raise ApolloError(f"Cannot align {a.shape[0]} channel(s) with {b.shape[0]}; give both the same number.")
    shorter = min(a.shape[1], b.shape[1])
    if shorter < 1024:
        raise ApolloError(f"Cannot align recordings of {shorter} samples; give at least 1024.")
    if not (np.any(a) and np.any(b)):
        raise ApolloError("Cannot align a recording that is silent throughout.")
    whole = _coarse_lag(a, b, shorter // 2 if max_lag is None else max_lag)
    # The second pass sees segments that the first has aligned, and so the coherence that is truly there.
    whole += round(_fine_lag(*_overlap(a, b, whole)))
    return whole + _fine_lag(*_overlap(a, b, whole))


def _coarse_lag(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], max_lag: int) -> int:
    # Differences weigh against the bass, whose correlation is too broad to point at a sample.
    a, b = np.diff(a), np.diff(b)
    n_fft = 1 << int(np.ceil(np.log2(a.shape[1] + b.shape[1])))
    spectrum = sum(np.conj(np.fft.rfft(x, n_fft)) * np.fft.rfft(y, n_fft) for x, y in zip(a, b, strict=True))
    correlation = np.fft.irfft(spectrum, n_fft)
    max_lag = min(max_lag, n_fft // 2 - 1)
    near = np.concatenate([correlation[n_fft - max_lag :], correlation[: max_lag + 1]])
    return int(np.argmax(near)) - max_lag


def _overlap(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], whole: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = a[:, max(-whole, 0) :], b[:, max(whole, 0) :]
    length = min(a.shape[1], b.shape[1])
    return a[:, :length], b[:, :length]


def _fine_lag(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The lag of recordings that are a few samples apart: the peak of the weighted cross-correlation."""
    size = min(_SEGMENT, 1 << int(np.log2(a.shape[1] / 4)))
    window = np.hanning(size)
    fa, fb = (
        np.fft.rfft(window * np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, :: size // 2]) for x in (a, b)
    )
    cross = np.sum(np.conj(fa) * fb, axis=(0, 1))
    power = np.sum(np.abs(fa) ** 2, axis=(0, 1)) * np.sum(np.abs(fb) ** 2, axis=(0, 1))
    coherence = np.abs(cross) ** 2 / np.maximum(power, np.finfo(np.float64).tiny)
    # Noise alone has a coherence of one over the number of segments (half overlapped: about 1.5 of them make one).
    bias = 1.5 / (fa.shape[0] * fa.shape[1])
    coherence = np.clip((coherence - bias) / (1 - bias), 0.0, _MAX_COHERENCE)
    weighted = np.exp(1j * np.angle(cross)) * coherence / (1 - coherence)
    n_fft = size * _OVERSAMPLING
    correlation = np.fft.irfft(weighted, n_fft)
    reach = n_fft // 8
    near = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    peak = int(np.clip(np.argmax(near), 1, 2 * reach - 1))
    left, centre, right = near[peak - 1 : peak + 2]
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float((peak - reach + offset) / _OVERSAMPLING)
