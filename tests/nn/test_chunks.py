"""Chunk by chunk, the network gives the samples of the whole waveform."""

import pytest
import torch
from torch import Tensor

from apollo.nn import Apollo
from apollo.nn.chunks import ChunkStream, restore_in_chunks


@pytest.fixture
def model() -> Apollo:
    """A small network whose every weight matters, as after training."""
    torch.manual_seed(0)
    model = Apollo(feature_dim=16, layer=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def noise(*shape: int) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("samples", "chunk_frames"),
    [(0, 50), (1, 50), (5_000, 1), (22_049, 50), (22_050, 50), (70_000, 50), (70_000, 1000)],
)
def test_chunks_equal_one_pass(model: Apollo, samples: int, chunk_frames: int) -> None:
    waveform = noise(2, samples)
    restored = restore_in_chunks(model, waveform, chunk_frames)
    assert restored.shape == waveform.shape
    if samples:
        with torch.no_grad():
            whole = model(waveform[None])[0]
        assert (restored - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_work_spent_on_context_is_bounded() -> None:
    seen = 0

    class Counting(Apollo):
        def forward(self, waveform: Tensor, fill: float | Tensor = 1.0) -> Tensor:
            nonlocal seen
            seen += waveform.numel()
            return waveform

    stream = ChunkStream(Counting(feature_dim=16, layer=6), 1, 2000)  # 20 s
    stream.push(torch.zeros(1, 200 * 44100))
    stream.flush()
    assert seen <= 1.06 * 200 * 44100
