"""Pictures that show what was lost and what came back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apollo.atomic import replacing
from apollo.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

N_FFT = 2048
HOP_LENGTH = 256
TOP_HZ = 22_000.0  # of the frequency axis
RANGE_DB = 90.0  # how far the scale reaches below 0
BACKGROUND = "#0d1117"
FOREGROUND = "#e6edf3"
MUTED = "#8b949e"


def spectrogram_triptych(
    degraded: NDArray[np.floating[Any]],
    restored: NDArray[np.floating[Any]],
    original: NDArray[np.floating[Any]],
    sample_rate: int,
    path: Path,
    *,
    titles: tuple[str, str, str] = ("Degraded", "Restored", "Original"),
) -> None:
    """Draw three spectrograms side by side on one scale, as a PNG of 1800 × 630 pixels.

    Power of the mean over channels, Hann window of 2048 samples, hop 256, on one scale in dB whose 0 is the
    `loudness` of the original.

    Args:
        degraded: `(channels, samples)`.
        restored: Same shape.
        original: Same shape.
        sample_rate: Of all three, in Hz.
        path: The PNG file, replaced when it exists.
        titles: Above each spectrogram.

    Raises:
        DataError: The waveforms have different shapes, or are shorter than one window.
    """
    waveforms = [np.asarray(w, dtype=np.float64) for w in (degraded, restored, original)]
    shapes = {waveform.shape for waveform in waveforms}
    if len(shapes) != 1 or waveforms[0].ndim != 2 or waveforms[0].shape[1] < N_FFT:
        raise DataError(
            f"A picture needs three waveforms of one shape (channels, at least {N_FFT} samples), not {shapes}."
        )
    powers = [power_spectrogram(waveform, HOP_LENGTH) for waveform in waveforms]
    loud = loudness(powers[-1])
    seconds = waveforms[0].shape[1] / sample_rate
    top = min(TOP_HZ, sample_rate / 2)

    figure = blank(12, 4.2)
    axes = figure.subplots(1, 3, sharey=True)
    figure.subplots_adjust(left=0.058, right=0.93, top=0.885, bottom=0.135, wspace=0.04)
    for axis, power, title in zip(axes, powers, titles, strict=True):
        image = show(axis, power, loud, seconds, sample_rate, RANGE_DB, 13, interpolation="bilinear")
        axis.set_title(title, color=FOREGROUND, fontsize=17, fontweight="bold", pad=9)
        # A label at the right end would run into the next picture's 0.
        axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick < 0.95 * seconds])
        axis.set_ylim(0, top / 1000)
        axis.set_yticks([tick for tick in range(0, 100, 5) if tick * 1000 <= top])
    for axis in axes[1:]:
        axis.set_ylabel(None)
        axis.tick_params(axis="y", length=0)
    scale_of_decibels(figure, image, (0.943, 0.135, 0.011, 0.75), RANGE_DB)

    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def blank(width: float, height: float) -> Figure:
    """A dark figure of a size in inches, 150 pixels each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # No pyplot: it keeps global state and may look for a display.
    figure = Figure(figsize=(width, height), dpi=150, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, overwrite: bool = True) -> None:
    """Write a figure as a PNG, whole or not at all."""
    with replacing(path, overwrite) as temporary:
        figure.savefig(temporary, format="png", facecolor=BACKGROUND)


def show(
    axis: Axes,
    power: NDArray[np.float64],
    loud: float,
    seconds: float,
    sample_rate: int,
    range_db: float,
    size: int,
    **options: Any,
) -> AxesImage:
    """Draw a spectrogram `(bins, frames)`, seconds by kHz, `loud` being 0 dB; labels have a size in points."""
    image = axis.imshow(
        10 * np.log10(np.maximum(power / loud, 1e-20)),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-range_db,
        vmax=0,
        extent=(0, seconds, 0, sample_rate / 2000),
        **options,
    )
    axis.set_xlabel("seconds", color=MUTED, fontsize=size)
    axis.set_ylabel("kHz", color=MUTED, fontsize=size)
    axis.tick_params(colors=MUTED, labelsize=size, length=3)
    axis.set_facecolor(BACKGROUND)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return image


def scale_of_decibels(
    figure: Figure, image: AxesImage, box: tuple[float, float, float, float], range_db: float
) -> None:
    """Draw what the colours of a spectrogram mean into a box (left, bottom, width, height) of a figure."""
    bar = figure.colorbar(image, cax=figure.add_axes(box), ticks=np.arange(0, -range_db - 1, -30))
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=12, length=0)
    bar.ax.set_title("dB", color=MUTED, fontsize=12, pad=8)


def power_spectrogram(waveform: NDArray[np.floating[Any]], hop_length: int) -> NDArray[np.float64]:
    """Power of the mean over channels of `(channels, at least 2048 samples)`, Hann window of 2048; `(bins, frames)`."""
    mono = np.asarray(waveform, dtype=np.float64).mean(axis=0)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    framed = np.lib.stride_tricks.sliding_window_view(mono, N_FFT)[::hop_length]
    power: NDArray[np.float64] = np.abs(np.fft.rfft(framed * window)) ** 2
    return power.T


def loudness(power: NDArray[np.float64]) -> float:
    """The level that one point in a thousand of a spectrogram exceeds: what its picture shows as 0 dB.

    The few loudest points, in the bass, would darken the rest.
    """
    return max(float(np.quantile(power, 0.999)), 1e-20)
