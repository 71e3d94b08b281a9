"""One call from damaged audio to restored audio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor

from apollo.audio import needs_restoration, read
from apollo.checkpoints import load_model
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration.engine import Restorer, choose_device
from apollo.restoration.output import Output


@overload
def restore(
    audio: str | Path,
    sample_rate: None = None,
    model: str | Path = ...,
    *,
    device: str = ...,
    chunk_seconds: float = ...,
    precision: str = ...,
    batch: int | None = ...,
    fill: float = ...,
    mix: float = ...,
    keep_below: float | None = ...,
    track: int | None = ...,
) -> tuple[npt.NDArray[np.float32], int]: ...


@overload
def restore(
    audio: npt.NDArray[Any],
    sample_rate: int | None = ...,
    model: str | Path = ...,
    *,
    device: str = ...,
    chunk_seconds: float = ...,
    precision: str = ...,
    batch: int | None = ...,
    fill: float = ...,
    mix: float = ...,
    keep_below: float | None = ...,
) -> npt.NDArray[Any]: ...


@overload
def restore(
    audio: Tensor,
    sample_rate: int | None = ...,
    model: str | Path = ...,
    *,
    device: str = ...,
    chunk_seconds: float = ...,
    precision: str = ...,
    batch: int | None = ...,
    fill: float = ...,
    mix: float = ...,
    keep_below: float | None = ...,
) -> Tensor: ...


def restore(
    audio: str | Path | npt.NDArray[Any] | Tensor,
    sample_rate: int | None = None,
    model: str | Path = "default",
    *,
    device: str = "auto",
    chunk_seconds: float = 20.0,
    precision: str = "auto",
    batch: int | None = None,
    fill: float = 1.0,
    mix: float = 1.0,
    keep_below: float | None = None,
    track: int | None = None,
) -> tuple[npt.NDArray[np.float32], int] | npt.NDArray[Any] | Tensor:
    """Restore a waveform or a file.

    The model is loaded once, whatever number of calls. For recordings too long for memory there are `restore_file` and
    `Restorer.stream`, for models of your own making `Restorer`.

    Args:
        audio: A waveform `(channels, samples)` in floating point with full scale 1, as a NumPy array or a torch tensor;
            or the path of an audio file of any format.
        sample_rate: Of a waveform, in Hz; the model's (44100 for the default) if None. A file has its own.
        model: A model file, or the name of a model.
        device: Where to compute: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        chunk_seconds: As for `Restorer`, and so is all that follows.
        precision: `"auto"`, `"32"`, `"bf16"` or `"16"`.
        batch: Channels that go through the network at once.
        fill: Share of what is lost that is filled in, from 0 (the most faithful waveform) to 1 (the full sound).
        mix: Share of the restored in what comes out, from 0 to 1.
        keep_below: Frequency in Hz below which the input's own sound is kept.
        track: Of a file, which of its audio tracks, counted from 1; None is the default one.

    Returns:
        For a waveform, the restored one, of the same shape, sample rate, type and device. For a file, the restored
        waveform, float32 `(channels, samples)`, and its sample rate in Hz: the file's, or the model's for what a codec
        has stored at a lower one. It may exceed ±1.

    Raises:
        ApolloError: If something in what was given cannot work; the message says what.
        WaveformError: If the waveform has another shape or type; it is a `ValueError` as well.

    Example:
        >>> import numpy as np
        >>> import apollo
        >>> waveform = 0.1 * np.sin(np.arange(2 * 48000) / 20, dtype=np.float32).reshape(2, 48000)
        >>> apollo.restore(waveform, 48000).shape
        (2, 48000)
    """
    network = load_once(str(model), changed(model), str(choose_device(device)))
    restorer = Restorer(
        network, chunk_seconds, precision=precision, batch=batch, fill=fill, mix=mix, keep_below=keep_below
    )
    if isinstance(audio, Tensor):
        return restorer(audio, sample_rate)
    if not isinstance(audio, str | Path):
        return restorer(audio, sample_rate)
    if sample_rate is not None:
        raise ApolloError(f"{audio} has a sample rate of its own: leave out sample_rate")
    waveform, rate = read(audio, track)
    target_rate = Output().rate_for(rate, restorer.sample_rate, lambda: needs_restoration(audio, track).damaged)
    return restorer(waveform, rate, target_rate), target_rate


@lru_cache(maxsize=2)
def load_once(model: str, changed: int, device: str) -> Apollo:
    """Load a model, or give the one that was loaded before; `changed` tells apart versions of a file."""
    return load_model(model, device)


def changed(model: str | Path) -> int:
    """When a model file was last written, in ns; 0 for the name of a model."""
    try:
        return Path(model).stat().st_mtime_ns
    except OSError:
        return 0
