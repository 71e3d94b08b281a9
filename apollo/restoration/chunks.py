"""Chunks through the network in a chosen precision, shorter ones where memory does not suffice."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from apollo.nn import Apollo
from apollo.nn.chunks import ChunkStream
from apollo.restoration.compiling import compiled_for

log = logging.getLogger(__name__)

# Only on CUDA has PyTorch a class for it; on other devices it is a RuntimeError that says so.
NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED")
SHORTEST = 1.0  # seconds; below, nearly all of a pass is spent on context, and shorter ones hardly take less memory


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory, of the machine or of its GPU, does not suffice."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(NO_MEMORY.search(str(error))))


class FittingChunks(ChunkStream):
    """A `ChunkStream` that halves its chunks when memory does not suffice, and goes on where it was.

    Chunk lengths do not show in the samples, and so neither does a change of them.

    Args:
        model: The network.
        channels: Channels of the waveform.
        chunk_frames: Frames that a pass adds, at first.
        batch: Channels to a pass.
        dtype: In which the network computes.
        compiled: Whether its blocks are compiled.
        fill: Share of what is lost that is filled in.
        shrunk: Called with the new `chunk_frames` when they have been halved.
    """

    def __init__(
        self,
        model: Apollo,
        channels: int,
        chunk_frames: int,
        batch: int = 1,
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
        fill: float = 1.0,
        shrunk: Callable[[int], None] = lambda frames: None,
    ) -> None:
        super().__init__(model, channels, chunk_frames, batch, fill)
        self.dtype = dtype
        self.compiled = compiled
        self.shrunk = shrunk
        self.next_chunk = self.chunk

    def _run(self, end: int) -> Tensor:
        whole = self.filled == self.buffer.shape[1]
        try:
            with (
                torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32),
                compiled_for(whole, self.device) if self.compiled else nullcontext(),
            ):
                return super()._run(end)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or self.chunk < 2 * SHORTEST * self.model.sample_rate:
                raise
        # Outside of the `except`, for its traceback holds on to the tensors of the pass that failed.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        frames = self.chunk // self.model.hop_length // 2
        seconds = self.chunk / self.model.sample_rate
        log.warning("memory does not suffice for chunks of %.3g s: going on with half of that", seconds)
        self.shrunk(frames)
        channels = self.buffer.shape[0]
        smaller = FittingChunks(
            self.model, channels, frames, self.batch, self.dtype, self.compiled, self.fill, self.shrunk
        )
        waveform = self.buffer[:, : self.filled]
        restored = torch.cat((smaller.push(waveform), smaller.flush()), dim=1)
        self.next_chunk = smaller.next_chunk
        return restored[:, self.restored : end]

    def _advance(self) -> None:
        super()._advance()
        self.chunk = self.next_chunk
