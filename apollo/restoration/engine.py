"""Restoration of waveforms of any length, sample rate and number of channels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apollo.audio.resampling import Resampler
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration.blending import Blend, BlendStream
from apollo.restoration.chunks import FittingChunks
from apollo.restoration.compiling import check_compiler
from apollo.restoration.precision import PRECISIONS, choose_precision

Waveform = TypeVar("Waveform", Tensor, npt.NDArray[Any])

# Below the last bit of 24-bit audio (-138 dB) and far below what any recording holds; bringing it to full scale would
# have the network restore rounding errors.
SILENCE = 1e-9

MOST_CHANNELS = 1024  # that a file may have, as libsndfile reads it

RESAMPLING = 1200  # samples at the lower of two rates that soxr holds back at most; measured: 1106


class Restorer:
    """Restores waveforms with a network, in constant memory and with the samples that it would give for the whole.

    The network has learnt at full scale, so a recording's peak is brought to 1 before and back after: one gain for the
    whole recording. Channels that are silent from beginning to end stay silent.

    Args:
        model: The network, as `apollo.load_model` gives it.
        chunk_seconds: Seconds that one pass of the network adds; the result does not depend on it, memory does. Where
            memory does not suffice, they are halved until it does.
        device: Where to compute (`"cpu"`, `"cuda"`, `"mps"` or `"auto"`); None is where the model is.
        precision: In what the network computes: `"32"`, `"bf16"`, `"16"` or `"auto"`, see `choose_precision`.
        batch: Channels that go through the network at once. None is one at a time on a CPU, which has the least use for
            more, and all on a GPU.
        fill: Share of what is lost that is filled in, from 0 (the most faithful waveform) to 1 (the full sound). Models
            without a fill take 1 only.
        mix: Share of the restored in what comes out, from 0 (the input itself) to 1.
        keep_below: Frequency in Hz below which the input's own sound is kept, by a linear-phase crossover.

    Raises:
        ApolloError: If the chunk is shorter than 1 s or longer than an hour, or there is no such device, precision,
            batch, share or frequency.

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
        if not 1 <= chunk_seconds <= 3600:
            raise ApolloError(f"a chunk must last from 1 to 3600 seconds, not {chunk_seconds:g}")
        if batch is not None and not 1 <= batch <= MOST_CHANNELS:
            raise ApolloError(f"a batch must have from 1 to {MOST_CHANNELS} channels, not {batch}")
        if not 0 <= fill <= 1:
            raise ApolloError(f"the share of fill must be from 0 to 1, not {fill:g}")
        if fill != 1 and model.fill is None:
            raise ApolloError(f"this model has no fill, so a share of {fill:g} means nothing: leave it out")
        self.fill = float(fill)
        self.blend = Blend(mix, keep_below)
        self.model = model.eval() if device is None else model.eval().to(choose_device(device))
        self.precision = choose_precision(precision, self.model)
        self.batch = batch or (1 if self.device.type == "cpu" else None)
        self.compiled = False
        self.chunk_frames = round(chunk_seconds * model.sample_rate / model.hop_length)

    def __repr__(self) -> str:
        of = self.model.config
        return (
            f"Restorer({of['feature_dim']} × {of['layer']}, {self.model.output}, {self.sample_rate} Hz, "
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
        """Seconds that one pass of the network adds; less than was asked for where memory did not suffice."""
        return self.chunk_frames * self.model.hop_length / self.model.sample_rate

    def compile(self) -> None:
        """Have PyTorch compile the network's blocks, which takes about half a minute at the first whole chunk.

        Samples change by rounding errors only. The first chunk of a recording and the last are computed uncompiled, for
        they have lengths of their own. On a CPU it does not pay in float32 (`benchmarks/README.md`), and weights must
        not change any more.

        Raises:
            ApolloError: If PyTorch finds no compiler for the device.
        """
        check_compiler(self.device)
        self.model.compile_blocks(dynamic=False)
        self.compiled = True

    def __call__(self, waveform: Waveform, sample_rate: int | None = None) -> Waveform:
        """Restore a waveform.

        Args:
            waveform: `(channels, samples)`, floating point, full scale 1.
            sample_rate: Its sample rate in Hz; the model's if None.

        Returns:
            The restored waveform: the same shape, sample rate, type and device.

        Raises:
            ApolloError: If a sample is not a finite number, or the sample rate is not positive.
            ValueError: If the waveform has another shape or type.
        """
        given = as_tensor(waveform)
        if given.dim() != 2 or not given.is_floating_point():
            raise ValueError(
                f"waveform must be (channels, samples) in floating point, not {tuple(given.shape)} {given.dtype}"
            )
        restored = torch.empty_like(given)
        if not given.numel():
            return self._as(waveform, restored)
        stream = self.stream(peaks_of(given), sample_rate)
        position = 0
        # Blocks no longer than a chunk keep what is under way at any time to about that length.
        for block in torch.split(given, self.chunk_frames * self.model.hop_length, dim=1):
            part = stream.push(block)
            restored[:, position : position + part.shape[1]] = part
            position += part.shape[1]
        restored[:, position:] = stream.flush()
        return self._as(waveform, restored)

    def stream(
        self, peak: float | Sequence[float], sample_rate: int | None = None, channels: int = 2
    ) -> RestorationStream:
        """Start restoring a recording that arrives in blocks.

        Args:
            peak: Largest magnitude in each channel of the whole recording, one number a channel: with them, the stream
                gives the samples that the recording as a whole would give. Where nobody knows yet, one number that
                says what is to be expected, such as 1 for full scale; music far below it is restored less well.
            sample_rate: Sample rate in Hz; the model's if None.
            channels: Number of channels where `peak` is one number.

        Raises:
            ApolloError: If the sample rate is not positive.

        Example:
            >>> stream = Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1).stream(1.0, 48000)
            >>> blocks = [stream.push(torch.zeros(2, 48000)) for _ in range(5)] + [stream.flush()]
            >>> sum(block.shape[1] for block in blocks)
            240000
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        return RestorationStream(self, [peak] * channels if isinstance(peak, float | int) else peak, rate)

    @staticmethod
    def _as(like: Waveform, restored: Tensor) -> Waveform:
        """Give a tensor as the kind of `like`."""
        return restored.numpy().astype(like.dtype, copy=False) if isinstance(like, np.ndarray) else restored


class RestorationStream:
    """A recording under restoration: blocks go in, restored blocks of the same total length come out.

    Made by `Restorer.stream`.

    Attributes:
        latency: Samples that what is given may lag behind what was taken: a chunk and the network's context, and where
            they are needed, what resampling and the crossover hold back.
    """

    def __init__(self, restorer: Restorer, peaks: Sequence[float], sample_rate: int) -> None:
        model = restorer.model
        self.channels = len(peaks)
        self.active = [channel for channel, peak in enumerate(peaks) if peak > SILENCE]
        self.peak = max(peaks, default=0.0)

        def shrunk(frames: int) -> None:
            restorer.chunk_frames = frames  # what comes later need not fail first

        dtype = PRECISIONS[restorer.precision]
        batch = restorer.batch or max(1, len(self.active))
        self.chunks = FittingChunks(
            model, len(self.active), restorer.chunk_frames, batch, dtype, restorer.compiled, restorer.fill, shrunk
        )
        self.to_model = Resampler(sample_rate, model.sample_rate, max(1, len(self.active)))
        self.from_model = Resampler(model.sample_rate, sample_rate, max(1, len(self.active)))
        self.blend = BlendStream(restorer.blend, self.channels, sample_rate) if restorer.blend.needs_input else None
        # Resampling there and back rounds the length: with this much silence behind the end, it is never too short.
        self.silence = 2 * math.ceil(model.sample_rate / sample_rate)
        self.taken = 0
        self.restored = 0
        seconds = (self.chunks.chunk + self.chunks.context) / model.sample_rate
        if sample_rate != model.sample_rate:
            seconds += 2 * RESAMPLING / min(sample_rate, model.sample_rate)
        self.latency = math.ceil(seconds * sample_rate) + (self.blend.delay if self.blend else 0)

    def push(self, block: Waveform) -> Waveform:
        """Take the next block, and give restored samples as far as they are certain.

        Args:
            block: `(channels, samples)` in floating point, finite numbers.

        Returns:
            `(channels, any number)`, at most `latency` samples behind: float32 on the CPU, an array for an array.

        Raises:
            ValueError: If the block has another shape or type.
        """
        taken = as_tensor(block)
        if taken.dim() != 2 or taken.shape[0] != self.channels or not taken.is_floating_point():
            raise ValueError(
                f"a block must be ({self.channels}, samples) in floating point, not {tuple(taken.shape)} {taken.dtype}"
            )
        restored = self._push(taken.float().cpu())
        return restored.numpy() if isinstance(block, np.ndarray) else restored

    def through(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """Restore all blocks of a recording, as `push` takes and gives them, to its end."""
        for block in blocks:
            restored = self.push(block)
            if restored.shape[1]:
                yield restored
        yield self.flush().numpy()

    def _push(self, block: Tensor) -> Tensor:
        self.taken += block.shape[1]
        if self.blend:
            self.blend.take(block)
        if not self.active:
            return self._give(torch.zeros(0, block.shape[1]))
        at_model = resampled(self.to_model, block[self.active] / self.peak)
        return self._give(resampled(self.from_model, self.chunks.push(at_model)))

    def flush(self) -> Tensor:
        """Give the rest, a tensor `(channels, any number)`, so that as many samples have been given as were taken."""
        if self.active:
            nothing = torch.zeros(len(self.active), 0)
            at_model = self.chunks.push(resampled(self.to_model, nothing, last=True))
            silence = torch.zeros(len(self.active), self.silence)
            rest = self._give(
                resampled(self.from_model, torch.cat((at_model, self.chunks.flush(), silence), dim=1), last=True)
            )
        else:
            rest = torch.zeros(self.channels, 0)
        return torch.cat((rest, self.blend.flush()), dim=1) if self.blend else rest

    def _give(self, active: Tensor) -> Tensor:
        """Undo the gain, put the active channels back among the silent ones, never more than was taken, and blend."""
        active = active[:, : self.taken - self.restored]
        self.restored += active.shape[1]
        restored = torch.zeros(self.channels, active.shape[1])
        restored[self.active] = active * self.peak
        return self.blend.push(restored) if self.blend else restored


def as_tensor(waveform: Tensor | npt.NDArray[Any]) -> Tensor:
    """Give a waveform as a tensor without a graph, in the same memory where that is possible."""
    if isinstance(waveform, Tensor):
        return waveform.detach()
    # torch takes neither strides below 0 nor foreign byte order, and warns of arrays that are read-only.
    return torch.from_numpy(np.require(waveform, waveform.dtype.newbyteorder("="), ["C", "W"]))


def resampled(resampler: Resampler, block: Tensor, last: bool = False) -> Tensor:
    """Put a block `(channels, samples)` through a resampler, and give what is ready."""
    return torch.from_numpy(resampler.process(block.numpy(), last))


def peaks_of(waveform: Tensor) -> list[float]:
    """Largest magnitude in each channel of `(channels, samples)`, at least one sample.

    Raises:
        ApolloError: If a sample is not a finite number.
    """
    peaks = [float(peak) for peak in torch.maximum(waveform.amax(dim=1), -waveform.amin(dim=1))]
    if not all(math.isfinite(peak) for peak in peaks):
        raise ApolloError("the audio holds samples that are not finite numbers (NaN or infinity)")
    return peaks


def choose_device(name: str | torch.device) -> torch.device:
    """Find the device to compute on.

    Args:
        name: A PyTorch device, or `"auto"` for a GPU where there is one.

    Raises:
        ApolloError: If this machine has no such device.
    """
    if name == "auto":
        cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds nothing that could be read
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, OverflowError, ImportError):
        raise ApolloError(f"PyTorch finds no device {str(name)!r} on this machine: use --device cpu or auto") from None
    return device
