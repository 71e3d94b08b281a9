"""The network on a waveform that arrives in blocks, with the same samples as for the whole."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from apollo.nn.generator import Apollo
from apollo.nn.memory import is_out_of_memory

SHORTEST = 1.0  # seconds; in shorter chunks nearly all of a pass is context, and memory hardly shrinks any more


def restore_in_chunks(model: Apollo, waveform: Tensor, chunk_frames: int, fill: float = 1.0) -> Tensor:
    """Run a network over a whole waveform chunk by chunk: the samples of one pass, in the memory of a chunk.

    Args:
        model: The network; its weights may be on any device.
        waveform: `(channels, samples)`.
        chunk_frames: As for `ChunkStream`.
        fill: Share of what is lost that is filled in, as `Apollo.forward` takes it.

    Returns:
        `(channels, samples)` in float32 on the CPU.
    """
    stream = ChunkStream(model, waveform.shape[0], chunk_frames, forward=partial(model, fill=fill))
    return torch.cat((stream.push(waveform), stream.flush()), dim=1)


class ChunkStream:
    """Runs a network chunk by chunk, exactly.

    A sample of the output depends on `model.context_frames` frames of the input on either side and on nothing further
    away. Chunks start on multiples of the hop, so that their frames are the frames of the whole, and bring that context
    on both sides; what the network says about the context itself is dropped. The first and the last chunk end where the
    waveform ends, so its ends are padded as they would be in the whole. Nothing is faded, because nothing differs.

    The samples do not depend on the length of a chunk, so it may change on the way: where memory runs out, chunks are
    halved, and when they are short, the batch.

    Args:
        model: The network; its weights may be on any device.
        channels: Channels of the waveform.
        chunk_frames: Frames that a pass of the network adds to the output. Memory grows with it and with the context;
            work spent on context is `2 * context_frames / chunk_frames`.
        batch: Channels that go through the network in one pass. They do not know of each other: one at a time takes the
            least memory.
        forward: Run in place of `model`; `(items, 1, samples)` on the model's device → same.
        halved: Called with the new `chunk_frames` when chunks have been halved.

    Attributes:
        chunk: Samples that a pass adds now.
        context: Samples of context on either side.
    """

    def __init__(
        self,
        model: Apollo,
        channels: int,
        chunk_frames: int,
        batch: int = 1,
        forward: Callable[[Tensor], Tensor] | None = None,
        halved: Callable[[int], None] = lambda chunk_frames: None,
    ) -> None:
        self.forward = forward or model
        self.halved = halved
        self.batch = min(batch, channels)
        self.hop = model.hop_length
        self.shortest = round(SHORTEST * model.sample_rate)
        self.context = model.context_frames * self.hop
        self.chunk = chunk_frames * self.hop
        self.device = next(model.parameters()).device
        # Not on the device, where only a pass takes memory.
        self.buffer = torch.empty(channels, self.chunk + 2 * self.context)
        self.filled = 0
        self.restored = 0  # samples at the head of the buffer that are there as context only

    def push(self, block: Tensor) -> Tensor:
        """Take more of the waveform and give what has become certain.

        Args:
            block: `(channels, samples)`, any number of samples.

        Returns:
            `(channels, samples)` on the CPU, the restored samples next in line; often none, and at most `chunk +
            context` samples behind the input.
        """
        parts = [torch.empty(self.buffer.shape[0], 0)]
        while block.shape[1]:
            end = self.restored + self.chunk
            taken = min(end + self.context - self.filled, block.shape[1])
            self.buffer[:, self.filled : self.filled + taken] = block[:, :taken]
            self.filled += taken
            block = block[:, taken:]
            if self.filled == end + self.context:
                parts += self._run(end)
                self._advance(end)
        return torch.cat(parts, dim=1)

    def flush(self) -> Tensor:
        """Give the rest, `(channels, samples)` on the CPU; the waveform ended with the last push."""
        rest = torch.cat([torch.empty(self.buffer.shape[0], 0), *self._run(self.filled)], dim=1)
        self.filled = self.restored = 0
        return rest

    def _run(self, end: int) -> list[Tensor]:
        """Restore the buffer from `self.restored` to `end` in one pass, or in several if memory runs out."""
        parts, start = [], self.restored
        while start < end:
            stop = end if self.filled - start <= self.chunk + self.context else start + self.chunk
            part = self._pass(start, stop)
            if part is not None:
                parts.append(part)
                start = stop
        return parts

    def _pass(self, start: int, stop: int) -> Tensor | None:
        """Restore the buffer from `start` to `stop`; None if memory ran out, and the next pass will take less."""
        first = max(0, start - self.context)
        waveform = self.buffer[:, first : min(stop + self.context, self.filled)]
        try:
            # Not in inference mode, where autocast converts the weights again each time.
            with torch.no_grad():
                return torch.cat(
                    [
                        self.forward(channels[:, None].to(self.device))[:, 0, start - first : stop - first].cpu()
                        for channels in torch.split(waveform, self.batch)
                    ]
                )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or not self._shrink(self.filled - start):
                raise
            # The frames of a traceback hold all tensors of the pass, for as long as anyone holds the error.
            traceback.clear_frames(error.__traceback__)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _shrink(self, left: int) -> bool:
        """Halve the chunk until a pass takes less of the samples that are left, or else the batch; tell if it could."""
        frames = self.chunk // self.hop // 2
        while frames * self.hop >= max(self.shortest, left - self.context):
            frames //= 2
        if frames * self.hop >= self.shortest:
            self.chunk = frames * self.hop
            self.halved(frames)
            return True
        self.batch, before = (self.batch + 1) // 2, self.batch
        return self.batch < before

    def _advance(self, done: int) -> None:
        """Move the buffer on to where it is restored, keeping the left context of the next chunk."""
        dropped = max(0, done - self.context)
        self.buffer[:, : self.filled - dropped] = self.buffer[:, dropped : self.filled].clone()
        self.filled -= dropped
        self.restored = done - dropped
