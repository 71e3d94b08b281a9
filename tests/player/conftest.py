import numpy as np
import pytest

RATE = 44_100


@pytest.fixture(scope="session")
def song() -> np.ndarray:
    """Three seconds of hits and tones, different on both sides, `(2, samples)`."""
    random = np.random.default_rng(3)
    time = np.arange(3 * RATE) / RATE
    hits = random.standard_normal((2, len(time))) * np.exp(-30 * (time % 0.37))
    tones = np.sin(2 * np.pi * 220 * time) + np.sin(2 * np.pi * 3_000 * time * (1 + 0.1 * time))
    return (0.1 * hits + 0.1 * tones * [[1.0], [0.7]]).astype(np.float32)
