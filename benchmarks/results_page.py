"""Measure the default model; write docs/results.md, the tables of the READMEs, and the report.

python benchmarks/results_page.py --real corpus/real --report report
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from apollo.cli.terminal import counting
from apollo.evaluation.results import NOISE, SHELF, UNPROCESSED, Evaluation
from apollo.evaluation.run import run_evaluation
from apollo.evaluation.systems import Settings
from apollo.metrics import METRICS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- written by benchmarks/results_page.py -->", "<!-- end -->"
CODECS = ("mp3", "aac", "opus", "vorbis")
SHORT = {"visqol": "ViSQOL", "si_sdr": "SI-SDR, dB"}
SHOWN = {**SHORT, "lsd": "Log-spectral distance", "lost_band_level": "Level error in lost bands, dB"}
CONTROLLED = {NOISE: "*MP3 + noise*", SHELF: "*MP3 + treble*"}
LOW = (24, 32, 48, 64)
DENSE = "lmms_"  # how the names of the dense modern masters among the pieces begin

INTRODUCTION = """\
# Results

Scores of the default model on music that was used neither to train nor to choose it. This page is written by

```sh
{command}
```

{facts}
- **Dense masters** are three electronic productions in stereo. **Other music** is two more, and eight solo instruments,
  voices and ensembles, nearly all mono. Thirteen pieces are few.
- **ViSQOL** estimates what listeners would say (1 to 4.73, higher is better). There was no listening test, and the
  model was trained on a similarity of the same kind ([how](default-model.md#how-it-was-trained)).
- **SI-SDR** compares waveforms (higher is better). It can hardly rise where a codec removed a whole band, because a
  guessed phase is as wrong as silence.
- **Log-spectral distance** and **level error in lost bands**: lower is better. [All metrics](evaluation.md#metrics).
- ***+ noise*** and ***+ treble*** are controls that restore nothing: the coded signal with white noise at -70 dBFS,
  and with its treble above 5 kHz raised by 6 dB. If a metric prefers one of them to the restored signal, as SI-SDR
  does, it does not measure restoration.
"""


def main() -> None:
    """Evaluate the pieces and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="recordings")
    parser.add_argument("--report", type=Path, required=True, help="folder for the full report")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS)
    parser.add_argument("-m", "--model", default="default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    command = shlex.join(["python", "benchmarks/results_page.py", *sys.argv[1:]])
    result = run_evaluation(
        arguments.real,
        Settings([arguments.model], metrics=tuple(SHOWN), workers=arguments.workers, controls=True),
        codecs=tuple(arguments.codecs),
        output=arguments.report,
        command=command,
        counting=counting,
    )
    groups = {
        "Dense masters": part(result, dense=True),
        "Other music": part(result, dense=False),
    }
    pages = [INTRODUCTION.format(command=command, facts=facts(result))]
    for codec in result.codecs:
        for title, group in groups.items():
            if group.pieces:
                name = group.at(codec=codec).conditions[0].codec_name
                pages.append(
                    "\n".join([f"## {name}: {title.lower()}\n", *differences(group, arguments.model, codec), ""])
                )
    PAGE.write_text("\n".join([*pages, worst(result, arguments.model)]), encoding="utf-8")
    short = [line for title, group in groups.items() for line in ["", f"{title}:", "", *arrows(group, arguments.model)]]
    for document in ("README.md", "README.zh-CN.md"):
        fill(ROOT / document, [*short, ""])
    print(PAGE)


def part(result: Evaluation, dense: bool) -> Evaluation:
    """The dense masters, or the others."""
    chosen = [score for score in result.scores if Path(score.piece).name.startswith(DENSE) == dense]
    return replace(result, scores=chosen)


def fill(path: Path, table: list[str]) -> None:
    """Put a table where a document has the marks for it."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    path.write_text("\n".join([before + BEGIN, *table, END + after]), encoding="utf-8")


def arrows(result: Evaluation, model: str) -> list[str]:
    """MP3 → restored by bitrate."""
    mp3 = result.at(codec="mp3")
    rows = [["kbit/s", *map(str, mp3.bitrates)], ["---"] * (len(mp3.bitrates) + 1)]
    for metric, label in SHORT.items():
        parts = [mp3.at(bitrates=[bitrate]) for bitrate in mp3.bitrates]
        means = [(part.mean(UNPROCESSED, metric), part.mean(model, metric)) for part in parts]
        rows.append([label, *(f"{before:.2f} → {after:.2f}" for before, after in means)])
    return [f"| {' | '.join(row)} |" for row in rows]


def differences(result: Evaluation, model: str, codec: str) -> list[str]:
    """What the codec leaves, restored, and the difference by bitrate, and on average over the low ones."""
    coded = result.at(codec=codec)
    choices = [[bitrate] for bitrate in coded.bitrates] + [list(LOW)]
    rows = [["", "kbit/s", *map(str, coded.bitrates), "24–64"], ["---"] * (len(choices) + 2)]
    for metric, label in SHOWN.items():
        before = [coded.at(bitrates=choice).mean(UNPROCESSED, metric) for choice in choices]
        after = [coded.at(bitrates=choice).mean(model, metric) for choice in choices]
        rows.append([label, coded.conditions[0].codec_name, *(f"{value:.2f}" for value in before)])
        rows.append(["", "restored", *(f"{value:.2f}" for value in after)])
        rows.append(["", "*difference*", *(f"*{b - a:+.2f}*" for a, b in zip(before, after, strict=True))])
        for control, name in CONTROLLED.items():
            means = [coded.at(bitrates=choice).mean(control, metric) for choice in choices]
            label = name.replace("MP3", coded.conditions[0].codec_name)
            rows.append(["", label, *(f"{value:.2f}" for value in means)])
    return [f"| {' | '.join(row)} |" for row in rows]


def worst(result: Evaluation, model: str) -> str:
    """The pieces that lose most."""
    lines = ["## What loses most\n", "| metric | piece | condition | before | after |", "|---|---|---|---|---|"]
    for metric, label in SHORT.items():
        before, after, good = result.values(UNPROCESSED, metric), result.values(model, metric), METRICS[metric].goodness
        gains = {key: good(after[key]) - good(before[key]) for key in before.keys() & after.keys()}
        for key in sorted(gains, key=gains.__getitem__)[:5]:
            lines.append(f"| {label} | {Path(key[0]).stem} | {key[1]} | {before[key]:.2f} | {after[key]:.2f} |")
    return "\n".join([*lines, ""])


def facts(result: Evaluation) -> str:
    """What was measured where, when, and with which commit."""
    made = result.made
    return (
        f"{len(result.pieces)} pieces, {len(result.conditions)} conditions, {len(result.failures)} failures; "
        f"{made['date']}, commit {made.get('commit', 'unknown')}, {made['machine']}, {made['versions']}.\n"
    )


if __name__ == "__main__":
    main()
