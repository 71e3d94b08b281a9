"""Restoration of audio files: stream in, stream out, nothing half-written and nothing clipped."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from apollo.audio.files import AudioReader, AudioWriter
from apollo.errors import ApolloError, AudioFileError
from apollo.restoration.chunks import NO_MEMORY, is_out_of_memory
from apollo.restoration.engine import Restorer, peaks_of

__all__ = ["NO_MEMORY", "Report", "default_target", "restore_file"]

BLOCK = 1 << 16  # samples a channel read or written at once

Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Report:
    """What was done to a file.

    Attributes:
        source: The file read.
        target: The file written.
        sample_rate: Of both, in Hz.
        channels: Of both.
        seconds: Length of the recording.
        elapsed: Seconds that it took.
        peak_db: The source's peak in dBFS; minus infinity for silence.
        turned_down_db: By how many dB the whole result was turned down because it would have clipped; mostly 0.
    """

    source: Path
    target: Path
    sample_rate: int
    channels: int
    seconds: float
    elapsed: float
    peak_db: float
    turned_down_db: float

    @property
    def speed(self) -> float:
        """Seconds of the recording restored in a second."""
        return self.seconds / max(self.elapsed, 1e-9)


def default_target(source: Path) -> Path:
    """Where the restored version of a file goes if nothing else is said: `<name>.restored.flac` beside it."""
    return source.with_name(f"{source.stem}.restored.flac")


def restore_file(
    source: str | Path,
    target: str | Path | None,
    restorer: Restorer,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Restore a file into another, in memory that does not depend on its length.

    The source is read twice, for its peak and for its samples. The result waits in a float32 file without a name beside
    the target until its own peak is known: if that exceeds full scale, the whole of it is turned down to fit. The
    target appears whole or not at all.

    Args:
        source: Any audio file.
        target: The file to write, `.flac` or `.wav`, in 24 bits; None is `default_target(source)`.
        restorer: Does the work.
        overwrite: Whether the target may replace a file.
        progress: Called with (seconds restored, seconds in all) from time to time.

    Returns:
        What was done.

    Raises:
        AudioFileError: If the source cannot be read or restored, the target exists or cannot be written, or memory does
            not suffice.
    """
    began = time.monotonic()
    source = Path(source)
    target = default_target(source) if target is None else Path(target)
    check_target(source, target, overwrite)
    with AudioReader(source) as reader:
        sample_rate, channels, tags = reader.sample_rate, reader.channels, reader.info.tags
        peaks, samples = measure(reader)
    seconds = samples / sample_rate
    with (
        AudioWriter(target, sample_rate, channels, tags=tags) as writer,
        scratch_file(target) as scratch,
    ):
        loudest, done = 0.0, 0
        for block in restored_blocks(source, restorer, peaks):
            loudest = max(loudest, *restored_peaks(block, source))
            keep(scratch, block)
            done += block.shape[1]
            if progress is not None:
                progress(done / sample_rate, seconds)
        scale = 1 / loudest if loudest > 1 else 1.0
        for samples_kept in kept(scratch, channels):
            writer.write(samples_kept * np.float32(scale))
    return Report(
        source=source,
        target=target,
        sample_rate=sample_rate,
        channels=channels,
        seconds=seconds,
        elapsed=time.monotonic() - began,
        peak_db=20 * math.log10(max(peaks)) if max(peaks) else -math.inf,
        turned_down_db=20 * math.log10(max(1.0, loudest)),
    )


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse a target that would replace something it must not, or cannot be looked at."""
    try:
        exists = target.exists()
        is_source = exists and source.exists() and target.samefile(source)
    except OSError as error:  # a name too long, a folder that is not ours to look into
        raise AudioFileError(f"{target} cannot be written: {error.strerror}: choose another output") from None
    if is_source:
        raise AudioFileError(f"{source} would be replaced by its own restoration: choose another output")
    if exists and not overwrite:
        raise AudioFileError(f"{target} exists already: use --overwrite to replace it, or choose another output")


def measure(reader: AudioReader) -> tuple[list[float], int]:
    """Read a file to its end; give the peak of each channel and the number of samples."""
    peaks, samples = [0.0] * reader.channels, 0
    for block in blocks_of(reader):
        try:
            peaks = [max(pair) for pair in zip(peaks, peaks_of(block), strict=True)]
        except ApolloError as error:
            raise AudioFileError(f"{reader.path} cannot be restored: {error}") from None
        samples += block.shape[1]
    if not samples:
        raise AudioFileError(f"{reader.path} holds no audio samples: give another file")
    return peaks, samples


def blocks_of(reader: AudioReader) -> Iterator[Tensor]:
    """Read a file block by block, `(channels, samples)`."""
    while (block := reader.read(BLOCK)).shape[1]:
        yield torch.from_numpy(block)


def restored_blocks(source: Path, restorer: Restorer, peaks: list[float]) -> Iterator[Tensor]:
    """Restore a file block by block, `(channels, samples)`."""
    with AudioReader(source) as reader, memory_suffices(source):
        stream = restorer.stream(peaks, reader.sample_rate)
        for block in blocks_of(reader):
            restored = stream.push(block)
            if restored.shape[1]:
                yield restored
        restored = stream.flush()
        if restored.shape[1]:
            yield restored


@contextmanager
def memory_suffices(source: Path) -> Iterator[None]:
    """Tell in one sentence that memory does not suffice; any other error passes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise AudioFileError(
            f"{source} cannot be restored, for memory does not suffice: use a smaller --chunk, or --device cpu"
        ) from None


def restored_peaks(block: Tensor, source: Path) -> list[float]:
    """Peaks of what the network gave."""
    try:
        return peaks_of(block)
    except ApolloError:
        raise AudioFileError(f"the model made of {source} what are no finite numbers: use another model") from None


@contextmanager
def scratch_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a file beside the target that has no name, or loses it with the process, so that it never stays behind."""
    try:
        # A full disk may show when the file is written, rewound or closed.
        with tempfile.TemporaryFile(dir=target.parent) as scratch:
            yield scratch
    except OSError as error:
        raise AudioFileError(
            f"{target} cannot be written: {error.strerror} (a restoration needs as much free space as its sound in "
            "32-bit samples)"
        ) from None


def keep(scratch: IO[bytes], block: Tensor) -> None:
    """Append a block to the scratch file, sample by sample, its channels side by side."""
    scratch.write(np.ascontiguousarray(block.numpy().T).tobytes())


def kept(scratch: IO[bytes], channels: int) -> Iterator[np.ndarray]:
    """Read the scratch file back, block by block, `(channels, samples)`."""
    scratch.seek(0)
    while content := scratch.read(BLOCK * channels * 4):
        yield np.frombuffer(content, np.float32).reshape(-1, channels).T
