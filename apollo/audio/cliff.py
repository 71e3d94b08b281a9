"""How far up a recording reaches, and how steeply it ends there: a cliff in its spectrum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDING = 2.0**-30 / 12  # variance of the error that rounding to 16 bits makes
N_FFT = 4096
_BAND = 100.0  # Hz
_CLIFF_WIDTH = 500.0  # Hz
_CLIFF_RANGE = (1_500.0, 18_000.0)  # Hz: below, a bass line ends as steeply; above, converters and resamplers do
NATURAL_CLIFF = 22.0  # dB: music falls by as much at once (109 stems and ten finished recordings)

# The low-pass (Hz) that LAME 3.100 chooses for a constant bitrate (kbit/s), of those in common use: `optimum_bandwidth`
# in its lame.c. For mono it is half as high again. As LAME moves it to the edge of a filter, it is met within 5 %.
_LAME_LOWPASS = {
    16: 3700, 24: 3900, 32: 5500, 48: 7500, 64: 11000, 96: 15100, 128: 17000, 160: 17500, 192: 18600, 224: 19400,
    256: 19700, 320: 20500,
}  # fmt: skip


class CutoffMeter:
    """Measures how far up a recording reaches while it passes by, in blocks of any size.

    Args:
        sample_rate: In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._power: npt.NDArray[np.float64] = np.zeros(N_FFT // 2 + 1)
        self._segments = 0
        self._rest: npt.NDArray[np.float32] | None = None

    def push(self, block: npt.NDArray[np.float32]) -> None:
        """Take the next samples, (channels, any number)."""
        joined = block if self._rest is None else np.concatenate([self._rest, block], axis=1)
        whole = joined.shape[1] // N_FFT * N_FFT
        self._rest = joined[:, whole:].copy()
        if whole:
            powers = segment_powers(joined[:, :whole])
            self._power += powers.sum(axis=(0, 1))
            self._segments += powers.shape[0] * powers.shape[1]

    @property
    def cutoff_hz(self) -> float | None:
        """The frequency above which there is nothing, as `Bandwidth` has it; None of silence and of moments."""
        if not self._segments or not self._power.any():
            return None
        return cliff_of(self._power / self._segments, self._sample_rate)[0]


def segment_powers(stretch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Power spectra, (channels, segments, frequencies), in which white noise has its variance at each frequency."""
    window = np.hanning(N_FFT).astype(np.float32)
    segments = np.lib.stride_tricks.sliding_window_view(stretch, N_FFT, axis=1)[:, ::N_FFT]
    powers = np.abs(np.fft.rfft(segments * window)) ** 2 / np.sum(window**2)
    return np.asarray(powers, dtype=np.float32)


def cliff_of(power: npt.NDArray[np.float64], sample_rate: int) -> tuple[float, float]:
    """The cut-off in Hz and the height of the cliff in dB."""
    low, high = _CLIFF_RANGE
    high = min(high, 0.45 * sample_rate - _CLIFF_WIDTH)  # what falls where resamplers do was perhaps only resampled
    if high <= low:
        return sample_rate / 2, 0.0
    level, width = _levels(power, sample_rate)
    bands = len(level)
    reach = round(_CLIFF_WIDTH / width)
    above = np.maximum.accumulate(level[::-1])[::-1]
    before = np.convolve(level, np.full(3, 1 / 3), mode="valid")  # of a band and the two below
    fall = before[: bands - 2 - reach] - above[2 + reach :]
    edge = (np.arange(len(fall)) + 3) * width
    inside = (edge > low) & (edge < high)
    if not np.any(inside):
        return sample_rate / 2, 0.0
    steepest = int(np.argmax(np.where(inside, fall, -np.inf)))
    cliff = max(0.0, float(fall[steepest]))
    if cliff > NATURAL_CLIFF:
        return float(edge[steepest]), cliff
    return reach_of(power, sample_rate), cliff


def reach_of(power: npt.NDArray[np.float64], sample_rate: int) -> float:
    """The frequency in Hz above which there is no more than rounding to 16 bits leaves, dithered or not."""
    level, width = _levels(power, sample_rate)
    audible = np.flatnonzero(level > 10 * np.log10(ROUNDING) + 10)
    return float((audible[-1] + 1) * width if len(audible) else sample_rate / 2)


def _levels(power: npt.NDArray[np.float64], sample_rate: int) -> tuple[npt.NDArray[np.float64], float]:
    """The levels of bands in dB, and how wide in Hz these are."""
    lines = max(1, round(_BAND * N_FFT / sample_rate))
    bands = len(power) // lines
    level = 10 * np.log10(power[: bands * lines].reshape(bands, lines).mean(axis=1) + ROUNDING)
    return level, lines * sample_rate / N_FFT


def likely_bitrate(cutoff: float, cliff: float, channels: int) -> int | None:
    """Of the MP3 in kbit/s, by LAME's low-pass; None where nothing was filtered."""
    if cliff <= NATURAL_CLIFF:
        return None
    factor = 1.5 if channels == 1 else 1.0
    return min(_LAME_LOWPASS, key=lambda bitrate: abs(np.log(factor * _LAME_LOWPASS[bitrate] / cutoff)))
