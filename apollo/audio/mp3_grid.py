"""Whether music is on the grid of an MP3 encoder, as `apollo.audio.grids` tells.

Its transform is the hybrid filterbank of ISO/IEC 11172-3: a polyphase bank of 32 bands, then an MDCT of 18 lines in
each, then butterflies against aliasing, 576 samples at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from apollo.audio.grids import Block, flatness, standing_out
from apollo.audio.mdct import Samples

GRANULE = 576
_GRANULES = 4  # of each block, that are looked at
_TAPS = 512
LENGTH = GRANULE * (_GRANULES + 2) + _TAPS  # samples of a block

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


def mp3_trace(blocks: Sequence[Block]) -> float:
    """By how many standard deviations the grid stands out in blocks of one recording, of `LENGTH` samples or more."""
    if not blocks:
        return 0.0
    filters, mdct = _filterbank(), _mdct()
    total = np.zeros(GRANULE)
    for block in blocks:
        curve = np.empty(GRANULE)
        for phase in range(32):
            windows = np.lib.stride_tricks.sliding_window_view(block.samples[phase:LENGTH], _TAPS)[::32]
            lines = _lines(windows @ filters, mdct).reshape(_GRANULES, 18, 32, 18)
            curve[phase::32] = flatness(lines.swapaxes(0, 1), 18)
        total += np.roll(curve, block.start % GRANULE)
    return standing_out(total / len(blocks), len(blocks) * _GRANULES * GRANULE)[1]


_C = np.array([-0.6, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037])  # table 3-B.9
_CS, _CA = (1 / np.sqrt(1 + _C**2)).astype(np.float32), (_C / np.sqrt(1 + _C**2)).astype(np.float32)
_INVERSION = np.ones((32, 36), dtype=np.float32)  # every other sample of every other band (2.4.3.4.10.5)
_INVERSION[1::2, 1::2] = -1


def _lines(bands: Samples, mdct: Samples) -> Samples:
    """The coefficients of granules from each slot on, (slots, 32, 18), from samples in bands, (slots, 32)."""
    granules = np.lib.stride_tricks.sliding_window_view(bands, 36, axis=0)[: 18 * _GRANULES]
    lines = (granules * _INVERSION) @ mdct
    below, above = lines[:, :-1, 17:9:-1].copy(), lines[:, 1:, :8].copy()
    lines[:, :-1, 17:9:-1] = below * _CS + above * _CA
    lines[:, 1:, :8] = above * _CS - below * _CA
    return np.asarray(lines, dtype=np.float32)
