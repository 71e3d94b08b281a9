"""The network over a waveform that arrives in blocks, with the samples that it would give for the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from apollo.nn.generator import Apollo


def restore_in_chunks(model: Apollo, waveform: Tensor, chunk_frames: int, fill: float = 1.0) -> Tensor:
    """Run a network over a whole waveform chunk by chunk: the samples of one pass, in the memory of a chunk.

    Args:
        model: The network; its weights may be on any device.
        waveform: `(channels, samples)`.
        chunk_frames: As for `ChunkStream`.
        fill: Likewise.

    Returns:
        `(channels, samples)` in float32 on the CPU.
    """
    stream = ChunkStream(model, waveform.shape[0], chunk_frames, fill=fill)
    restored = torch.empty(waveform.shape)
    position = 0
    for block in (*torch.split(waveform, stream.chunk, dim=1), None):
        part = stream.flush() if block is None else stream.push(block)
        restored[:, position : position + part.shape[1]] = part
        position += part.shape[1]
    return restored


class ChunkStream:
    """Runs a network chunk by chunk, exactly.

    A sample of the output depends on `model.context_frames` frames of the input on either side and on nothing further
    away. Chunks start on multiples of the hop, so that their frames are the frames of the whole, and bring that context
    on both sides; what the network says about the context itself is dropped. The first and the last chunk end where the
    waveform ends, so its ends are padded as they would be in the whole. Nothing is faded, because nothing differs.

    Args:
        model: The network; its weights may be on any device.
        channels: Channels of the waveform.
        chunk_frames: Frames that a pass of the network adds to the output. Memory grows with it and with the context;
            work spent on context is `2 * context_frames / chunk_frames`.
        batch: Channels that go through the network in one pass. They do not know of each other: one at a time takes the
            least memory.
        fill: Share of what is lost that is filled in, as `Apollo.forward` takes it.
    """

    def __init__(self, model: Apollo, channels: int, chunk_frames: int, batch: int = 1, fill: float = 1.0) -> None:
        self.model = model
        self.batch = batch
        self.fill = fill
        self.context = model.context_frames * model.hop_length
        self.chunk = chunk_frames * model.hop_length
        self.device = next(model.parameters()).device
        self.buffer = torch.empty(channels, self.chunk + 2 * self.context, device=self.device)
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
            end = self.restored + self.chunk + self.context
            taken = min(end - self.filled, block.shape[1])
            self.buffer[:, self.filled : self.filled + taken] = block[:, :taken]
            self.filled += taken
            block = block[:, taken:]
            if self.filled == end:
                parts.append(self._run(self.restored + self.chunk))
                self._advance()
        return torch.cat(parts, dim=1)

    def flush(self) -> Tensor:
        """Give the rest, `(channels, samples)` on the CPU; the waveform ended with the last push."""
        rest = self._run(self.filled) if self.filled > self.restored else torch.empty(self.buffer.shape[0], 0)
        self.filled = self.restored = 0
        return rest

    def _run(self, end: int) -> Tensor:
        """Restore the buffer and give its samples from `self.restored` to `end`."""
        # Not in inference mode, where autocast converts the weights anew each time.
        with torch.no_grad():
            return torch.cat(
                [
                    self.model(channels[:, None, : self.filled], self.fill)[:, 0, self.restored : end].cpu()
                    for channels in torch.split(self.buffer, self.batch)
                ]
            )

    def _advance(self) -> None:
        """Move the buffer on by one chunk, keeping the left context of the next."""
        done = self.restored + self.chunk
        dropped = max(0, done - self.context)
        self.buffer[:, : self.filled - dropped] = self.buffer[:, dropped : self.filled].clone()
        self.filled -= dropped
        self.restored = done - dropped
