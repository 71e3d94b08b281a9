"""Writing what is restored at a level that fits: never clipped unless that is asked for."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from apollo.errors import AudioFileError
from apollo.restoration.output import Output
from apollo.restoration.overlap import behind

BLOCK = 1 << 16  # samples a channel read or written at once

Sink = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Levels:
    """What had to be done to the level.

    Attributes:
        turned_down_db: By how many dB the whole was turned down.
        clamped: How many samples were cut off at full scale.
    """

    turned_down_db: float = 0.0
    clamped: int = 0


class AgainError(Exception):
    """What has been written so far must be written again, for only now its level is known."""


def write_levelled(
    blocks: Iterator[np.ndarray],
    opened: Callable[[], AbstractContextManager[Sink]],
    output: Output,
    scratch: Path,
    target: Path,
    channels: int,
    twice: bool = True,
) -> Levels:
    """Write blocks `(channels, samples)` while they are being made, and again if they turn out too loud.

    Args:
        blocks: The recording.
        opened: Opens the target for writing from the start; an exception within discards it.
        output: Says what becomes of what is too loud.
        scratch: Folder to keep the samples in until the level of all of them is known.
        target: What to call the target if the disk is full.
        channels: Number of channels.
        twice: Whether what was written can be taken back; if not, writing waits until the level is known.
    """
    if not output.scales:
        clamped = 0
        with opened() as write, behind(write) as take:
            for block in blocks:
                if output.clip == "clamp" and not output.is_float:
                    clamped += int(np.count_nonzero(np.abs(block) > 1))
                    block = np.clip(block, -1, 1)
                take(block)
        return Levels(clamped=clamped)
    loudest = 0.0
    with scratch_file(scratch, target) as kept:
        try:
            with opened() if twice else nullcontext(nowhere) as write, behind(write) as take:
                for block in blocks:
                    loudest = max(loudest, float(np.abs(block).max(initial=0)))
                    keep(kept, block)
                    if loudest <= 1:
                        take(block)
                kept.flush()  # a disk that is full shows here, while the target can still be taken back
                if loudest > 1 or not twice:
                    raise AgainError
        except AgainError:
            with opened() as write:
                for block in read_back(kept, channels):
                    write(block if loudest <= 1 else block * np.float32(1 / loudest))
    return Levels(turned_down_db=20 * math.log10(max(1.0, loudest)))


def nowhere(block: np.ndarray) -> None:
    """Write nothing."""


@contextmanager
def scratch_file(folder: Path, target: Path) -> Iterator[IO[bytes]]:
    """Open a file that has no name, or loses it with the process, so that it never stays behind."""
    try:
        # A full disk may show when the file is written, rewound or closed.
        with tempfile.TemporaryFile(dir=folder) as scratch:
            yield scratch
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise AudioFileError(
            f"{target} cannot be written: {error.strerror} (a restoration needs as much free space as its sound in "
            "32-bit samples)"
        ) from None


def keep(scratch: IO[bytes], block: np.ndarray) -> None:
    """Append a block to the scratch file, sample by sample, its channels side by side."""
    scratch.write(np.ascontiguousarray(block.T, np.float32).tobytes())


def read_back(scratch: IO[bytes], channels: int) -> Iterator[np.ndarray]:
    """Read the scratch file from its start, block by block, `(channels, samples)`."""
    scratch.seek(0)
    while content := scratch.read(BLOCK * channels * 4):
        yield np.frombuffer(content, np.float32).reshape(-1, channels).T
