"""Which lossy encoder a recording has been through, if its grid still shows, at its own sample rate or at another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from apollo.audio import mdct_grid
from apollo.audio.cliff import reach_of, segment_powers
from apollo.audio.grids import Block, repeats
from apollo.audio.mdct_grid import CELT_RATE, celt_trace, mdct_traces
from apollo.audio.mp3_grid import mp3_trace
from apollo.audio.resampling import resample

RATES = (44_100, 48_000)  # in Hz, between which music is resampled, and at which it is coded
ENOUGH = 8.0  # standard deviations: what was never coded has up to 5
_HINT = 4.0  # and what may have been is looked at more closely
_OTHER_BLOCKS = 2  # that are resampled
_CODED = 0.47  # of the sample rate: at 44.1 kHz, what a codec at 48 kHz leaves
_STEP = 0.25  # of a sample of the other rate: by half of it a grid may be missed
_PHASES = (0.0, 0.25, 0.5, 0.75)
_MARGIN = 128  # samples, in which a resampler is still swinging in
_SKIPPED = 512  # samples, at most, to come to a phase


@dataclass(frozen=True)
class Trace:
    """What an encoder has left."""

    codec: str  # "mp3", "aac", "vorbis" or "opus"
    strength: float  # by how many standard deviations its grid stands out
    sample_rate: int  # at which it worked, in Hz


def block_length(sample_rate: int) -> int:
    """How many samples each block needs that `find_trace` is given."""
    slower = max(1.0, sample_rate / min(RATES))
    return math.ceil(slower * (mdct_grid.LENGTH + 2 * _MARGIN)) + _SKIPPED


def find_trace(blocks: Sequence[Block], sample_rate: int, reach: float) -> Trace | None:
    """The strongest trace of an encoder, looked for at the recording's own sample rate first.

    Args:
        blocks: Of one channel each, of `block_length` samples or more, from the most telling on.
        sample_rate: Of the recording, in Hz.
        reach: The frequency in Hz above which there is nothing in it. Music that has been at another sample rate has
            nothing above half of that, and a codec at 48 kHz leaves little above 20 kHz: so where there is more, other
            rates are tried only with blocks that have nothing above it themselves, as some do where others clip.
    """
    blocks = [block for block in blocks if not repeats(block)]
    found = None
    if blocks and sample_rate <= max(RATES):
        found = _strongest(_traces(blocks, sample_rate))
    for rate in RATES:
        if found is None and rate != sample_rate >= min(RATES):
            highest = min(0.501 * rate, _CODED * sample_rate)
            likely = [block for block in blocks if reach <= highest or _reach(block, sample_rate) <= highest]
            found = _at_other_rate(likely[:_OTHER_BLOCKS], sample_rate, rate) if likely else None
    return found


def _reach(block: Block, sample_rate: int) -> float:
    return reach_of(segment_powers(block.samples[None]).mean(axis=(0, 1)).astype(np.float64), sample_rate)


def _at_other_rate(blocks: Sequence[Block], sample_rate: int, rate: int) -> Trace | None:
    """The strongest trace of an encoder at another rate, between whose samples the recording's may lie anywhere."""

    def at(phase: float, look: Callable[[Sequence[Block], int], list[Trace]] = _traces) -> list[Trace]:
        return look([_resampled(block, sample_rate, rate, phase) for block in blocks], rate)

    found = {trace: phase for phase in _PHASES for trace in at(phase)}
    # That of MP3 is lost by half a step already, and costs little to look for.
    found |= {trace: phase + _STEP / 2 for phase in _PHASES for trace in at(phase + _STEP / 2, _mp3)}
    best = max(found, key=lambda trace: trace.strength)
    if best.strength < _HINT:
        return None
    # Nearer to the grid, more of it shows, and windows that are alike can be told from each other.
    return _strongest([best, *at(found[best] - _STEP / 2), *at(found[best] + _STEP / 2)])


def _traces(blocks: Sequence[Block], sample_rate: int) -> list[Trace]:
    found = mdct_traces(blocks, sample_rate)
    if sample_rate == CELT_RATE:
        found["opus"] = celt_trace(blocks)
    return [*_mp3(blocks, sample_rate), *(Trace(codec, strength, sample_rate) for codec, strength in found.items())]


def _mp3(blocks: Sequence[Block], sample_rate: int) -> list[Trace]:
    return [Trace("mp3", mp3_trace(blocks), sample_rate)]


def _strongest(traces: Iterable[Trace]) -> Trace | None:
    strongest = max(traces, key=lambda trace: trace.strength, default=None)
    return strongest if strongest and strongest.strength > ENOUGH else None


def _resampled(block: Block, sample_rate: int, rate: int, phase: float) -> Block:
    """A block at another sample rate, begun so that its samples lie at a phase of that rate's, or as near as can be."""
    common = math.gcd(sample_rate, rate)
    into, steps = rate // common, sample_rate // common

    def missed(skipped: int) -> float:
        place = (block.start + skipped) * into / steps - phase
        return abs(place - round(place))

    skipped = min(range(min(steps, _SKIPPED)), key=missed)
    samples = resample(block.samples[None, skipped:], sample_rate, rate)[0]
    return Block(samples[_MARGIN:], (block.start + skipped) * into // steps + _MARGIN)
