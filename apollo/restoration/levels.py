"""Writing restored sound at a level that fits: never clipped unless asked for."""

from __future__ import annotations

import errno
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from apollo.atomic import unwritable
from apollo.audio import AudioWriter, RawStreamWriter
from apollo.audio.levels import LoudnessMeter
from apollo.audio.signal import Block, Signal
from apollo.errors import AudioFileError
from apollo.restoration.output import Output
from apollo.restoration.overlap import behind

BLOCK = 1 << 16  # samples a channel read back at once

Writer = AudioWriter | RawStreamWriter


@dataclass(frozen=True)
class Sink:
    """Where a restored recording goes."""

    name: Path  # its name in messages
    scratch: Path  # folder for samples that wait until the level is known
    # Opens it for writing from the start, given a sample rate in Hz and a number of channels.
    open: Callable[[int, int], Writer]
    rewindable: bool = True  # whether what was written can be discarded; if not, writing waits until the level is known


@dataclass(frozen=True)
class Levels:
    """How the level of a written recording was changed."""

    writer: Writer  # what wrote it
    turned_down_db: float = 0.0  # dB by which the volume was lowered to avoid clipping
    clamped: int = 0  # number of samples cut off at full scale
    matched_db: float = 0.0  # dB by which the volume was raised before that to match a loudness


def write_levelled(
    signal: Signal, sink: Sink, output: Output, loudness: Callable[[], float | None] = lambda: None
) -> Levels:
    """Write a signal, which is read once, while it is being made, and again if it turns out too loud.

    `loudness` gives what to match in LUFS, if `output` asks for it; it is called once the signal has been read.
    """
    meter = LoudnessMeter(signal.sample_rate, signal.channels) if output.match_loudness else None
    loudest, clamped = 0.0, 0

    def opened() -> AbstractContextManager[Writer]:
        return sink.open(signal.sample_rate, signal.channels)

    def measured() -> Iterator[Block]:
        nonlocal loudest
        for block in signal.blocks():
            loudest = max(loudest, float(np.abs(block).max(initial=0)))
            if meter is not None:
                meter.take(block)
            yield block

    def fitted(block: Block) -> Block:
        """Cut off what is beyond full scale: in a recording that was scaled to fit, that is rounding alone."""
        nonlocal clamped
        if output.is_float:
            return block
        clamped += 0 if output.scales else int(np.count_nonzero(np.abs(block) > 1))
        return np.clip(block, -1, 1)

    if meter is None and not output.scales:
        with opened() as writer, behind(writer.write) as write:
            for block in signal.blocks():
                write(fitted(block))
        return Levels(writer, clamped=clamped)
    with scratch_file(sink) as scratch:
        listened = replace(signal, blocks=measured)
        if meter is None and sink.rewindable:
            with opened() as writer, behind(writer.write) as write:
                kept = keep(listened, scratch, lambda block: write(block) if loudest <= 1 else None)
                if loudest > 1 and isinstance(writer, AudioWriter):
                    writer.discard()
            if loudest <= 1:
                return Levels(writer)
        else:
            kept = keep(listened, scratch)
        wanted, own = (loudness(), meter.end()[0]) if meter is not None else (None, None)
        matched = wanted - own if wanted is not None and own is not None else 0.0
        turned_down = max(0.0, matched + 20 * math.log10(max(loudest, 1e-9))) if output.scales else 0.0
        factor = np.float32(1 / max(1.0, loudest) if meter is None else 10 ** ((matched - turned_down) / 20))
        with opened() as writer:
            if turned_down and isinstance(writer, AudioWriter):
                writer.gain = -turned_down
            for block in kept.blocks():
                writer.write(fitted(block * factor))
    return Levels(writer, turned_down, clamped, matched)


def keep(signal: Signal, scratch: IO[bytes], pass_on: Callable[[Block], None] = lambda block: None) -> Signal:
    """Read a signal to its end and pass its blocks on; the copy can be read again as long as the file is open."""
    for block in signal.blocks():
        scratch.write(np.ascontiguousarray(block.T, np.float32).data)
        pass_on(block)
    scratch.flush()  # a full disk shows here, while the blocks passed on can still be discarded

    def read() -> Iterator[Block]:
        scratch.seek(0)
        while content := scratch.read(BLOCK * signal.channels * 4):
            yield np.frombuffer(content, np.float32).reshape(-1, signal.channels).T

    return replace(signal, blocks=read)


@contextmanager
def scratch_file(sink: Sink) -> Iterator[IO[bytes]]:
    """Open a file without a name, or one that is removed with the process, so that it never stays behind."""
    try:
        # A full disk may show when the file is written, rewound or closed.
        with tempfile.TemporaryFile(dir=sink.scratch) as file:
            yield file
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        need = ", of which a restoration also needs some for its samples in 32 bits" * (error.errno == errno.ENOSPC)
        raise AudioFileError(unwritable(sink.name, error) + need) from None
