"""Source activity detection: which stretches of a stem hold music, and not the silence between its entries.

As in "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514): the power of blocks of
10 ms is compared with a threshold of the stem's own, and a segment of 6 s, one every 3 s, is kept when most of it
sounds. All that a decision needs is the powers, a hundred numbers a second, so a stem of any length streams through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]

BLOCKS_A_SECOND = 100
HOP_SECONDS = 3
SEGMENT_SECONDS = 6
FLOOR = 1e-3  # power at or below which a block has no say in the threshold: both channels at -59 dBFS
QUANTILE = 0.15

_HOP = HOP_SECONDS * BLOCKS_A_SECOND
_SEGMENT = SEGMENT_SECONDS * BLOCKS_A_SECOND
_PAPER_BLOCK = 441  # samples of 10 ms at 44.1 kHz


def block_powers(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    """Measure the power of every block of 10 ms.

    The powers of a long waveform are those of its hops of 3 s, joined: block `n` begins at `n · sample_rate / 100`,
    rounded down, and hops begin on whole blocks at any rate.

    Args:
        waveform: `(2, samples)`.
        sample_rate: In Hz.

    Returns:
        `(blocks,)`: squares summed over the samples and both channels of a block, as of 441 samples at every rate so
        that one floor fits all. (Were it their mean, the floor would lie at -33 dBFS and discard ordinary stems whole.)
        Samples after the last whole block have none.
    """
    edges = np.arange(waveform.shape[1] * BLOCKS_A_SECOND // sample_rate + 1) * sample_rate // BLOCKS_A_SECOND
    if len(edges) < 2:
        return np.zeros(0)
    squares = np.square(waveform[:, : edges[-1]], dtype=np.float64).sum(axis=0)
    powers: npt.NDArray[np.float64] = np.add.reduceat(squares, edges[:-1]) * (_PAPER_BLOCK / np.diff(edges))
    return powers


def active_segments(powers: npt.NDArray[np.float64]) -> list[int]:
    """Choose the segments that are worth learning from.

    Blocks above `FLOOR` set a threshold at their 15 % quantile. A segment is kept when more than half of its blocks
    reach it: reach and not exceed, so that a tone of one level is active too. Where no block is above the floor,
    nothing is kept.

    A stem shorter than a segment makes one: silence follows it and counts as blocks that do not sound. The quantile
    takes its share, so it must sound for 3 / 0.85 s, about 3.5. Of a longer one, what comes after the last whole
    segment is left out.

    Args:
        powers: Of a whole stem, as `block_powers` measures them.

    Returns:
        Numbers of the kept segments in order; segment `n` begins at `3 · n` seconds and lasts 6.
    """
    audible = powers[powers > FLOOR]
    if not len(audible):
        return []
    active = powers >= np.quantile(audible, QUANTILE)
    starts = range(0, max(1, len(active) - _SEGMENT + 1), _HOP)
    return [start // _HOP for start in starts if active[start : start + _SEGMENT].sum() > _SEGMENT / 2]


def hops(blocks: Iterable[Waveform], sample_rate: int) -> Iterator[Waveform]:
    """Cut a stream into hops of 3 s: `(2, any number of samples)` → `(2, 3 · sample_rate)`, the last one shorter."""
    length = HOP_SECONDS * sample_rate
    pending: list[Waveform] = []
    ready = 0
    for block in blocks:
        pending.append(block)
        ready += block.shape[1]
        if ready >= length:
            joined = np.concatenate(pending, axis=1)
            whole = ready - ready % length
            for start in range(0, whole, length):
                yield joined[:, start : start + length]
            pending, ready = [joined[:, whole:]], ready - whole
    if ready:
        yield np.concatenate(pending, axis=1)
