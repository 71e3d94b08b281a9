from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from apollo.audio import degrade

# The tensors of these tests are small: more threads only wait for one another, for minutes on a busy machine.
torch.set_num_threads(1)

RATE = 44100


def melody(seconds: float, seed: int, channels: int = 2) -> np.ndarray:
    """Plucked notes over soft noise, `(channels, samples)`."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    waveform = 0.01 * rng.standard_normal((channels, len(time)))
    for onset in np.arange(0, seconds, 0.25):
        pitch, decay = 110 * 2 ** (rng.integers(0, 36) / 12), np.maximum(time - onset, 0)
        note = sum(np.sin(2 * np.pi * pitch * k * decay) / k for k in range(1, 12))
        waveform += 0.1 * rng.uniform(0.3, 1, (channels, 1)) * note * np.exp(-6 * decay) * (time >= onset)
    return waveform.astype(np.float32)


@pytest.fixture(scope="session")
def chords() -> np.ndarray:
    """3 s of stereo at 44.1 kHz: plucked chords and hi-hats, so that there is something to lose at every frequency."""
    generator = np.random.default_rng(7)
    time = np.arange(3 * RATE) / RATE
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


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as the published code wants it: train/original, valid/<song>/{original,codec}.wav."""
    root = tmp_path_factory.mktemp("music")
    (root / "train" / "original" / "nested ünïcode").mkdir(parents=True)
    soundfile.write(root / "train" / "original" / "a.wav", melody(3, 1).T, RATE)
    soundfile.write(root / "train" / "original" / "nested ünïcode" / "b.flac", melody(4, 2, channels=1).T, RATE)
    soundfile.write(root / "train" / "original" / "c 48.wav", melody(3, 3).T, 48000)
    soundfile.write(root / "train" / "original" / "short.wav", melody(0.2, 4).T, RATE)
    (root / "train" / "original" / "broken.wav").write_bytes(b"not audio")
    for name, seed in (("one", 5), ("two", 6)):
        original = melody(1.5, seed)
        (root / "valid" / name).mkdir(parents=True)
        soundfile.write(root / "valid" / name / "original.wav", original.T, RATE)
        soundfile.write(root / "valid" / name / "codec.wav", degrade(original, RATE, bitrate=32000).T, RATE, "FLOAT")
    return root


@pytest.fixture(scope="session")
def stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two songs of mono and stereo stems."""
    root = tmp_path_factory.mktemp("stems")
    for song in ("first", "second"):
        (root / song).mkdir()
        for seed, (stem, channels) in enumerate((("bass", 1), ("drums", 2), ("guitar_1", 1))):
            soundfile.write(root / song / f"{stem}.flac", melody(3, 10 + seed, channels).T, RATE)
    return root


@pytest.fixture(scope="session")
def compiler() -> None:
    """A C++ compiler, which `torch.compile` needs on a CPU; where there is none, the test is skipped."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch.compile needs a C++ compiler, and there is none")
