"""A picture of a whole recording, however long: time to the right, frequency upwards, and where it ends marked."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apollo.atomic import unwritable
from apollo.audio import AudioReader
from apollo.errors import AudioFileError
from apollo.spectrograms.triptych import (
    FOREGROUND,
    N_FFT,
    blank,
    loudness,
    power_spectrogram,
    save,
    scale_of_decibels,
    show,
)

_COLUMNS = 1200
_WINDOWS = 8  # to a column at most
_HOP = 256
_RANGE_DB = 100.0
_MARK = "#58a6ff"


def draw_spectrogram(
    source: Path,
    target: Path,
    title: str,
    cutoff_hz: float | None = None,
    overwrite: bool = True,
    track: int | None = None,
) -> None:
    """Draw a recording as a PNG of 1800 × 750 pixels.

    Args:
        source: The recording.
        target: The PNG file.
        title: Written above.
        cutoff_hz: Where to draw a line across.
        overwrite: Whether an existing file is replaced.
        track: Which of its audio tracks, counted from 1; None is the default one.

    Raises:
        AudioFileError: The recording cannot be read or is shorter than one window of 2048 samples, or the picture
            cannot be written.
    """
    with AudioReader(source, track) as reader:
        rate, frames = reader.sample_rate, reader.count()
        power = _columns(reader, frames)
    figure = blank(12, 5)
    axis = figure.subplots()
    figure.subplots_adjust(left=0.06, right=0.93, top=0.91, bottom=0.12)
    image = show(axis, power, loudness(power), frames / rate, rate, _RANGE_DB, 12)
    if cutoff_hz is not None:
        axis.axhline(cutoff_hz / 1000, color=_MARK, linewidth=1.2, linestyle="--")
        axis.text(
            0.995 * frames / rate,
            cutoff_hz / 1000,
            f"{cutoff_hz / 1000:.1f} kHz",
            color=_MARK,
            fontsize=12,
            ha="right",
            va="bottom" if cutoff_hz < 0.47 * rate else "top",
        )
    axis.set_ylim(0, rate / 2000)
    # A file's name is not a formula, even with dollar signs, and may hold bytes that are not text.
    axis.set_title(title.encode("utf-8", "replace").decode(), color=FOREGROUND, fontsize=13, pad=8, parse_math=False)
    scale_of_decibels(figure, image, (0.945, 0.12, 0.012, 0.79), _RANGE_DB)
    try:
        save(figure, target, overwrite)
    except OSError as error:
        raise AudioFileError(unwritable(target, error)) from None


def _columns(reader: AudioReader, frames: int) -> NDArray[np.float64]:
    """Mean power of each column, `(bins, columns)`; of long columns a few windows stand for the rest."""
    if frames < N_FFT:
        raise AudioFileError(f"{reader.path} is too short for a picture: it has {frames} samples, one takes {N_FFT}.")
    edges = np.linspace(0, frames - N_FFT, min(_COLUMNS, max(1, (frames - N_FFT) // _HOP)) + 1).astype(int)
    columns = []
    held, start = np.zeros((reader.channels, 0), np.float32), 0  # what was read, and its first sample
    for left, right in pairwise(edges):
        read = reader.read(right + N_FFT - start - held.shape[1])
        held = np.concatenate([held, read], axis=1)[:, left - start :]
        start = int(left)
        if held.shape[1] < N_FFT:
            break
        hop = max(_HOP, (held.shape[1] - N_FFT) // _WINDOWS)
        columns.append(power_spectrogram(held, hop).mean(axis=1))
    return np.stack(columns, axis=1)
