"""If memory runs out, chunks become shorter and the samples stay the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from apollo.nn import Apollo
from apollo.restoration import Restorer


def with_room_for(seconds: float, monkeypatch: pytest.MonkeyPatch, passes: int = 0) -> list[int]:
    """Let the network fail on longer waveforms, after some passes; give the list of lengths that it gets."""
    forward, lengths = Apollo.forward, []

    def limited(self: Apollo, waveform: torch.Tensor, fill: float = 1.0) -> torch.Tensor:
        lengths.append(waveform.shape[-1])
        if len(lengths) > passes and waveform.shape[-1] > seconds * self.sample_rate:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return forward(self, waveform, fill)

    monkeypatch.setattr(Apollo, "forward", limited)
    return lengths


@pytest.mark.parametrize(("passes", "options"), [(0, {}), (1, {}), (2, {}), (1, {"mix": 0.5, "keep_below": 2000})])
def test_running_out_of_memory_changes_no_sample(
    make_music: Callable[..., np.ndarray],
    make_model: Callable[..., Apollo],
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    options: dict[str, float],
) -> None:
    model = make_model("residual")
    music = make_music(11, 1)
    expected = Restorer(model, 4, **options)(music)
    lengths = with_room_for(2.1, monkeypatch, passes)
    restorer = Restorer(model, 4, **options)
    restored = restorer(music)
    assert max(lengths) > 2.1 * 44100  # it did run out
    assert restored.shape == expected.shape
    assert np.abs(restored - expected).max() <= 1e-5 * np.abs(expected).max()
    assert restorer.chunk_seconds == pytest.approx(1, abs=0.02)  # 4 s and 2 s of music do not fit, with their context


def test_later_recordings_begin_with_what_fits(
    music: np.ndarray, make_model: Callable[..., Apollo], monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = Restorer(make_model("residual"), 4)
    with_room_for(2.1, monkeypatch)
    restorer(music)
    lengths = with_room_for(2.1, monkeypatch)
    restorer(music)
    assert max(lengths) <= 2.1 * 44100
