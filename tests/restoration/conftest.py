"""Networks that do something to music."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from apollo.nn import Apollo

SAMPLE_RATE = 44100


def trained_like(output: str, sr: int = SAMPLE_RATE, win: float = 20, **options: object) -> Apollo:
    """A small network whose random weights are large enough that every one of them is heard."""
    torch.manual_seed(1)
    model = Apollo(sr, win, 16, 1, output=output, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "level" in name:
                parameter.normal_(std=0.1)
            elif name.startswith("band_merge") and output == "residual":
                parameter.normal_(std=0.2)
            elif "convolutions" in name:
                parameter.mul_(2)
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Apollo]:
    return trained_like


@pytest.fixture(scope="session")
def music(make_music: Callable[..., np.ndarray]) -> np.ndarray:
    return make_music(4.3)
