"""The one call behind `apollo evaluate`: find, score, show, and write the report."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime, timezone
from pathlib import Path

import torch
from rich.console import Console

from apollo import __version__
from apollo.atomic import alone
from apollo.errors import DataError, StoppedError
from apollo.evaluation.cases import find_cases, pairs_of
from apollo.evaluation.clips import cut_clips
from apollo.evaluation.evaluate import evaluate, prepare
from apollo.evaluation.report import REPORTS, Grids, tables, write_reports
from apollo.evaluation.report.sentences import cautions, grouped
from apollo.evaluation.results import Evaluation
from apollo.evaluation.scorebook import SCOREBOOK, kept_in
from apollo.evaluation.systems import Settings
from apollo.machine import describe
from apollo.shards import Shard
from apollo.storage import Place, Url
from apollo.work import Progress

BITRATES = (24, 32, 48, 64, 96, 128)

Counting = Callable[[str], AbstractContextManager[Progress]]  # what is counted, to what shows how much is done


def run_evaluation(
    root: Place,
    settings: Settings,
    *,
    damaged: Place | None = None,
    codecs: Sequence[str] = ("mp3",),
    bitrates: Sequence[int] = BITRATES,
    output: Place | None = None,
    shard: Shard | None = None,
    command: str = "",
    console: Console | None = None,
    counting: Counting = lambda what: nullcontext(lambda done, total, name: None),
    quiet: bool = False,
) -> Evaluation:
    """Evaluate a folder, print tables, and write the report where asked.

    Args:
        root: As `find_cases` takes it.
        settings: What is compared, and with what.
        damaged: Folder of the damaged versions of what lies in `root`, under the same names; None where `root` holds
            both sides, or originals alone.
        codecs: What originals and mixes are put through.
        bitrates: In kbit/s.
        output: Folder of the report; made when missing, before anything else. Scores are kept there as they come, so
            that the same command resumes after it was stopped. None writes nothing.
        shard: The share of the pieces to evaluate; None is all of them. A share without a piece gives a report without
            a score, so that there is one report a share.
        command: What was typed, for the report.
        console: Where to print; the terminal by default.
        counting: Shows how much is done, as `apollo.cli.terminal.counting` does.
        quiet: Whether to print tables, warnings and failures alone.

    Returns:
        What was found.

    Raises:
        DataError: A metric is not known, there is nothing to evaluate, everything failed, or the report cannot be
            written.
        ModelFileError: A model cannot be loaded.
        StoppedError: Ctrl+C.
    """
    console = console or Console()
    marks = prepare(settings)  # before the music is looked through, which can take minutes
    cases = find_cases(root, codecs, bitrates) if damaged is None else pairs_of(root, damaged)
    if shard is not None:
        cases = cases.in_shard(shard)
    if output is not None:
        make_writable(output)
        refuse_foreign(output)

    def tell(line: str, style: str | None = None) -> None:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    if not quiet:
        tell(f"{cases.source}: {cases.summary}, {cases.layout}")
    for warning in cases.warnings:
        tell(f"Warning: {warning}", "yellow")
    done = 0
    try:
        with ExitStack() as stack:
            kept: Path | None = None
            if isinstance(output, Path):
                stack.enter_context(alone(output))
            if output is not None:
                kept, keep = stack.enter_context(kept_in(output))
            with counting("Evaluating") as progress:

                def show(now: int, total: int, piece: str) -> None:
                    nonlocal done
                    done = now
                    if kept is not None:
                        keep()
                    progress(now, total, piece[-30:])

                result = evaluate(cases, settings, kept=kept, progress=show, marks=marks)
            result.made = provenance(command)
            grids = Grids.of(result)
            console.print(tables(result, grids))
            if output is not None:
                with counting("Writing the report"):
                    written = write_reports(result, cut_clips(result.ranked, cases, settings), output, grids)
    except KeyboardInterrupt:
        scores = f"; the scores of {done} of {len(cases.cases)} cases are kept: run the same command to continue"
        raise StoppedError(f"stopped{scores if output else ''}", code=130) from None
    for note in cautions(result)[len(cases.warnings) :]:
        if not quiet:
            tell(f"Note: {note}")
    for sentence in grouped(result.failures):
        tell(f"Not evaluated: {sentence}", "yellow")
    if not quiet:
        tell(f"{len(result.scores)} scores in {result.seconds:.0f} s")
        if output is not None:
            tell("Report: " + ", ".join(map(str, written)))
    return result


def make_writable(folder: Place) -> None:
    """Make a folder where it is missing, and make sure that files can be written to it."""
    if isinstance(folder, Url):
        folder.check_bucket()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(f"The report cannot be written to {folder} ({error.strerror}); give another folder.") from None


def refuse_foreign(folder: Place) -> None:
    """Raise DataError if what a report would replace in a folder is no earlier report, with its scores beside it."""
    for place in (folder / name for name in REPORTS):
        there = place.is_file() if isinstance(place, Url) else os.path.lexists(place)
        if there and not (folder / SCOREBOOK).is_file():
            raise DataError(f"{place} exists already, and not from an earlier evaluation: give another folder")


def provenance(command: str) -> dict[str, str]:
    """How and where this process works, for those who read its numbers later."""
    made = {
        "command": command,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "apollo": __version__,
        "commit": _commit(),
        "machine": f"{describe(torch.device('cpu')).name}, {platform.system()} {platform.machine()}",
        "versions": f"Python {platform.python_version()}, PyTorch {torch.__version__}",
    }
    return {name: value for name, value in made.items() if value}


def _commit() -> str:
    """The commit of the source that runs, where it runs from a clone."""
    source = Path(__file__).parent
    try:
        asked = ["git", "-C", str(source), "describe", "--always", "--dirty", "--exclude=*"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
