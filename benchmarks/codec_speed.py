"""How many clips of 3 s stereo one core puts through each codec in a second.

Usage: OMP_NUM_THREADS=1 python benchmarks/codec_speed.py [folder of audio]

Without a folder it makes its own music. Prints a table in Markdown: the median of three runs for each codec and
bitrate, and what bitrates drawn at random give. Counts the process's own CPU time, so that neighbours on the machine
matter less.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio import CODECS, degrade, read, resample

SAMPLE_RATE = 44_100
CLIP = 3 * SAMPLE_RATE
CLIPS = 8
RUNS = 3
BITRATES = (24_000, 32_000, 48_000, 64_000, 96_000, 128_000)


def clips_of(folder: Path) -> list[npt.NDArray[np.float32]]:
    """Up to `CLIPS` clips from the middles of the files in a folder."""
    clips = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in {".flac", ".wav", ".mp3"}):
        waveform, sample_rate = read(path)
        waveform = resample(waveform[:2], sample_rate, SAMPLE_RATE)
        start = (waveform.shape[1] - CLIP) // 2
        if start >= 0:
            clips.append(np.ascontiguousarray(np.broadcast_to(waveform[:, start : start + CLIP], (2, CLIP))))
    return clips[:CLIPS]


def synthetic_clips() -> list[npt.NDArray[np.float32]]:
    """Chords of decaying harmonics over soft noise."""
    rng = np.random.default_rng(0)
    seconds = np.arange(CLIP) / SAMPLE_RATE
    clips = []
    for _ in range(CLIPS):
        clip = 0.01 * rng.standard_normal((2, CLIP))
        for start in np.arange(0.0, 3.0, 0.25):
            since = np.clip(seconds - start, 0.0, None)
            note = 110.0 * 2 ** (rng.integers(0, 36) / 12)
            for harmonic in range(1, 16):
                tone = np.exp(-4 * since) * np.sin(2 * np.pi * note * harmonic * since) * (seconds >= start) / harmonic
                clip += rng.uniform(0.05, 0.2, (2, 1)) * tone
        clips.append((clip / np.abs(clip).max()).astype(np.float32))
    return clips


def main() -> None:
    """Measure and print."""
    clips = clips_of(Path(sys.argv[1])) if len(sys.argv) > 1 else synthetic_clips()
    if not clips:
        sys.exit(f"No .flac, .wav or .mp3 of 3 s or more in {sys.argv[1]}.")
    print("| clips/s | " + " | ".join(f"{bitrate // 1000}k" for bitrate in BITRATES) + " | random |")
    print("|---|" + "---|" * (len(BITRATES) + 1))
    for codec in CODECS:
        speeds = []
        for bitrate in BITRATES:
            runs = []
            degrade(clips[0], SAMPLE_RATE, codec, bitrate)
            for _ in range(RUNS):
                start = time.process_time()
                for clip in clips:
                    degrade(clip, SAMPLE_RATE, codec, bitrate)
                runs.append(len(clips) / (time.process_time() - start))
            speeds.append(statistics.median(runs))
        print(f"| {codec} | " + " | ".join(f"{s:.1f}" for s in [*speeds, statistics.harmonic_mean(speeds)]) + " |")


if __name__ == "__main__":
    main()
