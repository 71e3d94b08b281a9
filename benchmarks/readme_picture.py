"""Draw the README's picture: an example damaged, restored by the default model, and original.

python benchmarks/readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import apollo
from apollo.audio.files import read
from apollo.spectrograms.triptych import spectrogram_triptych

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write `docs/example.png`."""
    degraded, rate = read(ROOT / "examples" / "dodgems-beat.mp3")
    original, _ = read(ROOT / "examples" / "originals" / "dodgems-beat.flac")
    restored = apollo.Restorer(apollo.load_model("default"))(degraded, rate)
    samples = min(degraded.shape[1], original.shape[1])
    target = ROOT / "docs" / "example.png"
    spectrogram_triptych(
        degraded[:, :samples],
        restored[:, :samples],
        original[:, :samples],
        rate,
        target,
        titles=("MP3, 48 kbit/s", "restored by Apollo", "original"),
    )
    print(target)


if __name__ == "__main__":
    main()
