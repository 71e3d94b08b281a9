"""Restoration of waveforms of any length, sample rate and number of channels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from apollo.audio.resampling import resampled_length
from apollo.errors import ApolloError, nearest
from apollo.nn import Apollo
from apollo.nn.chunks import ChunkStream
from apollo.restoration.blending import Blend
from apollo.restoration.compiling import check_compiler, compiled_for
from apollo.restoration.stream import RestorationStream
from apollo.restoration.waveforms import LARGEST, Waveform, as_rate, as_tensor, peaks_of

log = logging.getLogger(__name__)

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}
MOST_CHANNELS = 1024  # that a file may have, as libsndfile reads it


class RestorerOptions(TypedDict, total=False):
    """Options of `Restorer` beside the model and its device."""

    chunk_seconds: float
    precision: str
    batch: int | None
    fill: float
    mix: float
    keep_below: float | None


class Restorer:
    """Restores waveforms with a network chunk by chunk: constant memory, and the samples of a single pass.

    The network was trained at full scale, so a recording is scaled to a peak of 1 before it and scaled back after it,
    by one gain for the whole recording. Channels that are silent from start to end stay silent.

    Args:
        model: The network, as `apollo.load_model` gives it.
        chunk_seconds: Seconds that one pass of the network adds, from 1 to 3600. Memory depends on it, the samples do
            not. It is halved when memory runs out.
        device: Where to compute (`"cpu"`, `"cuda"`, `"mps"` or `"auto"`); None is where the model is.
        precision: What the network computes in: `"32"`, `"bf16"`, `"16"` or `"auto"`, see `choose_precision`.
        batch: Channels that go through the network at once. None is one on a CPU, which gains little from more, and all
            on a GPU.
        fill: Share of the lost sound that is filled in, from 0 (most faithful waveform) to 1 (full sound). Models
            without a fill take 1 only.
        mix: Share of the restored sound in the output, from 0 (the input itself) to 1.
        keep_below: Frequency in Hz below which the input is kept, by a linear-phase crossover.

    Raises:
        ApolloError: If an option is out of range, or this machine lacks the device.

    Example:
        >>> restorer = Restorer(Apollo(feature_dim=16, layer=1, output="residual"))
        >>> restorer(np.zeros((2, 44100), dtype=np.float32)).shape
        (2, 44100)
    """

    def __init__(
        self,
        model: Apollo,
        chunk_seconds: float = 20.0,
        device: str | torch.device | None = None,
        *,
        precision: str = "auto",
        batch: int | None = None,
        fill: float = 1.0,
        mix: float = 1.0,
        keep_below: float | None = None,
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise ApolloError(f"a Restorer takes a network, not {model!r}: give apollo.load_model({model!r})")
        if not 1 <= chunk_seconds <= 3600:
            raise ApolloError(f"a chunk must last from 1 to 3600 seconds, not {chunk_seconds:g}")
        if batch is not None and not 1 <= batch <= MOST_CHANNELS:
            raise ApolloError(f"a batch must have from 1 to {MOST_CHANNELS} channels, not {batch}")
        if not 0 <= fill <= 1:
            raise ApolloError(f"fill must be from 0 to 1, not {fill:g}")
        if fill != 1 and model.fill is None:
            raise ApolloError(f"this model has no fill, so a share of {fill:g} has no effect: leave it out")
        self.fill = float(fill)
        self.blend = Blend(mix, keep_below)
        self.model = model.eval() if device is None else model.eval().to(choose_device(device))
        self.precision = choose_precision(precision, self.model)
        self.batch = batch or (1 if self.device.type == "cpu" else None)
        self.chunk_frames = round(chunk_seconds * model.sample_rate / model.hop_length)

    def __repr__(self) -> str:
        return (
            f"Restorer({self.model.size}, {self.sample_rate} Hz, "
            f"device={str(self.device)!r}, precision={self.precision!r}, chunk_seconds={self.chunk_seconds:.3g}, "
            f"batch={self.batch}, fill={self.fill:g}, mix={self.blend.mix:g}, keep_below={self.blend.keep_below}, "
            f"compiled={self.compiled})"
        )

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz at which the network works."""
        return self.model.sample_rate

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return next(self.model.parameters()).device

    @property
    def chunk_seconds(self) -> float:
        """Seconds that one pass of the network adds; less than asked for if memory ran out."""
        return self.chunk_frames * self.model.hop_length / self.model.sample_rate

    @property
    def compiled(self) -> bool:
        """Whether the network's blocks are compiled, by whichever restorer."""
        return self.model.compiled

    def compile(self) -> None:
        """Have PyTorch compile the network's blocks, which takes about half a minute at the first whole chunk.

        A network that is compiled already, by whichever restorer, stays as it is.

        Samples change by rounding errors only. The first and the last chunk of a recording run uncompiled, because
        their lengths differ. On a CPU it gains nothing in float32 (`benchmarks/README.md`). The weights must not change
        afterwards.

        Raises:
            ApolloError: If PyTorch finds no compiler for the device.
        """
        if not self.compiled:
            check_compiler(self.device)
            self.model.compile_blocks(dynamic=False)

    def __call__(self, waveform: Waveform, sample_rate: int | None = None, target_rate: int | None = None) -> Waveform:
        """Restore a waveform.

        Args:
            waveform: `(channels, samples)`, floating point, full scale 1.
            sample_rate: Its sample rate in Hz; the model's if None.
            target_rate: Sample rate in Hz of the result: the input's if None, or the model's, which has room for the
                treble that music coded at a low rate has lost.

        Returns:
            The restored waveform: same channels, type and device, and the same shape at the same rate.

        Raises:
            ApolloError: If a sample is NaN or infinite, or a sample rate is invalid.
            WaveformError: If the waveform has another shape or type; it is also a `ValueError`.
        """
        given = as_tensor(waveform)
        rate = self.sample_rate if sample_rate is None else as_rate(sample_rate)
        wanted = rate if target_rate is None else as_rate(target_rate)
        if not given.numel():
            return self._as(waveform, torch.empty_like(given))
        stream = self.stream(peaks_of(given), rate, target_rate=wanted)
        length = given.shape[1] if wanted == rate else resampled_length(given.shape[1], rate, wanted)
        restored = given.new_empty((given.shape[0], length))
        position = 0
        # Blocks of a chunk at most, so that buffers stay about that long.
        for block in torch.split(given, self.chunk_frames * self.model.hop_length, dim=1):
            part = stream.push(block)
            restored[:, position : position + part.shape[1]] = part
            position += part.shape[1]
        restored[:, position:] = stream.flush()
        return self._as(waveform, restored)

    def stream(
        self,
        peak: float | Sequence[float],
        sample_rate: int | None = None,
        channels: int = 2,
        target_rate: int | None = None,
    ) -> RestorationStream:
        """Start restoring a recording that arrives in blocks.

        Args:
            peak: Largest magnitude in each channel of the whole recording, one number a channel. The stream then gives
                the same samples as the whole recording. If it is not known yet, one number to expect, such as 1 for
                full scale; music far below it is restored less well.
            sample_rate: Sample rate in Hz; the model's if None.
            channels: Number of channels if `peak` is one number.
            target_rate: Sample rate in Hz of the output: the input's if None, or the model's.

        Raises:
            ApolloError: If a peak or a sample rate is invalid, or the target rate is neither of the two.

        Example:
            >>> stream = Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1).stream(1.0, 48000)
            >>> blocks = [stream.push(torch.zeros(2, 48000)) for _ in range(5)] + [stream.flush()]
            >>> sum(block.shape[1] for block in blocks)
            240000
        """
        rate = self.sample_rate if sample_rate is None else as_rate(sample_rate)
        if isinstance(peak, float | int | np.floating):
            peak = [float(peak)] * channels
        peaks = [float(one) for one in peak]
        if not all(0 <= one <= LARGEST for one in peaks):
            raise ApolloError(f"a peak must be a number from 0 that float32 can hold, not {peak}")
        wanted = rate if target_rate is None else as_rate(target_rate)
        return RestorationStream(self._chunks, self.blend, peaks, rate, self.sample_rate, wanted)

    def _chunks(self, channels: int) -> ChunkStream:
        return ChunkStream(
            self.model, channels, self.chunk_frames, self.batch or channels, self._forward, self._use_shorter_chunks
        )

    def _forward(self, waveform: Tensor) -> Tensor:
        """Run the network on `(items, 1, samples)` in its precision, compiled if it is and the chunk is whole."""
        dtype = PRECISIONS[self.precision]
        whole = (self.chunk_frames + 2 * self.model.context_frames) * self.model.hop_length
        with (
            torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32),
            compiled_for(waveform.shape[-1] == whole, self.device) if self.compiled else nullcontext(),
        ):
            restored: Tensor = self.model(waveform, self.fill)
            return restored

    def _use_shorter_chunks(self, chunk_frames: int) -> None:
        """Restore in shorter chunks from now on, so that later recordings need not run out of memory first."""
        self.chunk_frames = chunk_frames
        log.warning("memory ran out: going on with chunks of %.3g s", self.chunk_seconds)

    @staticmethod
    def _as(like: Waveform, restored: Tensor) -> Waveform:
        """Give a tensor as the kind of `like`."""
        return restored.numpy().astype(like.dtype, copy=False) if isinstance(like, np.ndarray) else restored


def choose_device(name: str | torch.device) -> torch.device:
    """A PyTorch device by its name, or by `auto` a GPU where there is one; raises ApolloError if it is not here."""
    if name == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds nothing that could be read
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, OverflowError, ImportError):
        raise ApolloError(f"PyTorch finds no device {str(name)!r} on this machine: use --device cpu or auto") from None
    return device


def choose_precision(name: str, model: Apollo) -> str:
    """Find the precision for a network to compute in, on its device: a key of `PRECISIONS`, or `"auto"`.

    `"auto"` is bfloat16 where that is both fast and accurate. It is fast on CUDA GPUs that support it. CPUs with
    instructions for it gain a fifth (`benchmarks/README.md`), which is not worth results that differ from one CPU to
    the next; other CPUs lose. It is accurate for residual networks, which only add to their input: with the default
    model, the change is 73 dB below the music (`benchmarks/restore_precision.py`), and 40 would do. Direct networks
    make the whole spectrum in their last layer; this was not measured, so they keep float32. Spectra, and everything
    after the network, are always float32. Raises ApolloError if there is no such precision, or the device lacks it.
    """
    device = next(model.parameters()).device
    if name == "auto":
        # GPUs before Ampere emulate bfloat16, slowly.
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast and model.output == "residual" else "32"
    require_precision(name, device, ["auto", *PRECISIONS])
    return name


def require_precision(name: str, device: torch.device, known: Iterable[str] = PRECISIONS) -> None:
    """Raise ApolloError if there is no such precision, in which case `known` ones are named, or the device lacks it."""
    if name not in PRECISIONS:
        raise ApolloError(f"there is no precision {name!r}: {nearest(name, known)}")
    if name == "16" and device.type == "cpu":
        raise ApolloError("precision 16 needs a GPU: on a CPU use bf16 or 32")
