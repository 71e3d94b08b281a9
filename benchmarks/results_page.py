"""Measure the default model and write docs/results.md, with the reports that it is made of.

python benchmarks/results_page.py --real corpus/real --mixes corpus/valid --reports reports
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from apollo.evaluation.report import markdown_tables
from apollo.evaluation.results import Evaluation
from apollo.evaluation.run import run_evaluation

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
CODECS = ("mp3", "aac", "opus", "vorbis")
METRICS = ("sdr", "si_sdr", "visqol", "lsd", "snr_below", "snr_above")

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
        parts += [f"# {title}", facts(result), markdown_tables(result)]
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    print(PAGE)


def facts(result: Evaluation) -> str:
    """What was measured where, when, and with which commit."""
    made = result.made
    return (
        f"{len(result.pieces)} pieces, {len(result.conditions)} conditions, {len(result.failures)} failures; "
        f"{made['date']}, commit {made.get('commit', 'unknown')}, {made['machine']}, {made['versions']}.\n"
    )


if __name__ == "__main__":
    main()
