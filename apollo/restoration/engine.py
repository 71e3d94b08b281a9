"""Restoration of waveforms of any length, sample rate and number of channels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apollo.audio.resampling import Resampler, resampled_length
from apollo.errors import ApolloError, WaveformError
from apollo.nn import Apollo
from apollo.restoration.blending import Blend, BlendStream
from apollo.restoration.chunks import FittingChunks
from apollo.restoration.compiling import check_compiler
from apollo.restoration.precision import PRECISIONS, choose_precision

Waveform = TypeVar("Waveform", Tensor, npt.NDArray[Any])

# Below the last bit of 24-bit audio (-138 dB) and far below what any recording holds; bringing it to full scale would
# have the network restore rounding errors.
SILENCE = 1e-9
LARGEST = float(np.finfo(np.float32).max)

RATES = (1000, 1_000_000)  # Hz; beyond, a header is damaged or a number is none, and a second may become hours
MANY_CHANNELS = 8  # from more on, an array with fewer samples than channels is taken to lie on its side

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

    def __call__(self, waveform: Waveform, sample_rate: int | None = None, target_rate: int | None = None) -> Waveform:
        """Restore a waveform.

        Args:
            waveform: `(channels, samples)`, floating point, full scale 1.
            sample_rate: Its sample rate in Hz; the model's if None.
            target_rate: Sample rate in Hz of what comes back: the same if None, or the model's, which has room for the
                treble that music coded at a low rate has lost.

        Returns:
            The restored waveform: the same channels, type and device, and unless `target_rate` is another, the same
            shape.

        Raises:
            ApolloError: If a sample is not a finite number, or a sample rate is none.
            WaveformError: If the waveform has another shape or type; it is a `ValueError` as well.
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
        # Blocks no longer than a chunk keep what is under way at any time to about that length.
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
            peak: Largest magnitude in each channel of the whole recording, one number a channel: with them, the stream
                gives the samples that the recording as a whole would give. Where nobody knows yet, one number that
                says what is to be expected, such as 1 for full scale; music far below it is restored less well.
            sample_rate: Sample rate in Hz; the model's if None.
            channels: Number of channels where `peak` is one number.
            target_rate: Sample rate in Hz of what comes out: the same if None, or the model's.

        Raises:
            ApolloError: If a peak or the sample rate is none, or the target's is neither of the two.

        Example:
            >>> stream = Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1).stream(1.0, 48000)
            >>> blocks = [stream.push(torch.zeros(2, 48000)) for _ in range(5)] + [stream.flush()]
            >>> sum(block.shape[1] for block in blocks)
            240000
        """
        rate = self.sample_rate if sample_rate is None else as_rate(sample_rate)
        peaks = [float(peak)] * channels if isinstance(peak, float | int) else [float(one) for one in peak]
        if not all(0 <= one <= LARGEST for one in peaks):
            raise ApolloError(f"a peak must be a number from 0 that float32 can hold, not {peak}")
        return RestorationStream(self, peaks, rate, rate if target_rate is None else as_rate(target_rate))

    @staticmethod
    def _as(like: Waveform, restored: Tensor) -> Waveform:
        """Give a tensor as the kind of `like`."""
        return restored.numpy().astype(like.dtype, copy=False) if isinstance(like, np.ndarray) else restored


class RestorationStream:
    """A recording under restoration: blocks go in, restored blocks of the same total length come out.

    Made by `Restorer.stream`. What lies beyond the network's reach is not the network's to change: where a recording
    keeps a rate above the network's, only the difference that the network makes is resampled, and added to it.

    Attributes:
        latency: Samples that what is given may lag behind what was taken: a chunk and the network's context, and where
            they are needed, what resampling and the crossover hold back.
    """

    def __init__(self, restorer: Restorer, peaks: Sequence[float], sample_rate: int, target_rate: int) -> None:
        model = restorer.model
        if target_rate not in (sample_rate, model.sample_rate):
            raise ApolloError(
                f"restored sound comes at its own rate, {sample_rate} Hz, or at the model's, {model.sample_rate} Hz, "
                f"not at {target_rate} Hz"
            )
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
        self.at_own_rate = sample_rate == model.sample_rate
        self.to_model = Resampler(sample_rate, model.sample_rate, max(1, len(self.active)))
        self.from_model: Resampler | None = None
        if target_rate != model.sample_rate:
            self.from_model = Resampler(model.sample_rate, target_rate, max(1, len(self.active)))
        self.adds = target_rate > model.sample_rate
        self.heard = torch.empty(max(1, len(self.active)), 0)  # by the network, which has not given it back yet
        needs_input = restorer.blend.needs_input or self.adds
        self.blend = BlendStream(restorer.blend, self.channels, target_rate) if needs_input else None
        # Resampling there and back rounds the length: with this much silence behind the end, it is never too short.
        self.silence = 2 * math.ceil(model.sample_rate / sample_rate)
        self.taken = 0
        self.restored = 0
        seconds = (self.chunks.chunk + self.chunks.context) / model.sample_rate
        if not self.at_own_rate:
            seconds += 2 * RESAMPLING / min(sample_rate, model.sample_rate)
        if self.blend:
            seconds += self.blend.delay / target_rate
        self.latency = math.ceil(seconds * sample_rate)

    def push(self, block: Waveform) -> Waveform:
        """Take the next block, and give restored samples as far as they are certain.

        Args:
            block: `(channels, samples)` in floating point, finite numbers.

        Returns:
            `(channels, any number)`, at most `latency` samples behind: float32 on the CPU, an array for an array.

        Raises:
            WaveformError: If the block has another shape or type; it is a `ValueError` as well.
        """
        restored = self._push(as_tensor(block, self.channels).float().cpu())
        return restored.numpy() if isinstance(block, np.ndarray) else restored

    def flush(self) -> Tensor:
        """Give the rest, a tensor `(channels, any number)`, so that as many samples have been given as were taken."""
        rest = self._push(torch.zeros(self.channels, 0), last=True)
        return torch.cat((rest, self.blend.flush()), dim=1) if self.blend else rest

    def through(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """Restore all blocks of a recording, as `push` takes and gives them, to its end."""
        for block in blocks:
            restored = self.push(block)
            if restored.shape[1]:
                yield restored
        yield self.flush().numpy()

    def _push(self, block: Tensor, last: bool = False) -> Tensor:
        self.taken += block.shape[1]
        # Where all is silent, one channel of silence goes the way of the others, past the network.
        sounding = block[self.active] / self.peak if self.active else torch.zeros(1, block.shape[1])
        at_model = resampled(self.to_model, sounding, last)
        restored = at_model
        if self.active:
            restored = self.chunks.push(at_model)
            if last:
                restored = torch.cat((restored, self.chunks.flush()), dim=1)
        if self.blend:
            self.blend.take(block if self.from_model or self.at_own_rate else self._placed(at_model))
        if self.adds:
            self.heard = torch.cat((self.heard, at_model), dim=1)
            samples = restored.shape[1]
            restored, self.heard = restored - self.heard[:, :samples], self.heard[:, samples:].clone()
        if self.from_model:
            if last:
                restored = torch.cat((restored, torch.zeros(len(restored), self.silence)), dim=1)
            restored = resampled(self.from_model, restored, last)[:, : self.taken - self.restored]
            self.restored += restored.shape[1]
        placed = self._placed(restored)
        if self.blend is None:
            return placed
        return self.blend.add(placed) if self.adds else self.blend.push(placed)

    def _placed(self, active: Tensor) -> Tensor:
        """Undo the gain, and put the active channels back among the silent ones."""
        placed = torch.zeros(self.channels, active.shape[1])
        placed[self.active] = active[: len(self.active)] * self.peak
        return placed


def as_tensor(waveform: Tensor | npt.NDArray[Any], channels: int | None = None) -> Tensor:
    """Give a waveform as a tensor without a graph, in the same memory where that is possible.

    Raises:
        WaveformError: If it is none of shape `(channels, samples)` in floating point.
    """
    if not isinstance(waveform, Tensor | np.ndarray):
        raise WaveformError(f"a waveform must be a NumPy array or a torch tensor, not {type(waveform).__name__}")
    shape = tuple(waveform.shape)
    if len(shape) != 2:
        hint = ": give waveform[None] for one channel" if len(shape) == 1 else ""
        raise WaveformError(f"a waveform must be (channels, samples), not of shape {shape}{hint}")
    turned = channels is not None and shape[0] != channels == shape[1]
    if turned or (shape[0] > max(MANY_CHANNELS, shape[1]) and shape[1] > 0):
        raise WaveformError(
            f"a waveform must be (channels, samples), but {shape} looks like (samples, channels): give waveform.T"
        )
    if channels is not None and shape[0] != channels:
        raise WaveformError(f"a block must have {channels} channels, as the recording has, not {shape[0]}")
    is_float = waveform.is_floating_point() if isinstance(waveform, Tensor) else waveform.dtype.kind == "f"
    if not is_float:
        raise WaveformError(
            "a waveform must be (channels, samples) in floating point with full scale 1, "
            f"not {waveform.dtype}: convert it"
        )
    if isinstance(waveform, Tensor):
        return waveform.detach()
    # torch takes neither strides below 0 nor foreign byte order nor extended precision, and warns of arrays that are
    # read-only.
    kind = waveform.dtype.newbyteorder("=") if waveform.dtype.itemsize <= 8 else np.dtype(np.float64)
    return torch.from_numpy(np.require(waveform, kind, ["C", "W"]))


def as_rate(sample_rate: float) -> int:
    """Give a sample rate in Hz as a whole number.

    Raises:
        ApolloError: If it is none, or no recording's.
    """
    number = isinstance(sample_rate, int | float | np.integer | np.floating) and not isinstance(sample_rate, bool)
    if not number or not RATES[0] <= sample_rate <= RATES[1] or sample_rate != int(sample_rate):
        raise ApolloError(
            f"cannot restore at {sample_rate!r} Hz: give sample rates above 0, whole numbers from {RATES[0]} to "
            f"{RATES[1]}"
        )
    return int(sample_rate)


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
    if max(peaks, default=0.0) > LARGEST:
        raise ApolloError("the audio holds samples beyond what float32 can hold: bring it to full scale 1")
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
