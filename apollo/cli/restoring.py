"""What `apollo restore` shows while it works, and says at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.progress import BarColumn, TaskID, TimeRemainingColumn
from rich.table import Table

from apollo import __version__
from apollo.cli.json_file import write_json
from apollo.cli.screen import Screen, bars, words
from apollo.cli.terminal import MANNER, STOPPED, clock, complain, note, say, without_middle
from apollo.errors import StoppedError
from apollo.foreign import shown
from apollo.regular import refuse_special
from apollo.restoration import Outcome, Output, Report, Restorer, Settings, Task, foresee
from apollo.storage import Place, Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apollo.restoration.recordings import FileProgress

HEAD = b'{\n  "apollo":'  # of a report

STATUSES = {
    "restored": "restored",
    "finished": "finished already",
    "undamaged": "nothing to restore",
    "failed": "failed",
}


def restore_with_progress(
    tasks: Sequence[Task],
    restore: Callable[[Callable[[Task], FileProgress]], Iterator[Outcome]],
    settings: Settings,
    model: str,
    overwrite: bool,
    report: Place | None,
    workers: str = "",
) -> int:
    """Restore files, say what became of each, and of all at the end; give the number of those that failed.

    `restore` does it, given what begins a file and gives what its progress is told to. If a signal ends it, raises
    StoppedError; what was finished until then is whole.
    """
    if report is not None:  # what cannot be written had better show at once
        write_json(content(model, settings, [], len(tasks)), report, overwrite or is_report(report))
    note(choice(model, settings) + workers)
    outcomes: list[Outcome] = []
    try:
        with shown_bars(len(tasks)) as (begin, finish):
            for outcome in restore(begin):
                outcomes.append(outcome)
                finish()
                if outcome.report is not None:
                    note(summary(outcome.report))
                elif outcome.status == "failed":
                    complain(outcome.message)
                else:
                    note(outcome.told)
    except KeyboardInterrupt:
        done = sum(outcome.status == "restored" for outcome in outcomes)
        raise StoppedError(
            f"stopped: {done} of {len(tasks)} files are restored completely; run the same command again to continue",
            128 + STOPPED.signal,
        ) from None
    finally:
        write_json(content(model, settings, outcomes, len(tasks)), report)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if len(tasks) > 1:
        if not MANNER.quiet:
            Screen(stderr=MANNER.only_json).print(table(outcomes), soft_wrap=True)
        say(f"Restored {sum(outcome.status == 'restored' for outcome in outcomes)} of {len(tasks)} files.")
    return failed


def foretell(
    tasks: Sequence[Task], restorer: Restorer, model: str, output: Output, overwrite: bool, force: bool
) -> int:
    """Say what would become of files, and of all at the end; give the number of those that would fail."""
    note(choice(model, Settings.of(restorer)))
    failed = planned = 0
    audio = 0.0
    for forecast in foresee(tasks, restorer, output, overwrite, force, model):
        outcome = forecast.outcome
        if outcome.status == "failed":
            failed += 1
            complain(outcome.message)
        elif outcome.status == "planned":
            planned += 1
            audio += forecast.seconds
            facts = f"{decimal(forecast.size)}, {clock(forecast.seconds)}, {outcome.message}"
            say(f"{fitted(outcome.task.source)} → {fitted(outcome.task.target)}: {facts}")
        else:
            say(outcome.told)
    say(f"Would restore {planned} of {len(tasks)} files, {clock(audio)} of audio.")
    return failed


@contextmanager
def shown_bars(files: int) -> Iterator[tuple[Callable[[Task], FileProgress], Callable[[], None]]]:
    """Two bars if a person is watching: files, and seconds of audio in the one under way.

    Yields what begins a file and gives what its progress is told to, and what ends it.
    """
    columns = (words("name"), BarColumn(), words("state"), TimeRemainingColumn())
    with bars(*columns, visible=not MANNER.quiet) as progress:
        total = progress.add_task("", total=files, name="files", state=f"0/{files}", visible=files > 1)
        rows: list[TaskID] = []

        def begin(task: Task) -> Callable[[float, float], None]:
            row = progress.add_task("", total=None, name=shown(task.source.name), state="reading")
            rows.append(row)

            def advance(done: float, seconds: float) -> None:
                elapsed = next(shown.elapsed for shown in progress.tasks if shown.id == row) or 0
                state = f"{done:.0f}/{seconds:.0f} s, {done / elapsed:.1f} × real time" if elapsed else ""
                progress.update(row, completed=done, total=seconds, state=state)
                # A file is as far as its sound, so that the time left is known before the first one is done.
                progress.update(total, completed=len(rows) - 1 + done / max(seconds, 1e-9))

            return advance

        def finish() -> None:
            progress.remove_task(rows[-1])
            progress.update(total, completed=len(rows), state=f"{len(rows)}/{files}")

        yield begin, finish


def choice(model: str, settings: Settings) -> str:
    """Say with what is restored."""
    numbers = {"32": "float32", "bf16": "bfloat16", "16": "float16"}[settings.precision]
    more = ""
    if settings.batch != 1:
        more = f", {settings.batch or 'all'} channels at once"
    if settings.compiled:
        more += ", compiled"
    mark = settings.model_fingerprint[:8]
    return f"Model {model} ({mark}) on {settings.device} in {numbers}, chunks of {settings.chunk_seconds:.3g} s{more}"


def summary(report: Report) -> str:
    """Say what was done to a file, where the result lies, and how fast."""
    notes = ""
    if report.matched_db:
        notes += f", {report.matched_db:+.1f} dB to match the source's loudness"
    if report.turned_down_db > 0:
        decibels = f"{report.turned_down_db:.1f}" if report.turned_down_db >= 0.05 else "less than 0.1"
        notes += f", volume lowered by {decibels} dB to avoid clipping"
    if report.clamped:
        notes += f", {report.clamped} samples clamped at full scale"
    if report.lost:
        notes += f", not kept: {', '.join(report.lost)}"
    source, target = report.source, report.target
    return (
        f"{fitted(source)} → {fitted(target)}: {report.seconds:.1f} s of audio in {report.elapsed:.1f} s "
        f"({report.speed:.1f} × real time){gain(report)}{notes}"
    )


def gain(report: Report) -> str:
    """Say from what a file was restored, and how far up it reaches now."""
    told = f", from {report.source_coding}" if report.source_coding else ""
    if report.cutoff_hz is not None and report.restored_cutoff_hz is not None and report.filled is not None:
        before, after = report.cutoff_hz / 1000, report.restored_cutoff_hz / 1000
        told += f", cut-off {before:.1f} → {after:.1f} kHz" if report.filled >= 0.01 else f", cut-off {before:.1f} kHz"
        if report.filled >= 0.01:
            told += f" ({report.filled:.0%} filled in)"
    return told


def fitted(path: object) -> str:
    """A path as it is or, on a terminal in which two would not fit side by side, without its middle."""
    text = shown(path)
    room = max(20, (shutil.get_terminal_size().columns - 3) // 2)
    return without_middle(text, room) if sys.stdout.isatty() else text


def table(outcomes: Sequence[Outcome]) -> Table:
    """How many files came to what, with the sound restored and the time it took."""
    grid = Table("", "files", "audio", "time", "× real time", box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for status, name in STATUSES.items():
        reports = [outcome.report for outcome in outcomes if outcome.status == status]
        if not reports:
            continue
        audio = sum(report.seconds for report in reports if report)
        elapsed = sum(report.elapsed for report in reports if report)
        cells = (clock(audio), clock(elapsed), f"{audio / elapsed:.1f}") if elapsed else ("", "", "")
        grid.add_row(name, str(len(reports)), *cells)
    return grid


def is_report(path: Place) -> bool:
    """Tell whether a file is a report of an earlier run, whose place the same command's next one takes."""
    if isinstance(path, Url):
        return path.is_file() and path.between(0, len(HEAD)) == HEAD
    refuse_special(path)
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD)) == HEAD
    except OSError:
        return False


def content(model: str, settings: Settings, outcomes: Sequence[Outcome], files: int) -> dict[str, object]:
    """What a report says: what was done, and with what."""
    return {
        "apollo": __version__,
        "model": model,
        **asdict(settings),
        "planned": files,
        "counts": {status: sum(outcome.status == status for outcome in outcomes) for status in STATUSES},
        "files": [outcome.as_json() for outcome in outcomes],
    }
