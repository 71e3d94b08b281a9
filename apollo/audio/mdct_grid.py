"""Whether music is on the grid of an encoder that works by one MDCT, as AAC, Vorbis and Opus do.

AAC has 1024 lines, and the sine or a Kaiser-Bessel derived window (ISO/IEC 14496-3). libvorbis has 1024 lines, at low
sample rates 512 and 256, and a window of its own; it leaves its grid at every short block, so that each block of sound
has an offset of its own. The music part of Opus (CELT, RFC 6716) has 960 lines at 48 kHz, for frames of 20 ms, after a
pre-emphasis.

To look through all offsets takes long. The window of Vorbis lies between the two of AAC, so it alone looks through
them; the offsets that stand out are then looked at closely with all three, and the best window tells the codec.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from apollo.audio.grids import BESIDE, Block, Curve, against, flatness, standing_out
from apollo.audio.mdct import Samples, celt_window, derived_window, mdct, sine_window, vorbis_window

_LINES = 1024  # of AAC, and of Vorbis from 26 kHz on
_FRAMES = 4  # of each block, that are looked through
_MORE = 6  # and that are looked at closely
LENGTH = (_FRAMES + _MORE + 2) * _LINES  # samples of a block
_CANDIDATES = 24  # offsets that are looked at closely
_AT_ONCE = 32  # offsets: larger arrays are given back to the system each time, which costs more than all computing
_WIDTH = 16  # lines of a band
_SHORT_BLOCK = 64  # by multiples of it libvorbis leaves its grid

CELT_RATE = 48_000  # in Hz
_CELT_LINES, _CELT_OVERLAP = 960, 120
_EMPHASIS = np.float32(0.85)

Offsets = npt.NDArray[np.int64]


def mdct_traces(blocks: Sequence[Block], sample_rate: int) -> dict[str, float]:
    """By how many standard deviations the grids of AAC and of Vorbis stand out: 0 where they do not.

    Args:
        blocks: Of one recording, of `LENGTH` samples or more each.
        sample_rate: Of the recording, in Hz.
    """
    traces = {"aac": 0.0, "vorbis": 0.0}
    if not blocks:
        return traces
    through = [_look_through(block, _LINES, vorbis_window(_LINES)) for block in blocks]
    likely = np.argsort(np.sum([frames.mean(axis=0) for frames in through], axis=0))[:_CANDIDATES]
    _note(traces, blocks, likely, range(_FRAMES, _FRAMES + _MORE))
    if sample_rate > 26_000:
        found = [_vorbis(frames, _LINES) for frames in through]
        best = int(np.argmax([strength for _, strength in found]))
        _note(traces, [blocks[best]], np.array([found[best][0]]), range(_FRAMES), found[best][1])
    else:
        lines = 512 if sample_rate > 15_000 else 256
        through = [_look_through(block, lines, vorbis_window(lines)) for block in blocks]
        strengths = [_vorbis(frames, lines)[1] for frames in through]
        traces["vorbis"] = max(traces["vorbis"], *strengths)
    return traces


def celt_trace(blocks: Sequence[Block]) -> float:
    """By how many standard deviations the grid of CELT stands out in a recording at 48 kHz."""
    if not blocks:
        return 0.0
    window = celt_window(_CELT_LINES, _CELT_OVERLAP)
    blocks = [Block(block.samples[1:] - _EMPHASIS * block.samples[:-1], block.start + 1) for block in blocks]
    likely = np.argsort(_look_through(blocks[0], _CELT_LINES, window).mean(axis=0))[:_CANDIDATES]
    offsets = np.concatenate([likely, _controls(_CELT_LINES, likely)])
    # Where there are bits to spare, a few frames alone show it: their mean counts, not their median.
    curves = _look_closely(blocks, window, offsets, range(_FRAMES + _MORE))
    total = curves.mean(axis=0)
    return against(total[: len(likely)], total[len(likely) :], len(curves) * _CELT_LINES)


def _look_through(block: Block, lines: int, window: Samples) -> Curve:
    """Flatness of each frame at all offsets, which are counted from the start of the recording: (frames, offsets)."""
    curves = [_curve(block.samples, window, np.arange(lines), frame) for frame in range(_FRAMES)]
    return np.roll(np.array(curves), block.start % lines, axis=1)


def _vorbis(frames: Curve, lines: int) -> tuple[int, float]:
    """Where and by how much Vorbis's grid stands out in most of some frames: in one alone, a jump may look like it."""
    return standing_out(np.median(frames, axis=0), len(frames) * lines, _SHORT_BLOCK)


def _note(
    traces: dict[str, float],
    blocks: Sequence[Block],
    likely: Offsets,
    frames: Sequence[int],
    at_most: float = np.inf,
) -> None:
    """Look at some offsets closely, and note the best of the windows for its codec."""
    offsets = np.concatenate([likely, _controls(_LINES, likely)])
    best, lowest, deepest = "aac", np.zeros(len(offsets)), -np.inf
    for codec, window in _WINDOWS:
        total = np.median(_look_closely(blocks, window, offsets, frames), axis=0)
        depth = float(np.median(total) - total[: len(likely)].min())
        if depth > deepest:
            best, lowest, deepest = codec, total, depth
    strength = against(lowest[: len(likely)], lowest[len(likely) :], len(blocks) * len(frames) * _LINES)
    traces[best] = max(traces[best], min(strength, at_most))


def _controls(lines: int, likely: Offsets) -> Offsets:
    """Offsets that show what chance makes of the likely ones: none so near that they share what those show."""
    return np.setdiff1d(np.arange(5, lines, 21), np.add.outer(np.arange(-BESIDE, BESIDE + 1), likely))


def _look_closely(blocks: Sequence[Block], window: Samples, offsets: Offsets, frames: Sequence[int]) -> Curve:
    """Flatness of some frames of all blocks at some offsets, counted from the start of the recording, as above."""
    lines = len(window) // 2
    curves = [
        _curve(block.samples, window, (offsets - block.start) % lines, frame) for block in blocks for frame in frames
    ]
    return np.array(curves)


def _curve(samples: Samples, window: Samples, offsets: Offsets, frame: int) -> Curve:
    """Flatness of a frame, by its number, at some offsets into samples."""
    lines = len(window) // 2
    found = np.lib.stride_tricks.sliding_window_view(samples[lines * frame :], 2 * lines)
    parts = [offsets[start : start + _AT_ONCE] for start in range(0, len(offsets), _AT_ONCE)]
    return np.concatenate([flatness(mdct(found[part] * window), _WIDTH) for part in parts])


_WINDOWS = (
    ("aac", sine_window(_LINES)),
    ("aac", derived_window(_LINES, 4)),
    ("vorbis", vorbis_window(_LINES)),
)
