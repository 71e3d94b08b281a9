"""Measure the default model; write docs/results.md, the tables of the READMEs and of the model's card, and the reports.

python benchmarks/results_page.py --real corpus/real --mixes corpus/valid --reports reports
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from apollo.evaluation.report import markdown_tables
from apollo.evaluation.results import UNPROCESSED, Evaluation
from apollo.evaluation.run import run_evaluation

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
BEGIN, END = "<!-- written by benchmarks/results_page.py -->", "<!-- end -->"
CODECS = ("mp3", "aac", "opus", "vorbis")
METRICS = ("sdr", "si_sdr", "visqol", "lsd", "snr_below", "snr_above")
SHOWN = {"visqol": "ViSQOL", "si_sdr": "SI-SDR, dB", "lsd": "log-spectral distance"}
LOW = (24, 32, 48, 64)

INTRODUCTION = """\
# Results

The shipped default model and what it is given, measured on music that it was not trained on. This page is written by

```sh
{command}
```

Every table is by codec and bitrate, the unprocessed signal first. What the metrics mean, and how averages and intervals
are made, is told in [Evaluation](evaluation.md); what the model is, in [its card](default-model.md).

## What these numbers do not show

The model was trained on MP3 alone: what it makes of AAC, Opus and Vorbis is a matter of luck, shown here so that nobody
has to find out. Ten pieces of 102 seconds in all are few, mostly instrumental, and mostly mono; the intervals tell how
much chance there is in the choice of pieces, not how a symphony or a chart hit would fare. The mixes hold no vocals and
were arranged from the kind of recordings that the model was trained on. ViSQOL is a model of listeners, not a listener,
and was not made for what a network invents: it rewards treble that is plausible. SI-SDR and SDR reward only what is
true, and so can hardly rise where a codec has thrown away a band: a phase that was guessed is as wrong as silence.
Nobody was asked to listen.
"""


def main() -> None:
    """Evaluate both corpora and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, required=True, help="recordings: all codecs")
    parser.add_argument("--mixes", type=Path, required=True, help="songs in stems: MP3")
    parser.add_argument("--reports", type=Path, required=True, help="folder for the full reports")
    parser.add_argument("-m", "--model", default="default")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    command = shlex.join(["python", "benchmarks/results_page.py", *sys.argv[1:]])
    parts = [INTRODUCTION.format(command=command)]
    for title, folder, codecs in (
        ("Real music", arguments.real, CODECS),
        ("Mixes of stems, by kind of music", arguments.mixes, ("mp3",)),
    ):
        result = run_evaluation(
            folder,
            [arguments.model],
            codecs=codecs,
            metrics=METRICS,
            workers=arguments.workers,
            output=arguments.reports / folder.name,
            command=command,
        )
        parts += [f"# {title}\n", facts(result), markdown_tables(result)]
        if folder == arguments.real:
            for name in ("README.md", "README.zh-CN.md"):
                fill(ROOT / name, arrows(result, arguments.model))
            fill(ROOT / "docs" / "default-model.md", differences(result, arguments.model))
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    print(PAGE)


def fill(path: Path, table: list[str]) -> None:
    """Put a table where a document has the marks for it."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    path.write_text("\n".join([before + BEGIN, *table, END + after]), encoding="utf-8")


def arrows(result: Evaluation, model: str) -> list[str]:
    """MP3 → restored by bitrate."""
    mp3 = result.at(codec="mp3")
    rows = [["kbit/s", *map(str, mp3.bitrates)], ["---"] * (len(mp3.bitrates) + 1)]
    for metric, label in SHOWN.items():
        parts = [mp3.at(bitrates=[bitrate]) for bitrate in mp3.bitrates]
        means = [(part.mean(UNPROCESSED, metric), part.mean(model, metric)) for part in parts]
        rows.append([label, *(f"{before:.2f} → {after:.2f}" for before, after in means)])
    return [f"| {' | '.join(row)} |" for row in rows]


def differences(result: Evaluation, model: str) -> list[str]:
    """MP3, restored, and the difference by bitrate, and on average over the low ones."""
    mp3 = result.at(codec="mp3")
    choices = [[bitrate] for bitrate in mp3.bitrates] + [list(LOW)]
    rows = [["", "kbit/s", *map(str, mp3.bitrates), "24–64"], ["---"] * (len(choices) + 2)]
    for metric, label in SHOWN.items():
        before = [mp3.at(bitrates=choice).mean(UNPROCESSED, metric) for choice in choices]
        after = [mp3.at(bitrates=choice).mean(model, metric) for choice in choices]
        rows.append([label, "MP3", *(f"{value:.2f}" for value in before)])
        rows.append(["", "restored", *(f"{value:.2f}" for value in after)])
        rows.append(["", "*difference*", *(f"*{b - a:+.2f}*" for a, b in zip(before, after, strict=True))])
    return [f"| {' | '.join(row)} |" for row in rows]


def facts(result: Evaluation) -> str:
    """What was measured where, when, and with which commit."""
    made = result.made
    return (
        f"{len(result.pieces)} pieces, {len(result.conditions)} conditions, {len(result.failures)} failures; "
        f"{made['date']}, commit {made.get('commit', 'unknown')}, {made['machine']}, {made['versions']}.\n"
    )


if __name__ == "__main__":
    main()
