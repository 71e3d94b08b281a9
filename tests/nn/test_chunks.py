"""Chunk by chunk, the network gives the samples of the whole waveform."""

import gc
import weakref

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


@pytest.mark.parametrize("batch", [1, 3])
def test_a_pass_that_runs_out_of_memory_leaves_nothing_alive(model: Apollo, batch: int) -> None:
    fits = 1.6 * model.sample_rate  # samples of a channel
    alive: list[weakref.ref[Tensor]] = []
    caught: list[BaseException] = []

    def forward(waveform: Tensor) -> Tensor:
        assert not [each for each in alive if each() is not None]  # of any pass before
        features = waveform * 1
        restored: Tensor = model(features)
        alive[:] = [weakref.ref(tensor) for tensor in (waveform, features, restored)]
        if waveform[:, 0].numel() > fits:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            except torch.OutOfMemoryError as error:
                caught.append(error)  # as whoever logs an error does, with its traceback
                raise
        return restored

    waveform = noise(3, 5 * model.sample_rate)
    halved: list[int] = []
    stream = ChunkStream(model, 3, 400, batch, forward, halved.append)
    gc.disable()  # so that what only the collector finds is found alive
    try:
        restored = torch.cat((stream.push(waveform), stream.flush()), dim=1)
    finally:
        gc.enable()
    with torch.no_grad():
        whole = model(waveform[None])[0]
    assert halved == [200, 100]
    assert (len(caught), stream.batch) == ((2, 1) if batch == 1 else (4, 1))  # 1 s of one channel is what fits
    assert (restored - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_too_little_memory_for_any_chunk_is_an_error(model: Apollo) -> None:
    def forward(waveform: Tensor) -> Tensor:
        raise MemoryError

    halved: list[int] = []
    with pytest.raises(MemoryError):
        ChunkStream(model, 1, 400, forward=forward, halved=halved.append).push(noise(1, 5 * model.sample_rate))
    assert halved == [200, 100]  # 1 s
    with pytest.raises(RuntimeError, match="another"):
        ChunkStream(model, 1, 1, forward=other).push(noise(1, 100_000))


def other(waveform: Tensor) -> Tensor:
    raise RuntimeError("another")
