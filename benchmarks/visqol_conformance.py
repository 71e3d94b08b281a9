"""Whether our ViSQOL gives the scores that Google's gives for its own test recordings.

Usage: python benchmarks/visqol_conformance.py TESTDATA

TESTDATA is the folder testdata/conformance_testdata_subset of https://github.com/google/visqol (49 MB of stereo at
48 kHz, not part of this repository):

    git clone https://github.com/google/visqol
    git -C visqol checkout c3aa2e498e0f7f14202643594335a0b9ee40bdd9
    python benchmarks/visqol_conformance.py visqol/testdata/conformance_testdata_subset

Prints a table in Markdown and exits with 1 where a score is off by more than 0.0002 or a recording is missing. The
published scores and that tolerance are those of ViSQOL 3.3.3 (C++) in audio mode as the conformance test of
visqol-python 3.8.0 states them (tests/test_conformance.py in its source distribution on PyPI). Recordings of equal
length go through `apollo.metrics.visqol`; where the codec has added samples, which that refuses, through
what it is built on.
"""

import sys
from pathlib import Path

from apollo.audio import read
from apollo.metrics import visqol
from apollo.metrics.perceptual import VISQOL_SAMPLE_RATE, visqol_mono

TOLERANCE = 0.0002
PUBLISHED = (
    ("strauss48_stereo.wav", "strauss48_stereo_lp35.wav", 1.3888791489130758),
    ("steely48_stereo.wav", "steely48_stereo_lp7.wav", 2.2501683734385183),
    ("sopr48_stereo.wav", "sopr48_stereo_256kbps_aac.wav", 4.68228969737946),
    ("ravel48_stereo.wav", "ravel48_stereo_128kbps_opus.wav", 4.465141897255348),
    ("moonlight48_stereo.wav", "moonlight48_stereo_128kbps_aac.wav", 4.684292801646114),
    ("harpsichord48_stereo.wav", "harpsichord48_stereo_96kbps_mp3.wav", 4.22374532766003),
    ("guitar48_stereo.wav", "guitar48_stereo_64kbps_aac.wav", 4.349722308064298),
    ("glock48_stereo.wav", "glock48_stereo_48kbps_aac.wav", 4.332452943882108),
    ("contrabassoon48_stereo.wav", "contrabassoon48_stereo_24kbps_aac.wav", 2.346868205375293),
    ("castanets48_stereo.wav", "castanets48_stereo.wav", 4.732101253042348),
)


def score(original: Path, estimate: Path) -> float:
    """Our score of two recordings of 48 kHz."""
    (truth, rate), (heard, other_rate) = read(original), read(estimate)
    if {rate, other_rate} != {VISQOL_SAMPLE_RATE}:
        raise SystemExit(f"{original} and {estimate} should be of {VISQOL_SAMPLE_RATE} Hz; see the usage.")
    if truth.shape == heard.shape:
        return visqol(truth, heard, rate)
    return visqol_mono(truth.mean(axis=0, dtype=float), heard.mean(axis=0, dtype=float))


def main() -> int:
    """Print all pairs; give the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    folder = Path(sys.argv[1])
    wrong = 0
    print("| estimate | published | ours | difference |\n|---|---|---|---|")
    for original, estimate, published in PUBLISHED:
        if not ((folder / original).is_file() and (folder / estimate).is_file()):
            print(f"| {estimate} | {published:.4f} | missing | |")
            wrong += 1
            continue
        ours = score(folder / original, folder / estimate)
        wrong += not abs(ours - published) <= TOLERANCE
        print(f"| {estimate} | {published:.4f} | {ours:.4f} | {ours - published:+.6f} |", flush=True)
    print(f"\n{wrong} of {len(PUBLISHED)} are missing or off by more than {TOLERANCE}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
