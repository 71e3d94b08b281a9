"""What gives a lossy encoder away: the grid on which it put music to zero.

An encoder cuts music into frames, transforms them, and rounds the coefficients, many of them to zero. In the decoded
music, the same transform at the same places gives few large coefficients and many near zero; a single sample beside, or
with another window, all are of medium size. So spectra are the least flat at one offset of all that a frame can have
(after J. Herre and M. Schug, "Analysis of decompressed audio - the inverse decoder", AES 109, 2000, and O. Derrien,
"Detection of genuine lossless audio files: application to the MPEG-AAC codec", J. Audio Eng. Soc. 67, 2019).

Flatness is measured in narrow bands, so that neither level nor colour of the music counts. At all other offsets it is
spread as by chance: how far an offset stands out is told in standard deviations of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apollo.audio.cliff import ROUNDING
from apollo.audio.mdct import Samples

Curve = npt.NDArray[np.float64]  # flatness in dB, at each offset

_FLOOR = np.float32(2 * ROUNDING)  # without it, how small the smallest are would tell more of rounding than of music
_LEAST_SPREAD = 6.0  # dB, of a single coefficient: music has 8, and less where there is nothing above some frequency
BESIDE = 2  # samples from the grid that still show some of it
_FRAMES = (576, 960, 1024)  # samples, of MP3, Opus and AAC
_ALIKE = 0.98
_CHANGES = 3  # of the grid, while it is looked at
_RIVAL = 1.5  # by this factor the best offset stands out more than the next


@dataclass(frozen=True)
class Block:
    """A piece of one channel of a recording."""

    samples: Samples
    start: int  # where it begins, in samples of the recording


def repeats(block: Block) -> bool:
    """Whether a block repeats itself from frame to frame, as no music does, but tones and waves made by machines."""
    edges = np.diff(block.samples)
    for frame in _FRAMES:
        for lag in (frame, 2 * frame):
            early, late = edges[:-lag], edges[lag:]
            if np.vdot(early, late) > _ALIKE * np.sqrt(np.vdot(early, early)) * np.sqrt(np.vdot(late, late)):
                return True
    return False


def flatness(lines: Samples, width: int) -> Curve:
    """Geometric over arithmetic mean of the energy in bands of `width` lines, in dB, mean over all: (offsets).

    Args:
        lines: Coefficients, of any shape (offsets, ..., lines).
        width: Lines that make a band.
    """
    energy = lines.reshape(len(lines), -1, width) ** 2 + _FLOOR
    means = energy @ np.full(width, 1 / width, np.float32)
    geometric = np.log(energy).reshape(len(lines), -1).mean(axis=1)
    return np.asarray(10 / np.log(10) * (geometric - np.log(means).mean(axis=1)), dtype=np.float64)


def standing_out(curve: Curve, coefficients: int, period: int = 0) -> tuple[int, float]:
    """The offset of least flatness, and by how many standard deviations of the others it is below them.

    Args:
        curve: Flatness at each offset of a frame, in order.
        coefficients: From how many each value comes.
        period: Where an encoder may change its grid, it does so by a multiple of this: a few of these offsets may stand
            out as well.

    Returns:
        The offset, and 0 where another one stands out nearly as much: an encoder has one.
    """
    best, offsets = int(np.argmin(curve)), len(curve)
    distance = np.abs((np.arange(offsets) - best + offsets // 2) % offsets - offsets // 2)
    others = np.where(distance > BESIDE, curve, np.inf)
    if period:
        changed = others[best % period :: period]
        changed[np.argsort(changed)[:_CHANGES]] = np.inf
    return best, against(curve[best : best + 1], others[np.isfinite(others)], coefficients)


def against(candidates: Curve, controls: Curve, coefficients: float) -> float:
    """By how many standard deviations of the controls the best candidate is below them; 0 where one of them is near."""
    middle = float(np.median(controls))
    spread = max(1.4826 * float(np.median(np.abs(controls - middle))), _LEAST_SPREAD / float(np.sqrt(coefficients)))
    fall, rival = middle - float(candidates.min()), middle - float(controls.min())
    return fall / spread if fall > _RIVAL * rival else 0.0
