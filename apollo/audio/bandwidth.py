"""Whether a recording that calls itself lossless has been through an MP3 encoder.

Two traces are looked for. One is where an encoder puts music to zero. It does so in its own transform, the hybrid
filterbank of ISO/IEC 11172-3 (a polyphase bank of 32 bands, then an MDCT of 18 lines in each, then butterflies against
aliasing), 576 samples at a time. Analysed with the same bank on the same grid of 576 samples, a decoded MP3 falls apart
into large coefficients and coefficients near zero; a single sample beside the grid, as anywhere in other music, all are
of middling size. So the mean logarithm of the coefficients is taken at all 576 offsets, and one that stands out gives
the encoder away, whatever the bitrate, and without any low-pass.

The other is a cliff in the spectrum, for what was coded at another sample rate, where the grid is lost. Alone it proves
less: music that was recorded at 22 or 32 kHz ends in one as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio.files import AudioReader

__all__ = ["Bandwidth", "CutoffMeter", "inspect_bandwidth"]

Stretch = npt.NDArray[np.float32]

_STRETCH = 2.0  # seconds
_STRETCHES = 12
_N_FFT = 4096
_BAND = 100.0  # Hz
_CLIFF_WIDTH = 500.0  # Hz
_CLIFF_RANGE = (1_500.0, 18_000.0)  # Hz: below, a bass line ends as steeply; above, converters and resamplers do
_ROUNDING = 2.0**-30 / 12  # variance of the error that rounding to 16 bits makes

_GRANULE = 576
_GRANULES = 16  # compared at once
_BLOCKS = 4
_TAPS = 512
_BLOCK = _GRANULE * (_GRANULES + 3) + _TAPS

# In dB. Music falls by up to 22 at once, and its coefficients by 0.06 (109 stems and ten finished recordings).
_NATURAL_CLIFF = 22.0
_CLIFF = 26.0
_COLLAPSE = 0.25

# The low-pass (Hz) that LAME 3.100 chooses for a constant bitrate (kbit/s), of those in common use: `optimum_bandwidth`
# in its lame.c. For mono it is half as high again. As LAME moves it to the edge of a filter, it is met within 5 %.
_LAME_LOWPASS = {
    16: 3700, 24: 3900, 32: 5500, 48: 7500, 64: 11000, 96: 15100, 128: 17000, 160: 17500, 192: 18600, 224: 19400,
    256: 19700, 320: 20500,
}  # fmt: skip


@dataclass(frozen=True)
class Bandwidth:
    """How far up a recording reaches, and what betrays an encoder.

    Attributes:
        cutoff_hz: The frequency above which there is nothing: at the cliff if there is one, else where the music sinks
            into what rounding to 16 bits leaves.
        cliff_db: The steepest fall, over 500 Hz, to a level that nothing above exceeds. Music has up to 22 dB.
        collapse_db: By how much the coefficients of the MP3 filterbank are smaller at one offset than at any other.
            Below 0.1 dB in music; above 1 dB in what was MP3 at the same sample rate and at 128 kbit/s or less.
        bitrate_kbps: Of the MP3, by LAME's low-pass: a guess; None where nothing is lossy or nothing was filtered.
        silent: Whether all of it is.
    """

    cutoff_hz: float
    cliff_db: float
    collapse_db: float
    bitrate_kbps: int | None
    silent: bool = False

    @property
    def lossy(self) -> bool:
        """Whether either trace is beyond doubt."""
        return _is_lossy(self.cliff_db, self.collapse_db)

    @property
    def was_mp3(self) -> bool:
        """Whether the grid of an MP3 encoder shows, which nothing else leaves."""
        return self.collapse_db > _COLLAPSE


class CutoffMeter:
    """Measures how far up a recording reaches while it passes by, in blocks of any size.

    Args:
        sample_rate: In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._power: npt.NDArray[np.float64] = np.zeros(_N_FFT // 2 + 1)
        self._segments = 0
        self._rest: Stretch | None = None

    def push(self, block: Stretch) -> None:
        """Take the next samples, (channels, any number)."""
        joined = block if self._rest is None else np.concatenate([self._rest, block], axis=1)
        whole = joined.shape[1] // _N_FFT * _N_FFT
        self._rest = joined[:, whole:].copy()
        if whole:
            powers = _segment_powers(joined[:, :whole])
            self._power += powers.sum(axis=(0, 1))
            self._segments += powers.shape[0] * powers.shape[1]

    @property
    def cutoff_hz(self) -> float | None:
        """The frequency above which there is nothing, as `Bandwidth` has it; None of silence and of moments."""
        if not self._segments or not self._power.any():
            return None
        return _cliff(self._power / self._segments, self._sample_rate)[0]


def inspect_bandwidth(source: AudioReader | str | Path) -> Bandwidth:
    """Look for the traces of MP3 in a recording: in at most twelve stretches of 2 s, unless those are silent.

    Args:
        source: A file, or a reader of one, which is left standing anywhere. Silence counts as music without an end.

    Raises:
        AudioFileError: It cannot be read.
    """
    with ExitStack() as opened:
        reader = source if isinstance(source, AudioReader) else opened.enter_context(AudioReader(source))
        total = reader.count()
        # On a grid of granules, so that all stretches see an encoder's at the same offset.
        length = min(total, round(_STRETCH * reader.sample_rate) // _GRANULE * _GRANULE + _BLOCK)
        silent, power, blocks = _listen(_spread(reader, total, length))
        if silent:
            silent, power, blocks = _listen(islice(_sounding(reader, length // _GRANULE * _GRANULE), _STRETCHES))
    cutoff, cliff = _cliff(power, reader.sample_rate)
    collapse = _collapse(blocks)
    bitrate = _likely_bitrate(cutoff, cliff, reader.channels) if _is_lossy(cliff, collapse) else None
    return Bandwidth(cutoff, cliff, collapse, bitrate, silent)


def _spread(reader: AudioReader, total: int, length: int) -> Iterator[Stretch]:
    """Stretches from start to end of a recording, as far apart as they can be."""
    places = min(_STRETCHES, -(-total // max(length, 1)))
    for place in np.linspace(0, total - length, places):
        reader.seek(int(place) // _GRANULE * _GRANULE)
        yield reader.read(length)


def _sounding(reader: AudioReader, length: int) -> Iterator[Stretch]:
    """All stretches that are not silent: a song may lie between long silences."""
    reader.seek(0)
    while (stretch := reader.read(length)).shape[1]:
        if stretch.any():
            yield stretch


def _listen(stretches: Iterable[Stretch]) -> tuple[bool, npt.NDArray[np.float64], list[Stretch]]:
    """Whether some stretches are silent, their mean power spectrum, and the loudest blocks of their mid channel."""
    silent = True
    power: npt.NDArray[np.float64] = np.zeros(_N_FFT // 2 + 1)
    segments = 0
    blocks: list[tuple[float, Stretch]] = []
    for found in stretches:
        stretch = found if np.isfinite(found).all() else np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        silent = silent and not stretch.any()
        if stretch.shape[1] >= _N_FFT:
            segment_powers = _segment_powers(stretch)
            power += segment_powers.sum(axis=(0, 1))
            segments += segment_powers.shape[0] * segment_powers.shape[1]
        mid = stretch.mean(axis=0)
        for start in range(0, len(mid) - _BLOCK + 1, _GRANULE * _GRANULES):
            block = mid[start : start + _BLOCK]
            blocks.append((float(np.vdot(block, block)), block.copy()))
        blocks = sorted(blocks, key=lambda block: -block[0])[:_BLOCKS]
    return silent, power / max(segments, 1), [block for loudness, block in blocks if loudness > 0]


def _is_lossy(cliff_db: float, collapse_db: float) -> bool:
    return cliff_db > _CLIFF or collapse_db > _COLLAPSE


def _segment_powers(stretch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Power spectra, (channels, segments, frequencies), in which white noise has its variance at each frequency."""
    window = np.hanning(_N_FFT).astype(np.float32)
    segments = np.lib.stride_tricks.sliding_window_view(stretch, _N_FFT, axis=1)[:, ::_N_FFT]
    powers = np.abs(np.fft.rfft(segments * window)) ** 2 / np.sum(window**2)
    return np.asarray(powers, dtype=np.float32)


def _cliff(power: npt.NDArray[np.float64], sample_rate: int) -> tuple[float, float]:
    """The cut-off in Hz and the height of the cliff in dB."""
    low, high = _CLIFF_RANGE
    high = min(high, 0.45 * sample_rate - _CLIFF_WIDTH)  # what falls where resamplers do was perhaps only resampled
    if high <= low:
        return sample_rate / 2, 0.0
    lines = max(1, round(_BAND * _N_FFT / sample_rate))
    bands = len(power) // lines
    level = 10 * np.log10(power[: bands * lines].reshape(bands, lines).mean(axis=1) + _ROUNDING)
    width = lines * sample_rate / _N_FFT
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
    if cliff > _NATURAL_CLIFF:
        return float(edge[steepest]), cliff
    audible = np.flatnonzero(level > 10 * np.log10(_ROUNDING) + 10)
    return float((audible[-1] + 1) * width if len(audible) else sample_rate / 2), cliff


def _likely_bitrate(cutoff: float, cliff: float, channels: int) -> int | None:
    if cliff <= _NATURAL_CLIFF:
        return None
    factor = 1.5 if channels == 1 else 1.0
    return min(_LAME_LOWPASS, key=lambda bitrate: abs(np.log(factor * _LAME_LOWPASS[bitrate] / cutoff)))


# Table C.1 (the analysis window), in units of 1/75038 and with the sign turns of every other 64 taken out: a low-pass.
# Its second half mirrors the first.
_WINDOW = """
    0 1 1 1 1 1 1 2 2 2 2 3 3 4 4 5 5 6 7 7 8 9 10 11 13 14 16 17 19 21 24 26 29 31 35 38 41 45 49 53 58 63 68 73 79 85
    91 97 104 111 117 125 132 139 147 154 161 169 176 183 190 196 202 208 213 218 222 225 227 228 228 227 224 221 215
    208 200 189 177 163 146 127 106 83 57 29 -2 -36 -72 -111 -153 -197 -244 -294 -347 -401 -459 -519 -581 -645 -711 -779
    -848 -919 -991 -1064 -1137 -1210 -1283 -1356 -1428 -1498 -1567 -1634 -1698 -1759 -1817 -1870 -1919 -1962 -2001 -2032
    -2057 -2075 -2085 -2087 -2080 -2063 -2037 -2000 -1952 -1893 -1822 -1739 -1644 -1535 -1414 -1280 -1131 -970 -794 -605
    -402 -185 45 288 545 814 1095 1388 1692 2006 2330 2663 3004 3351 3705 4063 4425 4788 5153 5517 5879 6237 6589 6935
    7271 7597 7910 8209 8491 8755 8998 9219 9416 9585 9727 9838 9916 9959 9966 9935 9863 9750 9592 9389 9139 8840 8492
    8092 7640 7134 6574 5959 5288 4561 3776 2935 2037 1082 70 -998 -2122 -3300 -4533 -5818 -7154 -8540 -9975 -11455
    -12980 -14548 -16155 -17799 -19478 -21189 -22929 -24694 -26482 -28289 -30112 -31947 -33791 -35640 -37489 -39336
    -41176 -43006 -44821 -46617 -48390 -50137 -51853 -53534 -55178 -56778 -58333 -59838 -61289 -62684 -64019 -65290
    -66494 -67629 -68692 -69679 -70590 -71420 -72169 -72835 -73415 -73908 -74313 -74630 -74856 -74992 -75038
"""


def _filterbank() -> npt.NDArray[np.float32]:
    """The 32 filters of the polyphase bank, each of unit energy on average: (taps, bands), for samples in order."""
    rising = np.array(_WINDOW.split(), dtype=np.float64)
    window = np.concatenate([rising, rising[1:-1][::-1]])
    tap, band = np.arange(_TAPS)[::-1, None], np.arange(32)
    filters = window[::-1, None] * np.cos((2 * band + 1) * (tap - 16) * np.pi / 64)  # 11172-3, C.1.3
    return np.asarray(filters / np.sqrt(np.mean(np.sum(filters**2, axis=0))), dtype=np.float32)


def _mdct() -> npt.NDArray[np.float32]:
    """The MDCT of long blocks with its sine window (2.4.3.4.10.3), orthonormal: (36 samples, 18 lines)."""
    sample, line = np.arange(36)[:, None], np.arange(18)
    matrix = np.sin(np.pi / 36 * (sample + 0.5)) * np.cos(np.pi / 72 * (2 * sample + 19) * (2 * line + 1)) / 3
    return np.asarray(matrix, dtype=np.float32)


def _collapse(blocks: list[npt.NDArray[np.float32]]) -> float:
    """By how many dB the mean logarithm at the best of 576 offsets is below that of any not next to it."""
    if not blocks:
        return 0.0
    filters, mdct = _filterbank(), _mdct()
    size = np.zeros(_GRANULE)
    for block in blocks:
        for phase in range(32):
            windows = np.lib.stride_tricks.sliding_window_view(block[phase:], _TAPS)[::32]
            bands = windows @ filters
            for slot in range(18):
                size[phase + 32 * slot] += _mean_log(bands[slot:], mdct)
    size *= 10 / len(blocks)
    best = int(np.argmin(size))
    apart = np.abs((np.arange(_GRANULE) - best + _GRANULE // 2) % _GRANULE - _GRANULE // 2) > 2
    return float(size[apart].min() - size[best])


_C = np.array([-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037])  # table 3-B.9
_CS, _CA = (1 / np.sqrt(1 + _C**2)).astype(np.float32), (_C / np.sqrt(1 + _C**2)).astype(np.float32)
_INVERSION = np.ones((32, 36), dtype=np.float32)  # every other sample of every other band (2.4.3.4.10.5)
_INVERSION[1::2, 1::2] = -1


def _mean_log(bands: npt.NDArray[np.float32], mdct: npt.NDArray[np.float32]) -> float:
    """The mean of log10 of the energy of all coefficients, from samples in bands: (slots, 32)."""
    granules = np.lib.stride_tricks.sliding_window_view(bands, 36, axis=0)[::18][:_GRANULES]
    lines = (granules * _INVERSION) @ mdct
    below, above = lines[:, :-1, 17:9:-1].copy(), lines[:, 1:, :8].copy()
    lines[:, :-1, 17:9:-1] = below * _CS + above * _CA
    lines[:, 1:, :8] = above * _CS - below * _CA
    # Without a floor, how small the smallest are would tell more of rounding than of music.
    return float(np.mean(np.log10(lines**2 + np.float32(2 * _ROUNDING))))
