"""Many files, one after the other: what is done already is passed over, and one bad file does not stop the others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from apollo.atomic import claimed, make_folder
from apollo.audio import AudioReader, Verdict, needs_restoration, resampled_length
from apollo.errors import ApolloError, AudioFileError, one_file
from apollo.restoration.batch import Task
from apollo.restoration.engine import Restorer
from apollo.restoration.output import Output
from apollo.restoration.provenance import Provenance
from apollo.restoration.recordings import Progress, Report, check_target, restore_file
from apollo.storage import Url, at_hand, in_place_of, publish

Status = Literal["restored", "finished", "undamaged", "failed", "planned"]

TOLERANCE = 0.1  # seconds that a lossy format may add or take


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        task: Source and target.
        status: `"restored"`; `"finished"` before or left to another process that is at it, and so passed over;
            `"undamaged"`, and so passed over; `"failed"`; `"planned"` where nothing is restored but only foreseen.
        message: Why it was passed over or failed.
        report: Of a restored file.
        left: Whether it was left to another process.
    """

    task: Task
    status: Status
    message: str = ""
    report: Report | None = None
    left: bool = False

    def as_json(self) -> dict[str, Any]:
        """All of it in what JSON has."""
        report = {**dataclasses.asdict(self.report), "filled": self.report.filled} if self.report else {}
        content = {
            "source": str(self.task.source),
            "target": str(self.task.target),
            "status": self.status,
            "message": self.message,
            **{name: value for name, value in report.items() if name not in ("source", "target")},
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in content.items()
        }


@dataclass(frozen=True)
class Forecast:
    """What would become of a task.

    Attributes:
        outcome: `"planned"` where it would be restored, with the verdict on its source; else as `restore_files` has it.
        size: Of the source, in bytes; 0 where it cannot be read.
        seconds: Length of the source.
    """

    outcome: Outcome
    size: int
    seconds: float


def restore_files(
    tasks: Sequence[Task],
    restorer: Restorer,
    output: Output,
    overwrite: bool = False,
    force: bool = False,
    progress: Callable[[Task], Progress] = lambda task: lambda done, total: None,
    model: str = "",
) -> Iterator[Outcome]:
    """Restore files one after the other.

    Args:
        tasks: As `plan` gives them. Folders of targets are made.
        restorer: Does the work.
        output: What the results are to be like.
        overwrite: Whether targets may replace files. If not, whole ones of the right length are passed over as
            finished, and others are errors; so are those that say in their tags that they were made otherwise.
        force: Whether to restore what shows no damage.
        progress: Called with each task, gives what is to be called with (seconds restored, seconds in all).
        model: Name of the restorer's model, for the tags of the results.

    Yields:
        What became of each task.
    """
    for task in tasks:
        try:
            with one_file(task.source):
                outcome = restore_one(task, restorer, output, overwrite, force, progress(task), model)
        except ApolloError as error:
            outcome = Outcome(task, "failed", str(error))
        yield outcome


def restore_one(
    task: Task, restorer: Restorer, output: Output, overwrite: bool, force: bool, progress: Progress, model: str
) -> Outcome:
    """Restore a file unless that is done or there is nothing to do."""
    if isinstance(task.source, Url) and task.source == task.target:
        raise AudioFileError(f"{task.source} would be replaced by its own restoration: choose another output")
    with at_hand(task.source) as source, in_place_of(task.target, overwrite) as target:
        if not overwrite and (done := finished(task, source, target, restorer, output, model)):
            return done
        if not force and not (verdict := needs_restoration(source, task.track)).damaged:
            return Outcome(task, "undamaged", passed_over(task, verdict))
        make_folder(target.parent)
        with claimed(target) as ours:
            if not ours:
                message = f"{task.target} is being made by another run of Apollo: skipped"
                return Outcome(task, "finished", message, left=True)
            if not overwrite and (done := finished(task, source, target, restorer, output, model)):
                return done  # by a run that was at it a moment ago
            report = restore_file(source, target, restorer, overwrite, progress, output, model, task.track)
        publish(target, task.target, overwrite)
    return Outcome(task, "restored", "", dataclasses.replace(report, source=task.source, target=task.target))


def foresee(
    tasks: Sequence[Task],
    restorer: Restorer,
    output: Output,
    overwrite: bool = False,
    force: bool = False,
    model: str = "",
) -> Iterator[Forecast]:
    """Say what `restore_files` would do with files, without restoring any."""
    for task in tasks:
        size, seconds = 0, 0.0
        try:
            with (
                one_file(task.source),
                at_hand(task.source) as source,
                in_place_of(task.target, overwrite) as target,
            ):
                with AudioReader(source, task.track) as reader:
                    size, seconds = source.stat().st_size, reader.count() / reader.sample_rate
                verdict = needs_restoration(source, task.track)
                outcome = None if overwrite else finished(task, source, target, restorer, output, model)
                if outcome is None and not verdict.damaged and not force:
                    outcome = Outcome(task, "undamaged", passed_over(task, verdict))
                if outcome is None:
                    check_target(source, target, overwrite)
                    outcome = Outcome(task, "planned", verdict.sentence)
        except ApolloError as error:
            outcome = Outcome(task, "failed", str(error))
        yield Forecast(outcome, size, seconds)


def passed_over(task: Task, verdict: Verdict) -> str:
    """Say why a file is passed over that shows no damage."""
    return f"{task.source}: {verdict.sentence}; use --force to restore it all the same"


def finished(task: Task, source: Path, target: Path, restorer: Restorer, output: Output, model: str) -> Outcome | None:
    """What is to be said of a task that is done already; None of others.

    Raises:
        AudioFileError: If it was done with another model or other options.
    """
    if not is_finished(source, target, task.track, output, restorer.sample_rate):
        return None
    made = Provenance.read(target)
    wanted = Provenance.of(restorer, output.for_file(target), model, task.track)
    if made is not None and not made.is_like(wanted):
        raise AudioFileError(f"{task.target} was made with {made}, not with {wanted}: use --overwrite to replace it")
    return Outcome(task, "finished", f"{task.target} is finished already: use --overwrite to restore it again")


def is_finished(source_file: Path, target_file: Path, track: int | None, output: Output, network_rate: int) -> bool:
    """Tell whether the target is there, as long as the source, and whole to its last sample."""
    with suppress(ApolloError, OSError):
        if not target_file.is_file() or target_file.samefile(source_file):
            return False
        with AudioReader(source_file, track) as source, AudioReader(target_file) as target:
            expected = resampled_length(source.count(), source.sample_rate, target.sample_rate)
            found = target.count()
            rate = output.rate_for(
                source.sample_rate, network_rate, lambda: needs_restoration(source_file, track).damaged
            )
            if (target.sample_rate != rate and not target.info.lossy) or abs(
                found - expected
            ) > TOLERANCE * target.sample_rate:
                return False
            target.seek(max(0, found - 1))
            return target.read(1).shape == (source.channels, 1)
    return False
