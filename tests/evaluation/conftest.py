import numpy as np
import pytest

SAMPLE_RATE = 44_100


@pytest.fixture(scope="session")
def music() -> np.ndarray:
    """3 s of stereo at 44.1 kHz: plucked chords and hi-hats, so that there is something to lose at every frequency."""
    generator = np.random.default_rng(7)
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    left, right = np.zeros_like(time), np.zeros_like(time)
    for beat, root in enumerate((110.0, 146.8, 164.8, 123.5, 110.0, 196.0)):
        since = time - 0.5 * beat
        decay = np.where(since >= 0, np.exp(-4 * np.maximum(since, 0)), 0)
        for harmonic in range(1, 60):
            tone = decay * np.sin(2 * np.pi * root * harmonic * since) / harmonic
            left += 0.1 * tone
            right += 0.1 * tone * (0.6 if harmonic % 2 else 1.2)
        hat = np.where(since >= 0, np.exp(-30 * np.maximum(since, 0)), 0)
        left += 0.03 * hat * generator.standard_normal(time.size)
        right += 0.03 * hat * generator.standard_normal(time.size)
    return np.stack([left, right]).astype(np.float32)
