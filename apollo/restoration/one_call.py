"""One call from damaged audio to restored audio."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor

from apollo.audio import needs_restoration, read
from apollo.checkpoints import load_model
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration.engine import Restorer, RestorerOptions, choose_device
from apollo.restoration.output import Output
from apollo.restoration.waveforms import Waveform

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def restore(
    audio: str | Path,
    sample_rate: None = None,
    model: str | Path = ...,
    *,
    device: str = ...,
    track: int | None = ...,
    **options: Unpack[RestorerOptions],
) -> tuple[npt.NDArray[np.float32], int]: ...


@overload
def restore(
    audio: Waveform,
    sample_rate: int | None = ...,
    model: str | Path = ...,
    *,
    device: str = ...,
    **options: Unpack[RestorerOptions],
) -> Waveform: ...


def restore(
    audio: str | Path | npt.NDArray[Any] | Tensor,
    sample_rate: int | None = None,
    model: str | Path = "default",
    *,
    device: str = "auto",
    track: int | None = None,
    **options: Unpack[RestorerOptions],
) -> tuple[npt.NDArray[np.float32], int] | npt.NDArray[Any] | Tensor:
    """Restore a waveform or a file.

    The model is loaded once for any number of calls. For recordings too long for memory use `restore_file` or
    `Restorer.stream`; for your own networks, `Restorer`.

    Args:
        audio: A waveform `(channels, samples)` in floating point with full scale 1, as a NumPy array or a torch tensor;
            or the path of an audio file of any format.
        sample_rate: Of a waveform, in Hz; the model's (44100 for the default) if None. A file has its own.
        model: A model file, or the name of a model.
        device: Where to compute: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        track: Of a file, which of its audio tracks, counted from 1; None is the default one.
        **options: As `Restorer` takes them: `chunk_seconds`, `precision`, `batch`, `fill`, `mix` and `keep_below`.

    Returns:
        For a waveform, the restored one, of the same shape, sample rate, type and device. For a file, the restored
        waveform, float32 `(channels, samples)`, and its sample rate in Hz: the file's, or the model's if a codec has
        stored the file at a lower one. It may exceed ±1.

    Raises:
        ApolloError: If an argument cannot be used; the message says which and why.
        WaveformError: If the waveform has another shape or type; it is also a `ValueError`.

    Example:
        >>> import numpy as np
        >>> import apollo
        >>> waveform = 0.1 * np.sin(np.arange(2 * 48000) / 20, dtype=np.float32).reshape(2, 48000)
        >>> apollo.restore(waveform, 48000).shape
        (2, 48000)
    """
    network = load_once(str(model), changed(model), str(choose_device(device)))
    restorer = Restorer(network, **options)
    if isinstance(audio, Tensor):
        return restorer(audio, sample_rate)
    if not isinstance(audio, str | Path):
        return restorer(audio, sample_rate)
    if sample_rate is not None:
        raise ApolloError(f"{audio} has a sample rate of its own: leave out sample_rate")
    waveform, rate = read(audio, track)
    target_rate = Output().rate_for(rate, restorer.sample_rate, lambda: needs_restoration(audio, track).lossy)
    return restorer(waveform, rate, target_rate), target_rate


@lru_cache(maxsize=2)
def load_once(model: str, changed: int, device: str) -> Apollo:
    """Load a model, or give the one loaded before; `changed` tells versions of a file apart."""
    return load_model(model, device)


def changed(model: str | Path) -> int:
    """When a model file was last written, in ns; 0 for the name of a model."""
    try:
        return Path(model).stat().st_mtime_ns
    except OSError:
        return 0
