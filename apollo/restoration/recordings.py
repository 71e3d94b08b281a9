"""Restoration of recordings: from file to file, or from pipe to pipe, in one way.

Blocks come in and go out; nothing is half-written, and nothing is clipped unless asked for.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from apollo.atomic import exists_already, unwritable
from apollo.audio import (
    RAW_FORMATS,
    AudioWriter,
    CutoffMeter,
    RawFormat,
    RawStreamWriter,
    Remarks,
    WavStreamWriter,
    info,
    needs_restoration,
    read_metadata,
    read_raw_stream,
    read_wav_stream,
)
from apollo.audio.levels import LoudnessMeter
from apollo.audio.signal import Block, Signal
from apollo.errors import ApolloError, AudioFileError
from apollo.nn.memory import is_out_of_memory
from apollo.restoration.engine import Restorer
from apollo.restoration.levels import Sink, keep, scratch_file, write_levelled
from apollo.restoration.output import BITS, Output
from apollo.restoration.overlap import ahead
from apollo.restoration.provenance import Provenance, coding, fingerprint
from apollo.restoration.waveforms import RATES
from apollo.storage import Place

log = logging.getLogger(__name__)

FileProgress = Callable[[float, float], None]  # seconds restored, and in all


@dataclass(frozen=True)
class Report:
    """What was done to a file."""

    source: Place
    target: Place
    sample_rate: int  # of the target, in Hz
    channels: int  # of both
    seconds: float  # length of the recording
    elapsed: float  # seconds that it took
    peak_db: float  # the source's peak in dBFS; minus infinity for silence
    turned_down_db: float  # dB by which the volume of the result was lowered to avoid clipping; mostly 0
    clamped: int = 0  # number of samples cut off at full scale, if asked for
    # The source's tags that are not in the target: their names, "cover", "chapters" and so on.
    lost: tuple[str, ...] = ()
    # What is unusual about the source: damage, several tracks, format changes on the way.
    remarks: Remarks = field(default_factory=Remarks)
    source_coding: str = ""  # codec and bitrate of the source, such as "mp3 at 128 kbit/s"; empty if not known
    # Frequency above which the source holds nothing; None for silence and very short sounds.
    cutoff_hz: float | None = None
    restored_cutoff_hz: float | None = None  # the same of the result
    model: str = ""  # fingerprint of the network and its weights
    matched_db: float = 0.0  # dB by which it was raised before that to match the source's loudness, if asked for

    @property
    def filled(self) -> float | None:
        """Share of the result's frequency range that the source lacked, 0 to 1; None if either is not known."""
        if self.cutoff_hz is None or not self.restored_cutoff_hz:
            return None
        return max(0.0, 1 - self.cutoff_hz / self.restored_cutoff_hz)

    @property
    def speed(self) -> float:
        """Seconds of the recording restored per second."""
        return self.seconds / max(self.elapsed, 1e-9)


def default_target(source: Path) -> Path:
    """The default target of a file: `<name>.restored.flac` beside it."""
    return source.with_name(f"{source.stem}.restored.flac")


def restore_file(
    source: str | Path,
    target: str | Path | None,
    restorer: Restorer,
    overwrite: bool = False,
    progress: FileProgress = lambda done, total: None,
    output: Output | None = None,
    model: str = "",
    track: int | None = None,
) -> Report:
    """Restore a file into another, in memory that does not depend on its length.

    The source is read twice, for its peak and for its samples. It is decoded, restored and encoded at the same time.
    A nameless file beside the target also keeps the result in float32 until its peak is known: if that exceeds full
    scale, the volume of the whole result is lowered and it is encoded again. The target appears whole or not at all,
    and gets the source's tags, pictures and chapters.

    Args:
        source: Any audio file.
        target: The file to write, `.flac`, `.wav`, `.mp3`, `.m4a` or `.opus`; None is `default_target(source)`.
        restorer: Does the work.
        overwrite: Whether the target may replace a file.
        progress: Called with (seconds restored, seconds in all) from time to time.
        output: How the result is written; 24 bits by default, never clipped.
        model: Name of the restorer's model, for the tags of the result.
        track: Which of the source's audio tracks, counted from 1; None is the default one.

    Returns:
        What was done.

    Raises:
        AudioFileError: If the source cannot be read or restored, the target exists or cannot be written, or memory runs
            out.
        ApolloError: If the format cannot hold what `output` asks for.
    """
    source = Path(source)
    target = default_target(source) if target is None else Path(target)
    output = (output or Output()).for_file(target)
    check_target(source, target, overwrite)
    met: list[Remarks] = []
    recording = Signal.of_file(source, track, met.append)
    held = read_metadata(source)
    if held.encoding is not None:
        log.warning("%s does not state the code page of its tags: they were read as %s, a guess", source, held.encoding)
    about = info(source, track)
    metadata = Provenance.of(restorer, output, model, track).on(held, about)

    def opened(sample_rate: int, channels: int) -> AudioWriter:
        writer = AudioWriter(target, sample_rate, channels, output.subtype, metadata=metadata, overwrite=overwrite)
        writer.gain = 0.0  # unless it turns out too loud
        return writer

    sink = Sink(target, target.parent, opened)
    report = restore_recording(
        recording, sink, restorer, output, progress, lambda: needs_restoration(source, track).lossy
    )
    if output.keep_times:
        try:
            status = source.stat()
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except OSError as error:  # some disks of the network
            raise AudioFileError(
                f"{target} is complete, but the file times of {source} cannot be copied ({error.strerror}): leave out "
                "--keep-times"
            ) from None
    return replace(report, remarks=met[-1], source_coding=coding(about))


def restore_pipe(
    source: BinaryIO, target: BinaryIO, restorer: Restorer, output: Output | None = None, raw: RawFormat | None = None
) -> Report:
    """Restore the WAV that comes from one stream into another, in memory that does not depend on its length.

    The input waits in a nameless file until its peak is known, and if `output.clip` is `"scale"`, so does the result.

    Args:
        source: Gives a WAV.
        target: Takes a WAV of 24 bits, or as `output` says.
        restorer: Does the work.
        output: How the result is written.
        raw: Format of the source's samples if they come without a WAV header; the target then gets none either, and
            the same sample format if `output.bits` is None.

    Raises:
        AudioFileError: If the source is not a WAV, or it cannot be restored.
        OSError: If the target takes no more.
    """
    output = (output or Output()).for_file(Path("pipe.wav"))
    if raw is None:
        sample_rate, channels, incoming = read_wav_stream(source)
    else:
        sample_rate, channels = raw.sample_rate, raw.channels
        incoming = read_raw_stream(source, raw.kind, channels)
        if output.bits is None and not output.is_float:
            output = replace(
                output, bits=next(bits for bits, subtype in BITS.items() if RAW_FORMATS[subtype] == raw.kind)
            )

    def opened(sample_rate: int, channels: int) -> RawStreamWriter:
        if raw is None:
            return WavStreamWriter(target, sample_rate, channels, output.subtype)
        return RawStreamWriter(target, RAW_FORMATS[output.subtype])

    sink = Sink(Path("standard output"), Path(tempfile.gettempdir()), opened, rewindable=False)
    with scratch_file(sink) as scratch:
        received = keep(Signal(sample_rate, channels, None, lambda: incoming, "standard input"), scratch)
        # Raw samples do not state their rate, so it must not change; a WAV may have been anything before.
        return restore_recording(received, sink, restorer, output, lossy=lambda: raw is None)


def restore_recording(
    source: Signal,
    sink: Sink,
    restorer: Restorer,
    output: Output,
    progress: FileProgress = lambda done, total: None,
    lossy: Callable[[], bool] = lambda: True,
) -> Report:
    """Restore a recording of any origin, which is read twice, into a sink.

    Whether it has been through a lossy codec is asked only if that matters. Raises AudioFileError if the source cannot
    be read or restored, the sink cannot be written, or memory runs out.
    """
    began = time.monotonic()
    check_rate(source)
    try:
        peaks, samples = source.measure()
    except AudioFileError:
        raise
    except ApolloError as error:
        raise AudioFileError(str(error)) from None
    if not samples:
        raise AudioFileError(f"{source.name} contains no audio samples: give another file")
    seconds = samples / source.sample_rate
    rate = output.rate_for(source.sample_rate, restorer.sample_rate, lossy)
    # The stream gives the source's rate or the network's; any other rate is resampled from the higher of them.
    own = rate if rate in (source.sample_rate, restorer.sample_rate) else max(source.sample_rate, restorer.sample_rate)

    before, after = CutoffMeter(source.sample_rate), CutoffMeter(rate)

    meter = LoudnessMeter(source.sample_rate, source.channels) if output.match_loudness else None

    def source_blocks() -> Iterator[Block]:
        read = 0
        try:
            for block in source.blocks():
                before.push(block)
                if meter is not None:
                    meter.take(block)
                read += block.shape[1]
                yield block
        except OSError as error:
            raise AudioFileError(f"{source.name} cannot be read to its end ({error.strerror}): try again") from None
        if read != samples:
            raise AudioFileError(f"{source.name} has changed while it was restored: try again once it is finished")

    def result_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
        done = 0
        for block in blocks:
            if not np.isfinite(block).all():
                raise AudioFileError(f"the model gave NaN or infinite samples for {source.name}: use another model")
            after.push(block)
            yield block
            done += block.shape[1]
            progress(done / rate, seconds)

    with closing(ahead(source_blocks())) as blocks, memory_suffices(source):
        stream = restorer.stream(peaks, source.sample_rate, target_rate=own)
        restored = replace(source, sample_rate=own, blocks=lambda: stream.through(blocks))
        result = restored.resampled(rate)
        loudness = (lambda: meter.end()[0]) if meter is not None else (lambda: None)
        levels = write_levelled(replace(result, blocks=lambda: result_blocks(result.blocks())), sink, output, loudness)
    return Report(
        source=Path(source.name),
        target=sink.name,
        sample_rate=levels.writer.file_rate if isinstance(levels.writer, AudioWriter) else rate,
        channels=source.channels,
        seconds=seconds,
        elapsed=time.monotonic() - began,
        peak_db=20 * math.log10(max(peaks)) if max(peaks) else -math.inf,
        turned_down_db=levels.turned_down_db,
        clamped=levels.clamped,
        lost=tuple(levels.writer.lost) if isinstance(levels.writer, AudioWriter) else (),
        cutoff_hz=before.cutoff_hz,
        restored_cutoff_hz=after.cutoff_hz,
        model=fingerprint(restorer.model),
        matched_db=levels.matched_db,
    )


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse a target that must not be replaced, or cannot be accessed."""
    try:
        exists = target.exists()
        is_source = exists and source.exists() and target.samefile(source)
    except OSError as error:  # a name too long, a folder without permission
        raise AudioFileError(unwritable(target, error)) from None
    if is_source:
        raise AudioFileError(f"{source} would be replaced by its own restoration: choose another output")
    if exists and not overwrite:
        raise AudioFileError(exists_already(target))


def check_rate(source: Signal) -> None:
    """Refuse a recording whose sample rate no recording has."""
    if not RATES[0] <= source.sample_rate <= RATES[1]:
        raise AudioFileError(
            f"{source.name} says that its sample rate is {source.sample_rate} Hz, so its header is damaged: give "
            "another file"
        )


@contextmanager
def memory_suffices(source: Signal) -> Iterator[None]:
    """Say in one sentence that memory ran out; any other error passes."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise AudioFileError(
            f"{source.name} cannot be restored because memory ran out: use a smaller --chunk, or --device cpu"
        ) from None
