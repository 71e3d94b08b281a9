"""Whom `apollo inspect` accuses: originals, and what encoders, resamplers and low-pass filters make of them.

Every row is one thing done to every original, written as 16 bits; the columns say what it was taken for. What was never
coded may not be accused of a codec; a cliff is told, and accuses nobody.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from apollo.audio import AudioReader, audio_files, degrade, inspect_bandwidth, resample, write
from apollo.audio.signal import Signal

RATE = 44_100
COLUMNS = ("mp3", "aac", "vorbis", "opus", "cliff", "nothing")
CUT = 1_180  # samples, so that no frame begins where the file does, nor at a sample where it was resampled

Waveform = npt.NDArray[np.float32]
Made = Callable[[Waveform], tuple[Waveform, int]]


def low_passed(hertz: float, rate: int = RATE) -> Made:
    """Cut off above a frequency, and at another rate if need be."""
    return lambda waveform: (
        resample(Signal.of_array(waveform, RATE).low_passed(hertz).array(), RATE, rate),
        rate,
    )


def coded(codec: str, kbps: int = 0, rate: int = RATE, at: int = RATE, quality: float | None = None) -> Made:
    """Coded and decoded at one rate, and then brought to another if need be."""

    def make(waveform: Waveform) -> tuple[Waveform, int]:
        lossy = degrade(resample(waveform, RATE, at), at, codec, 1000 * kbps, vbr_quality=quality)
        return resample(lossy, at, rate)[:, CUT:], rate

    return make


CLEAN: dict[str, Made] = {
    "original": lambda waveform: (waveform, RATE),
    "half as loud": lambda waveform: (0.5 * waveform, RATE),
    "resampled to 48 kHz": lambda waveform: (resample(waveform, RATE, 48_000), 48_000),
    "to 48 kHz and back": lambda waveform: (resample(resample(waveform, RATE, 48_000), 48_000, RATE), RATE),
    "low-pass at 16 kHz": low_passed(16_000),
    "low-pass at 16 kHz, to 48 kHz": low_passed(16_000, 48_000),
    "low-pass at 19 kHz": low_passed(19_000),
}
LOSSY: dict[str, Made] = {
    **{f"MP3 {kbps}": coded("mp3", kbps) for kbps in (64, 128, 192, 256, 320)},
    **{f"MP3 V{quality}": coded("mp3", quality=quality) for quality in (0, 4)},
    **{f"AAC {kbps}": coded("aac", kbps) for kbps in (64, 128, 192, 256)},
    **{f"Vorbis q{quality}": coded("vorbis", quality=quality) for quality in (1, 4, 8)},
    **{f"Opus {kbps}, at 48 kHz": coded("opus", kbps, 48_000, 48_000) for kbps in (64, 128, 160)},
    **{f"Opus {kbps}, to 44.1 kHz": coded("opus", kbps, RATE, 48_000) for kbps in (96, 160)},
    **{f"MP3 {kbps}, to 48 kHz": coded("mp3", kbps, 48_000) for kbps in (128, 192)},
    **{f"AAC {kbps}, to 48 kHz": coded("aac", kbps, 48_000) for kbps in (128,)},
    **{f"Vorbis {kbps}, to 48 kHz": coded("vorbis", kbps, 48_000) for kbps in (128,)},
    **{f"MP3 {kbps} at 48 kHz, to 44.1 kHz": coded("mp3", kbps, RATE, 48_000) for kbps in (128,)},
}


def excerpts(folder: Path, pieces: int | None, seconds: float) -> list[Waveform]:
    """The middles of recordings at 44.1 kHz."""
    waveforms = []
    for path in audio_files(folder):
        with AudioReader(path) as reader:
            if reader.sample_rate == RATE and reader.count() > 2 * RATE:
                length = min(reader.count(), round(seconds * RATE))
                reader.seek((reader.count() - length) // 2)
                waveforms.append(reader.read(length))
    if pieces is not None and pieces < len(waveforms):
        waveforms = [waveforms[int(place)] for place in np.linspace(0, len(waveforms) - 1, pieces)]
    return waveforms


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("originals", type=Path, help="folder of music at 44.1 kHz that was never coded")
    parser.add_argument("--pieces", type=int, help="how many of them, spread over the folder; all if not given")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clean", action="store_true", help="only what may not be accused")
    arguments = parser.parse_args()
    waveforms = excerpts(arguments.originals, arguments.pieces, arguments.seconds)
    print(f"{len(waveforms)} originals\n\n| made | {' | '.join(COLUMNS)} | strongest trace | CPU seconds |")
    print(f"|---|{'---|' * (len(COLUMNS) + 2)}")
    with TemporaryDirectory() as folder:
        for name, make in (CLEAN if arguments.clean else {**CLEAN, **LOSSY}).items():
            found: Counter[str] = Counter()
            highest = spent = 0.0
            for waveform in waveforms:
                made, rate = make(waveform)
                write(Path(folder) / "a.wav", made, rate, "PCM_16", overwrite=True)
                before = time.process_time()
                bandwidth = inspect_bandwidth(Path(folder) / "a.wav")
                spent += time.process_time() - before
                found[bandwidth.codec or ("cliff" if bandwidth.suspicious else "nothing")] += 1
                highest = max(highest, bandwidth.strength)
            cells = [str(found[column]) for column in COLUMNS]
            print(f"| {name} | {' | '.join(cells)} | {highest:.1f} | {spent / len(waveforms):.2f} |", flush=True)


if __name__ == "__main__":
    main()
