"""Whom `apollo inspect` accuses: originals, and what encoders, resamplers and low-pass filters make of them.

Every row is one thing done to every original, written as 16 bits; the columns say what it was taken for. What was never
coded may not be accused of a codec; a cliff is told, and accuses nobody.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from apollo.audio import AudioReader, audio_files, degrade, inspect_bandwidth, resample, write
from apollo.audio.signal import Signal

RATE = 44_100
COLUMNS = ("mp3", "aac", "vorbis", "cliff", "nothing")

Waveform = npt.NDArray[np.float32]
Made = Callable[[Waveform], tuple[Waveform, int]]


def low_passed(hertz: float) -> Made:
    """Cut off above a frequency."""
    return lambda waveform: (Signal.of_array(waveform, RATE).low_passed(hertz).array(), RATE)


def coded(codec: str, kbps: int, rate: int = RATE) -> Made:
    """Coded and decoded, at another rate if need be."""

    def make(waveform: Waveform) -> tuple[Waveform, int]:
        # Cut, so that no frame begins where the file does.
        return resample(degrade(waveform, RATE, codec, 1000 * kbps)[:, 1_234:], RATE, rate), rate

    return make


CLEAN: dict[str, Made] = {
    "original": lambda waveform: (waveform, RATE),
    "half as loud": lambda waveform: (0.5 * waveform, RATE),
    "resampled to 48 kHz": lambda waveform: (resample(waveform, RATE, 48_000), 48_000),
    "low-pass at 16 kHz": low_passed(16_000),
    "low-pass at 19 kHz": low_passed(19_000),
}
LOSSY: dict[str, Made] = {
    **{f"MP3 {kbps}": coded("mp3", kbps) for kbps in (64, 128, 192, 256, 320)},
    **{f"MP3 {kbps}, to 48 kHz": coded("mp3", kbps, 48_000) for kbps in (128,)},
    **{f"AAC {kbps}": coded("aac", kbps) for kbps in (64, 96, 128, 192, 256)},
    **{f"AAC {kbps}, to 48 kHz": coded("aac", kbps, 48_000) for kbps in (128,)},
    **{f"Vorbis {kbps}": coded("vorbis", kbps) for kbps in (64, 96, 128, 192)},
    **{f"Opus {kbps}": coded("opus", kbps) for kbps in (64, 128)},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("originals", type=Path, help="folder of music at 44.1 kHz that was never coded")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clean", action="store_true", help="only what may not be accused")
    arguments = parser.parse_args()
    waveforms = []
    for path in audio_files(arguments.originals):
        with AudioReader(path) as reader:
            if reader.sample_rate == RATE and reader.count() > 2 * RATE:
                length = min(reader.count(), round(arguments.seconds * RATE))
                reader.seek((reader.count() - length) // 2)
                waveforms.append(reader.read(length))
    print(f"{len(waveforms)} originals\n\n| made | {' | '.join(COLUMNS)} | highest trace, dB |")
    print(f"|---|{'---|' * (len(COLUMNS) + 1)}")
    with TemporaryDirectory() as folder:
        for name, make in (CLEAN if arguments.clean else {**CLEAN, **LOSSY}).items():
            found: Counter[str] = Counter()
            highest = 0.0
            for waveform in waveforms:
                made, rate = make(waveform)
                write(Path(folder) / "a.wav", made, rate, "PCM_16", overwrite=True)
                bandwidth = inspect_bandwidth(Path(folder) / "a.wav")
                found[bandwidth.codec or ("cliff" if bandwidth.suspicious else "nothing")] += 1
                highest = max(highest, bandwidth.mdct_db, bandwidth.collapse_db)
            print(f"| {name} | {' | '.join(str(found[column]) for column in COLUMNS)} | {highest:.2f} |", flush=True)


if __name__ == "__main__":
    main()
