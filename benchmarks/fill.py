"""What the fill of a model is worth: fidelity and fullness by bitrate for several shares, and the bias of its levels.

python benchmarks/fill.py MUSIC [-m MODEL] [--shares 0 0.5 1] [--bitrates 24 32 48 64 96 128] [--seconds 20]

MUSIC is a folder of recordings, or of folders with one song in stems each, whose sum is taken. A band counts as lost
where the MP3 has 6 dB less power than the original, which itself lies within 80 dB of the loudest band. The level
network's bias is the mean of predicted minus true level, in dB, over lost bands and frames. What is filled in is
compared over whole pieces: power of the restored band over power of the original's, in dB.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import apollo
from apollo.audio import degrade
from apollo.data.folders import as_stereo, find_tracks, read_stretch
from apollo.metrics import si_sdr, visqol
from apollo.nn import Apollo
from apollo.nn.filling import gather, power_of

LOST_DB = 6.0
AUDIBLE_DB = 80.0


def pieces(root: Path, seconds: float, sample_rate: int) -> Iterator[tuple[str, np.ndarray]]:
    """Recordings of a folder, or sums of the stems in its folders, from the middle of each, `(channels, samples)`."""
    songs: dict[str, list] = {}
    for track in find_tracks(root):
        alone = track.path.parent == root
        songs.setdefault(track.path.stem if alone else track.path.parent.name, []).append(track)
    for name, stems in songs.items():
        length = min(stem.seconds for stem in stems)
        start, samples = max(0.0, (length - seconds) / 2), int(min(seconds, length) * sample_rate)
        parts = [read_stretch(stem, start, samples, sample_rate) for stem in stems]
        mono = all(len(part) == 1 for part in parts)
        mix = sum(part if mono else as_stereo(part) for part in parts)
        yield name, np.asarray(mix / max(1e-9, float(np.abs(mix).max())), np.float32)


@torch.no_grad()
def level_errors(model: Apollo, original: np.ndarray, damaged: np.ndarray, restored: np.ndarray) -> tuple[float, ...]:
    """Bias of the predicted levels, and of the power that came back, in lost bands; NaN where none is lost."""
    assert model.fill is not None
    spectra = [model.stft(torch.from_numpy(np.ascontiguousarray(x))) for x in (original, damaged, restored)]
    powers = [gather(power_of(spectrum), model.band_widths) for spectrum in spectra]
    true, left = (10 * torch.log10(power.clamp(min=1e-12)) for power in powers[:2])
    lost = (true - left > LOST_DB) & (true > true.amax() - AUDIBLE_DB)
    predicted = (model.fill.predict(power_of(spectra[1])).level - true)[lost].mean()
    whole_true, whole_left, whole_back = (10 * torch.log10(power.mean(1).clamp(min=1e-12)) for power in powers)
    gone = (whole_true - whole_left > LOST_DB) & (whole_true > whole_true.amax() - AUDIBLE_DB)
    filled, before = ((x - whole_true)[gone].mean() for x in (whole_back, whole_left))
    return float(predicted), float(filled), float(before)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path)
    parser.add_argument("-m", "--model", default="default")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--bitrates", type=int, nargs="+", default=[24, 32, 48, 64, 96, 128])
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    model = apollo.load_model(options.model)
    restorers = {share: apollo.Restorer(model, fill=share) for share in options.shares}
    rate = model.sample_rate
    music = list(pieces(options.music, options.seconds, rate))

    columns = [f"ViSQOL {s:g}" for s in options.shares] + [f"SI-SDR {s:g}" for s in options.shares]
    print(f"{len(music)} pieces, at most {options.seconds:g} s of each\n")
    print(f"| kbit/s | ViSQOL MP3 | {' | '.join(columns)} | MP3's SI-SDR | level bias | lost bands: MP3 | restored |")
    print("|" + "---|" * (len(columns) + 6))
    for bitrate in options.bitrates:
        rows = []
        for _, original in music:
            damaged = degrade(original, rate, "mp3", 1000 * bitrate)
            restored = [restorer(damaged, rate) for restorer in restorers.values()]
            biases = level_errors(model, original, damaged, restored[-1])
            rows.append(
                [visqol(original, damaged, rate)]
                + [visqol(original, one, rate) for one in restored]
                + [si_sdr(original, one, rate) for one in restored]
                + [si_sdr(original, damaged, rate), biases[0], biases[2], biases[1]]
            )
        means = np.nanmean(np.array(rows), axis=0)
        print(f"| {bitrate} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |", flush=True)


if __name__ == "__main__":
    main()
