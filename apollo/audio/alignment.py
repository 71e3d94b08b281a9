"""How two recordings of a piece of music relate: how late one is, to a fraction of a sample, and what else differs.

The generalised cross-correlation of Knapp and Carter, "The Generalized Correlation Method for Estimation of Time
Delay", IEEE Trans. ASSP 24(4), 1976, with the weights of Hannan and Thomson: each frequency counts as much as the two
recordings agree in it. That is what a lossy codec asks for. It leaves some bands nearly untouched and replaces others
by noise, whereas a plain correlation follows whatever is loudest: the bass, whose peak is too broad to tell one sample.

`lag` compares waveforms. `relate` compares files by a few parts of them, and gives a verdict.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio.files import AudioReader
from apollo.audio.resampling import resample
from apollo.errors import ApolloError

_SHORTEST = 1024
_SEGMENT = 4096
_OVERSAMPLING = 16
_STRETCH = 8.0  # seconds that `relate` reads at once, of each file
_STRETCHES = 5
_PARTS = 3  # of a stretch, each compared by itself
_FAINT = 1e-4  # of the loudest part's power: what is fainter tells of the codec rather than of the music
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
    if shorter < _SHORTEST:
        raise ApolloError(f"Cannot align recordings of {shorter} samples; give at least {_SHORTEST}.")
    if not (np.any(a) and np.any(b)):
        raise ApolloError("Cannot align a recording that is silent throughout.")
    limit = shorter // 2 if max_lag is None else max_lag
    whole, _ = _coarse_lag(a, b, -limit, limit)
    # The second pass sees segments that the first has aligned, and so the coherence that is truly there.
    whole += round(_fine_lag(*_overlap(a, b, whole)))
    return whole + _fine_lag(*_overlap(a, b, whole))


@dataclass(frozen=True)
class Relation:
    """How another recording relates to a reference."""

    # By how many samples the other is later, at the reference's rate, halfway through the music both have.
    lag: float = 0.0
    # By how many samples, to about a fifth, the lag grows from the beginning of that music to its end.
    drift: float = 0.0
    jump: float = 0.0  # how far the lag departs from a steady drift, in samples, between the places compared
    polarity: int = 1  # 1, or -1 where the other is the reference upside down
    swapped: bool = False  # whether left is right and right is left
    gain_db: float = 0.0  # how much louder the other is, in dB
    # How much of the music agrees, 0 to 1: the coherence of the two, weighted by power. Over 0.8 for codecs at 24
    # kbit/s and above, near 1 for those that do little, below 0.3 for different music. NaN where either is silent or
    # shorter than 1024 samples; then the lag is 0, and all else says that nothing differs.
    similarity: float = math.nan
    least_similarity: float = math.nan  # that of the part, of two or three seconds, that agrees least

    @property
    def problem(self) -> str | None:
        """What forbids to take the two, shifted by the lag, for a pair, in one sentence; None if nothing does.

        They must agree by a quarter overall, or they are called different music, and by half in each part; the lag
        must stay within 4 samples and rise by less than 3. What a codec makes from 24 kbit/s upwards stays within two.
        """
        if math.isnan(self.similarity):
            return "there is too little sound to compare"
        if self.similarity < 0.25:
            return "they are not the same music"
        if self.jump > 4.0:
            return f"the lag jumps by {self.jump:.0f} samples within the file, as if something were cut out"
        if self.least_similarity < 0.5:
            return "they are the same music only in parts"
        if abs(self.drift) > 3.0:
            return f"the lag drifts by {self.drift:.0f} samples over the file"
        if self.polarity < 0:
            return "the polarity is inverted"
        if self.swapped:
            return "left and right are swapped"
        return None


def relate(
    reference: AudioReader | str | Path, other: AudioReader | str | Path, max_lag_seconds: float = 1.0
) -> Relation:
    """Compare two files by a few stretches of theirs, in memory that does not grow with their length.

    At most five stretches of 8 s are read of each, evenly spread over the time that both last. What is heard in the
    middle is compared, so that mono fits stereo. The other may have any sample rate; drifts of up to 50 parts per
    million are measured; a greater one may look like a cut or like different music.

    Args:
        reference: A file, or a reader of one, which is left standing anywhere.
        other: The same music, perhaps.
        max_lag_seconds: The largest lag to look for.

    Raises:
        AudioFileError: One of them cannot be read.
    """
    with ExitStack() as opened:
        a, b = (x if isinstance(x, AudioReader) else opened.enter_context(AudioReader(x)) for x in (reference, other))
        common = min(a.count(), b.count() * a.sample_rate // b.sample_rate)
        length = min(round(_STRETCH * a.sample_rate), common)
        places = min(_STRETCHES, common // max(length, 1))
        starts = [round(p) for p in np.linspace(0, common - length, places)] if places > 1 else [(common - length) // 2]
        margin = round(max_lag_seconds * a.sample_rate)
        parts = [part for start in starts for part in _compare(a, b, start, length, margin)]
    loudest = max((part.power for part in parts), default=0.0)
    parts = [part for part in parts if part.power > _FAINT * loudest]
    return _summary(parts, common) if parts else Relation()


@dataclass(frozen=True)
class _Part:
    """What comparing a part of the music gave: `place` is its middle, in samples of the reference."""

    place: float
    lag: float
    similarity: float
    power: float  # of the reference's middle
    product: float  # of the middles
    side_product: float  # of left minus right; 0 in mono
    side_power: float


def _compare(a: AudioReader, b: AudioReader, start: int, length: int, margin: int) -> list[_Part]:
    """Compare the parts of a stretch of `a` with what lies within `margin` samples of them in `b`."""
    a.seek(start)
    x = a.read(length).astype(np.float64)
    first = max(0, (start - margin) * b.sample_rate // a.sample_rate)
    b.seek(first)
    wanted = -(-(start + length + margin) * b.sample_rate // a.sample_rate) - first
    y = resample(b.read(wanted), b.sample_rate, a.sample_rate).astype(np.float64)
    lead = start - first * a.sample_rate / b.sample_rate  # by how much the stretch of `b` begins before that of `a`
    mid_x, mid_y = x.mean(axis=0, keepdims=True), y.mean(axis=0, keepdims=True)
    if length < _SHORTEST or y.shape[1] < _SHORTEST:
        return []
    whole, sign = _coarse_lag(mid_x, mid_y, math.floor(lead - margin), math.ceil(lead + margin), either_sign=True)
    count = _PARTS if length >= _PARTS * 4 * _SEGMENT else 1
    parts = []
    for begin, end in ((n * length // count, (n + 1) * length // count) for n in range(count)):
        u, v = _overlap(mid_x[:, begin:end], mid_y, whole + begin)
        if u.shape[1] < _SHORTEST or not (np.any(u) and np.any(v)):
            continue
        cross, coherence, power = _coherence(u, sign * v)
        side_product = side_power = 0.0
        if len(x) == len(y) == 2:
            side_x, side_y = _overlap((x[:1] - x[1:])[:, begin:end], y[:1] - y[1:], whole + begin)
            side_product = float(np.vdot(side_x, side_y))
            side_power = float(np.sqrt(np.vdot(side_x, side_x) * np.vdot(side_y, side_y)))
        parts.append(
            _Part(
                place=start + (begin + end) / 2,
                lag=whole + _peak(cross, coherence) - lead,
                similarity=float(np.sum(np.sqrt(power) * coherence) / np.sum(np.sqrt(power))),
                power=float(np.vdot(u, u)),
                product=float(np.vdot(u, v)),
                side_product=side_product,
                side_power=side_power,
            )
        )
    return parts


def _summary(parts: list[_Part], length: int) -> Relation:
    # Parts that do not agree have no lag to speak of.
    sure = [part for part in parts if part.similarity >= 0.5] or parts
    slopes = [(q.lag - p.lag) / (q.place - p.place) for p, q in combinations(sure, 2)]
    slope = float(np.median(slopes)) if len(slopes) >= 3 else 0.0  # Theil and Sen's: a jump does not tilt it
    level = [part.lag - slope * (part.place - length / 2) for part in sure]
    power, product = sum(part.power for part in parts), sum(part.product for part in sure)
    polarity = -1 if product < 0 else 1
    side_product, side_power = sum(part.side_product for part in sure), sum(part.side_power for part in sure)
    return Relation(
        lag=float(np.median(level)),
        drift=slope * length,
        jump=max(level) - min(level),
        polarity=polarity,
        swapped=polarity * side_product < -0.2 * side_power and side_power > _FAINT * power,
        gain_db=20 * math.log10(max(abs(product), 1e-300) / sum(part.power for part in sure)),
        similarity=sum(part.similarity * part.power for part in parts) / power,
        least_similarity=min(part.similarity for part in parts),
    )


def _coarse_lag(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], low: int, high: int, either_sign: bool = False
) -> tuple[int, int]:
    """The lag from `low` to `high` of the highest correlation and its sign, which is 1 unless either may be."""
    # Differences weigh against the bass, whose correlation is too broad to point at a sample.
    a, b = np.diff(a), np.diff(b)
    # Long enough that no lag asked for wraps around, and a product of small primes.
    n_fft = -(-max(b.shape[1] + max(0, -low), a.shape[1] + max(0, high), 1) // 4096) * 4096
    spectrum = sum(np.conj(np.fft.rfft(x, n_fft)) * np.fft.rfft(y, n_fft) for x, y in zip(a, b, strict=True))
    lags = np.arange(max(low, 1 - a.shape[1]), min(high, b.shape[1] - 1) + 1)
    near = np.fft.irfft(spectrum, n_fft)[lags]
    best = int(np.argmax(np.abs(near) if either_sign else near))
    return int(lags[best]), -1 if either_sign and near[best] < 0 else 1


def _overlap(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], whole: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = a[:, max(-whole, 0) :], b[:, max(whole, 0) :]
    length = min(a.shape[1], b.shape[1])
    return a[:, :length], b[:, :length]


def _fine_lag(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """The lag of recordings that are a few samples apart."""
    cross, coherence, _ = _coherence(a, b)
    return _peak(cross, coherence)


def _coherence(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The cross spectrum, the squared coherence, and the product of the powers, all by frequency."""
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
    return cross, np.clip((coherence - bias) / (1 - bias), 0.0, _MAX_COHERENCE), power


def _peak(cross: npt.NDArray[np.complex128], coherence: npt.NDArray[np.float64]) -> float:
    """Where the weighted cross-correlation peaks, in samples."""
    weighted = np.exp(1j * np.angle(cross)) * coherence / (1 - coherence)
    n_fft = 2 * (len(cross) - 1) * _OVERSAMPLING
    correlation = np.fft.irfft(weighted, n_fft)
    reach = n_fft // 8
    near = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    peak = int(np.clip(np.argmax(near), 1, 2 * reach - 1))
    left, centre, right = near[peak - 1 : peak + 2]
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float((peak - reach + offset) / _OVERSAMPLING)
