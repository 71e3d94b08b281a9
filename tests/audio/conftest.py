import numpy as np
import numpy.typing as npt
import pytest

SAMPLE_RATE = 44_100


@pytest.fixture(scope="session")
def music() -> npt.NDArray[np.float32]:
    """Three seconds of plucked chords, a bass and brushed noise in stereo, the same in every run: (2, 132300)."""
    rng = np.random.default_rng(1)
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    left = np.zeros_like(time)
    right = np.zeros_like(time)
    since = time[: SAMPLE_RATE // 2]
    for beat, start in enumerate(range(2_000, left.size - since.size, SAMPLE_RATE // 4)):
        struck = slice(start, start + since.size)
        for note in (110.0, 220.0, 277.2, 329.6, 440.0 * (1 + beat % 3 / 8)):
            pan = 0.3 + 0.4 * rng.random()
            for harmonic in range(1, 25):
                frequency = note * harmonic * (1 + 2e-4 * harmonic**2)
                tone = np.exp(-since * (6.0 + 0.6 * harmonic)) * np.sin(2 * np.pi * frequency * since) / harmonic
                left[struck] += pan * tone
                right[struck] += (1 - pan) * tone
        brush = np.exp(-since * 40.0) * rng.standard_normal(since.size)
        left[struck] += 0.4 * brush
        right[struck] += 0.3 * brush
    waveform = np.stack([left, right])
    return (0.7 * waveform / np.abs(waveform).max()).astype(np.float32)
