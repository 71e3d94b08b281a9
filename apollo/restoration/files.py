"""Restoration of audio files: stream in, stream out, nothing half-written and nothing clipped unasked."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apollo.audio import AudioReader, AudioWriter, info, read_metadata
from apollo.audio.signal import Signal
from apollo.errors import ApolloError, AudioFileError
from apollo.restoration.chunks import is_out_of_memory
from apollo.restoration.engine import Restorer, peaks_of
from apollo.restoration.levels import BLOCK, Sink, write_levelled
from apollo.restoration.output import Output
from apollo.restoration.overlap import ahead
from apollo.restoration.provenance import Provenance

Progress = Callable[[float, float], None]

RATES = (1000, 1_000_000)  # Hz; what a header says beyond is damage, by which a second of sound may become hours


@dataclass(frozen=True)
class Report:
    """What was done to a file.

    Attributes:
        source: The file read.
        target: The file written.
        sample_rate: Of the target, in Hz.
        channels: Of both.
        seconds: Length of the recording.
        elapsed: Seconds that it took.
        peak_db: The source's peak in dBFS; minus infinity for silence.
        turned_down_db: By how many dB the whole result was turned down because it would have clipped; mostly 0.
        clamped: How many samples were cut off at full scale, where that was asked for.
        lost: What of the source's tags is not in the target: their names, "cover", "chapters" and so on.
    """

    source: Path
    target: Path
    sample_rate: int
    channels: int
    seconds: float
    elapsed: float
    peak_db: float
    turned_down_db: float
    clamped: int = 0
    lost: tuple[str, ...] = ()

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
    output: Output | None = None,
    model: str = "",
) -> Report:
    """Restore a file into another, in memory that does not depend on its length.

    The source is read twice, for its peak and for its samples. It is decoded, restored and encoded at the same time.
    The result is also kept in a float32 file without a name beside the target until its own peak is known: if that
    exceeds full scale, the whole of it is turned down to fit, and encoded again. The target appears whole or not at
    all, and gets the source's tags, pictures and chapters.

    Args:
        source: Any audio file.
        target: The file to write, `.flac`, `.wav`, `.mp3`, `.m4a` or `.opus`; None is `default_target(source)`.
        restorer: Does the work.
        overwrite: Whether the target may replace a file.
        progress: Called with (seconds restored, seconds in all) from time to time.
        output: What the result is to be like; 24 bits at the source's rate by default, never clipped.
        model: Name of the restorer's model, for the tags of the result, which say how it was made.

    Returns:
        What was done.

    Raises:
        AudioFileError: If the source cannot be read or restored, the target exists or cannot be written, or memory does
            not suffice.
        ApolloError: If the format cannot hold what `output` asks for.
    """
    began = time.monotonic()
    source = Path(source)
    target = default_target(source) if target is None else Path(target)
    output = (output or Output()).for_file(target)
    check_target(source, target, overwrite)
    with AudioReader(source) as reader:
        sample_rate, channels = reader.sample_rate, reader.channels
        check_rate(sample_rate, source)
        peaks, samples = measure(blocks_of(reader), channels, source)
    seconds = samples / sample_rate
    rate = output.sample_rate or sample_rate
    metadata = Provenance.of(restorer, output, model).on(read_metadata(source), info(source))
    lost: list[str] = []
    file_rate = rate

    @contextmanager
    def opened() -> Iterator[Sink]:
        nonlocal file_rate
        with AudioWriter(target, rate, channels, output.subtype, metadata=metadata, overwrite=overwrite) as writer:
            yield writer.write
        lost[:], file_rate = writer.lost, writer.file_rate

    def told(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        done = 0
        for block in blocks:
            yield block
            done += block.shape[1]
            if progress is not None:
                progress(done / rate, seconds)

    def decoded() -> Generator[Tensor, None, None]:
        with AudioReader(source) as reader, closing(ahead(blocks_of(reader))) as blocks:
            yield from blocks

    with closing(decoded()) as blocks, memory_suffices(source):
        restored = restored_blocks(blocks, restorer, peaks, sample_rate, source)
        at_rate = Signal(sample_rate, channels, None, lambda: restored).resampled(rate).blocks()
        levels = write_levelled(told(at_rate), opened, output, target.parent, target, channels)
    if output.keep_times:
        try:
            status = source.stat()
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError as error:  # some disks of the network
            raise AudioFileError(
                f"{target} is whole, but the times of {source} cannot be given to it ({error.strerror}): leave out "
                "--keep-times"
            ) from None
    return Report(
        source=source,
        target=target,
        sample_rate=file_rate,
        channels=channels,
        seconds=seconds,
        elapsed=time.monotonic() - began,
        peak_db=20 * math.log10(max(peaks)) if max(peaks) else -math.inf,
        turned_down_db=levels.turned_down_db,
        clamped=levels.clamped,
        lost=tuple(lost),
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


def check_rate(sample_rate: int, source: Path) -> None:
    """Refuse a recording whose sample rate no recording has."""
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise AudioFileError(
            f"{source} says that its sample rate is {sample_rate} Hz, so its header is damaged: give another file"
        )


def measure(blocks: Iterator[Tensor], channels: int, source: Path) -> tuple[list[float], int]:
    """Draw all blocks; give the peak of each channel and the number of samples."""
    peaks, samples = [0.0] * channels, 0
    for block in blocks:
        try:
            peaks = [max(pair) for pair in zip(peaks, peaks_of(block), strict=True)]
        except ApolloError as error:
            raise AudioFileError(f"{source} cannot be restored: {error}") from None
        samples += block.shape[1]
    if not samples:
        raise AudioFileError(f"{source} holds no audio samples: give another file")
    return peaks, samples


def blocks_of(reader: AudioReader) -> Iterator[Tensor]:
    """Read a file block by block, `(channels, samples)`."""
    while (block := reader.read(BLOCK)).shape[1]:
        yield torch.from_numpy(block)


def restored_blocks(
    blocks: Iterator[Tensor], restorer: Restorer, peaks: list[float], sample_rate: int, source: Path
) -> Iterator[np.ndarray]:
    """Restore blocks `(channels, samples)`."""
    stream = restorer.stream(peaks, sample_rate)
    for block in blocks:
        restored = stream.push(block)
        if restored.shape[1]:
            yield checked(restored, source)
    restored = stream.flush()
    if restored.shape[1]:
        yield checked(restored, source)


def checked(restored: Tensor, source: Path) -> np.ndarray:
    """Give what the network gave, if those are numbers."""
    if not restored.isfinite().all():
        raise AudioFileError(f"the model made of {source} what are no finite numbers: use another model")
    return restored.numpy()


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
