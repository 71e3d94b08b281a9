"""A recording under restoration: blocks in, restored blocks out, at its own rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from apollo.audio.resampling import Resampler
from apollo.errors import ApolloError
from apollo.nn.chunks import ChunkStream
from apollo.restoration.blending import Blend, BlendStream
from apollo.restoration.waveforms import Waveform, as_tensor

# Below the last bit of 24-bit audio (-138 dB) and far below any recording: scaled to full scale, it would be rounding
# errors that the network restores.
SILENCE = 1e-9
RESAMPLING = 1200  # samples at the lower of two rates that soxr holds back at most; measured: 1106


class RestorationStream:
    """A recording under restoration: blocks go in, restored blocks of the same total length come out.

    Made by `Restorer.stream`. Frequencies above the network's range stay as they are: if a recording keeps a rate above
    the network's, only the difference that the network makes is resampled and added to it.

    Attributes:
        latency: Samples by which the output may lag behind the input: a chunk and the network's context, and what
            resampling and the crossover hold back if they are needed.
    """

    def __init__(
        self,
        chunks: Callable[[int], ChunkStream],
        blend: Blend,
        peaks: Sequence[float],
        sample_rate: int,
        model_rate: int,
        target_rate: int,
    ) -> None:
        if target_rate not in (sample_rate, model_rate):
            raise ApolloError(
                f"the target rate must be the input's, {sample_rate} Hz, or the model's, {model_rate} Hz, "
                f"not {target_rate} Hz"
            )
        self.channels = len(peaks)
        self.active = [channel for channel, peak in enumerate(peaks) if peak > SILENCE]
        self.peak = max(peaks, default=0.0)
        # If all channels are silent, one of them is processed like the others, but not by the network.
        channels = max(1, len(self.active))
        self.chunks = chunks(channels)
        self.at_own_rate = sample_rate == model_rate
        self.to_model = Resampler(sample_rate, model_rate, channels)
        self.from_model = Resampler(model_rate, target_rate, channels) if target_rate != model_rate else None
        self.adds = target_rate > model_rate
        self.waiting = torch.empty(channels, 0)  # input of the network that is not restored yet
        self.blend = BlendStream(blend, self.channels, target_rate) if blend.needs_input or self.adds else None
        # Resampling there and back rounds the length: with this much silence after the end it is never too short.
        self.silence = 2 * math.ceil(model_rate / sample_rate)
        self.flushed = False
        self.taken = 0
        self.restored = 0
        seconds = (self.chunks.chunk + self.chunks.context) / model_rate
        if not self.at_own_rate:
            seconds += 2 * RESAMPLING / min(sample_rate, model_rate)
        if self.blend:
            seconds += self.blend.delay / target_rate
        self.latency = math.ceil(seconds * sample_rate)

    def push(self, block: Waveform) -> Waveform:
        """Take the next block, and give the samples that are restored by now.

        Args:
            block: `(channels, samples)` in floating point, finite numbers.

        Returns:
            `(channels, any number)`, at most `latency` samples behind: float32 on the CPU, an array for an array.

        Raises:
            WaveformError: If the block has another shape or type; it is also a `ValueError`.
            ApolloError: If a sample is NaN or infinite, or the stream has been flushed.
        """
        given = as_tensor(block, self.channels).float().cpu()
        if self.flushed:
            raise ApolloError("this stream has been flushed: begin another one for more sound")
        if not given.isfinite().all():  # which resampling and the network would spread over their neighbours
            raise ApolloError("the block contains NaN or infinite samples")
        restored = self._push(given)
        return restored.numpy() if isinstance(block, np.ndarray) else restored

    def flush(self) -> Tensor:
        """Give the rest, a tensor `(channels, any number)`: in all, as many samples come out as went in."""
        self.flushed = True
        rest = self._push(torch.zeros(self.channels, 0), last=True)
        return torch.cat((rest, self.blend.flush()), dim=1) if self.blend else rest

    def through(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """Restore all blocks of a recording and flush."""
        for block in blocks:
            restored = self.push(block)
            if restored.shape[1]:
                yield restored
        yield self.flush().numpy()

    def _push(self, block: Tensor, last: bool = False) -> Tensor:
        self.taken += block.shape[1]
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
            self.waiting = torch.cat((self.waiting, at_model), dim=1)
            samples = restored.shape[1]
            restored, self.waiting = restored - self.waiting[:, :samples], self.waiting[:, samples:].clone()
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


def resampled(resampler: Resampler, block: Tensor, last: bool = False) -> Tensor:
    """Put a block `(channels, samples)` through a resampler, and give what is ready."""
    return torch.from_numpy(resampler.process(block.numpy(), last))
