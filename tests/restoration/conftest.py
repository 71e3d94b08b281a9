"""Music that any machine can compute, and networks that do something to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from apollo.nn import Apollo

SAMPLE_RATE = 44100


def synthetic_music(seconds: float, channels: int = 2, sample_rate: int = SAMPLE_RATE, seed: int = 0) -> np.ndarray:
    """Notes with overtones that decay, over drum hits and a quiet noise floor; peak 0.7, `(channels, samples)`."""
    random = np.random.default_rng(seed)
    samples = round(seconds * sample_rate)
    time = np.arange(samples) / sample_rate
    music = 1e-3 * random.standard_normal((channels, samples))
    for start in np.arange(0, seconds, 0.25):
        since = np.clip(time - start, 0, None) * (time >= start)
        pitch = 110 * 2 ** (random.integers(0, 36) / 12)
        note = sum(np.sin(2 * np.pi * pitch * k * since) / k for k in range(1, 9))
        hit = random.standard_normal(samples) * np.exp(-60 * since)
        sound = (note * np.exp(-4 * since) + 0.7 * hit) * (time >= start)
        music += random.uniform(0.3, 1, (channels, 1)) * sound
    return (0.7 * music / np.abs(music).max()).astype(np.float32)


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
def make_music() -> Callable[..., np.ndarray]:
    return synthetic_music


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Apollo]:
    return trained_like


@pytest.fixture(scope="session")
def music() -> np.ndarray:
    return synthetic_music(4.3)
