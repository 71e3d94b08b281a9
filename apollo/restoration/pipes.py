"""Restoration between pipes: WAV in, WAV out, or raw samples in, raw samples out."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from apollo.audio import (
    RAW_FORMATS,
    RawFormat,
    RawStreamWriter,
    WavStreamWriter,
    read_raw_stream,
    read_wav_stream,
)
from apollo.audio.signal import Signal
from apollo.restoration.engine import Restorer
from apollo.restoration.files import Report, check_rate, measure, memory_suffices, restored_blocks
from apollo.restoration.levels import Sink, keep, read_back, scratch_file, write_levelled
from apollo.restoration.output import BITS, Output
from apollo.restoration.overlap import ahead

SOURCE, TARGET = Path("standard input"), Path("standard output")


def restore_pipe(
    source: BinaryIO, target: BinaryIO, restorer: Restorer, output: Output | None = None, raw: RawFormat | None = None
) -> Report:
    """Restore the WAV that comes from one stream into another, in memory that does not depend on its length.

    All of it waits in a file without a name until its peak is known, and so does the result unless `output.clip` is
    another than `"scale"`.

    Args:
        source: Gives a WAV.
        target: Takes a WAV of 24 bits, or as `output` says.
        restorer: Does the work.
        output: What the result is to be like.
        raw: How the samples of the source are, if it is no WAV; the target is none either then, and has samples of the
            same kind if `output.bits` is None.

    Raises:
        AudioFileError: If there is no WAV, or it cannot be restored.
        OSError: If the target takes no more.
    """
    began = time.monotonic()
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
    check_rate(sample_rate, SOURCE)
    rate = output.sample_rate or sample_rate
    folder = Path(tempfile.gettempdir())

    @contextmanager
    def opened() -> Iterator[Sink]:
        subtype = output.subtype
        with (
            RawStreamWriter(target, RAW_FORMATS[subtype]) if raw else WavStreamWriter(target, rate, channels, subtype)
        ) as writer:
            yield writer.write

    with scratch_file(folder, TARGET) as received:

        def spooled() -> Iterator[Tensor]:
            for block in incoming:
                keep(received, block)
                yield torch.from_numpy(block)

        peaks, samples = measure(spooled(), channels, SOURCE)
        blocks = (torch.from_numpy(block.copy()) for block in read_back(received, channels))
        with closing(ahead(blocks)) as decoded, memory_suffices(SOURCE):
            restored = restored_blocks(decoded, restorer, peaks, sample_rate, SOURCE)
            at_rate = Signal(sample_rate, channels, None, lambda: restored).resampled(rate).blocks()
            levels = write_levelled(at_rate, opened, output, folder, TARGET, channels, twice=False)
    return Report(
        source=SOURCE,
        target=TARGET,
        sample_rate=rate,
        channels=channels,
        seconds=samples / sample_rate,
        elapsed=time.monotonic() - began,
        peak_db=20 * math.log10(max(peaks)) if max(peaks) else -math.inf,
        turned_down_db=levels.turned_down_db,
        clamped=levels.clamped,
    )
