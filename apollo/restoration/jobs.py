"""Many files, one after the other: finished ones are skipped, and one bad file does not stop the others."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from apollo.atomic import claimed, make_folder
from apollo.audio import AudioReader, Verdict, needs_restoration, resampled_length
from apollo.errors import ApolloError, AudioFileError, one_file
from apollo.restoration.engine import Restorer
from apollo.restoration.output import Output
from apollo.restoration.provenance import Provenance
from apollo.restoration.recordings import FileProgress, Report, check_target, restore_file
from apollo.restoration.tasks import Task
from apollo.storage import Url, at_hand, in_place_of, naming_objects, publish

Status = Literal["restored", "finished", "undamaged", "failed", "planned"]

TOLERANCE = 0.1  # seconds that a lossy format may add or take


@dataclass(frozen=True)
class Outcome:
    """The outcome of a task."""

    task: Task
    # `"restored"`, `"failed"`, or skipped as `"finished"` (before, or left to another process that works on it) or
    # `"undamaged"`; `"planned"` if it would be restored.
    status: Status
    message: str = ""  # why it was skipped or failed
    advice: str = ""  # how the command line restores an undamaged file all the same
    report: Report | None = None  # of a restored file
    left: bool = False  # whether it was left to another process
    warnings: Sequence[str] = ()  # what was logged on the way that whoever reads the log should know, each once

    @property
    def told(self) -> str:
        """The message with its advice, for the command line."""
        return "; ".join(filter(None, (self.message, self.advice)))

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        report = {**asdict(self.report), "filled": self.report.filled} if self.report else {}
        content = {
            "source": str(self.task.source),
            "target": str(self.task.target),
            "status": self.status,
            "message": self.told,
            "warnings": list(self.warnings),
            **{name: value for name, value in report.items() if name not in ("source", "target")},
        }
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in content.items()
        }


@dataclass(frozen=True)
class Forecast:
    """The outcome that a task would have."""

    # `"planned"` with the verdict on its source if it would be restored; otherwise as from `restore_files`.
    outcome: Outcome
    size: int  # of the source, in bytes; 0 if it cannot be read
    seconds: float  # length of the source


def restore_files(
    tasks: Sequence[Task],
    restorer: Restorer,
    output: Output,
    overwrite: bool = False,
    force: bool = False,
    progress: Callable[[Task], FileProgress] = lambda task: lambda done, total: None,
    model: str = "",
) -> Iterator[Outcome]:
    """Restore files one after the other.

    Args:
        tasks: As `plan` gives them. Folders of targets are made.
        restorer: Does the work.
        output: How results are written.
        overwrite: Whether targets may replace files. If not, whole targets of the right length are skipped as finished.
            Others are errors, and so are those whose tags say that they were made with other options.
        force: Whether to restore undamaged files too, and with the default model those that it can hardly help.
        progress: Called with each task; what it returns is called with (seconds restored, seconds in all).
        model: Name of the restorer's model, for the tags of the results.

    Yields:
        The outcome of each task.
    """
    for task in tasks:
        with warnings_collected() as warnings:
            try:
                done = progress(task)
                with at_work(task, restorer, output, overwrite, force, model) as work:
                    outcome = work.restore(done)
            except ApolloError as error:
                outcome = Outcome(task, "failed", str(error))
        yield replace(outcome, warnings=tuple(warnings))


@contextmanager
def warnings_collected() -> Iterator[dict[str, None]]:
    """Collect what the package warns of while the block lasts; others who listen are told as well."""
    sentences: dict[str, None] = {}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            sentences[naming_objects(record.getMessage())] = None

    package, handler = logging.getLogger("apollo"), Collector(logging.WARNING)
    package.addHandler(handler)
    try:
        yield sentences
    finally:
        package.removeHandler(handler)


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
            with at_work(task, restorer, output, overwrite, force, model) as work:
                with AudioReader(work.source, task.track) as reader:
                    size, seconds = work.source.stat().st_size, reader.count() / reader.sample_rate
                outcome = work.decide()
                if outcome.status == "planned":
                    outcome = replace(outcome, message=work.verdict.sentence)
        except ApolloError as error:
            outcome = Outcome(task, "failed", str(error))
        yield Forecast(outcome, size, seconds)


@contextmanager
def at_work(task: Task, restorer: Restorer, output: Output, overwrite: bool, force: bool, model: str) -> Iterator[Work]:
    """Give a task with local files; an unexpected error in the block becomes one that names the source."""
    if task.problem:
        raise AudioFileError(task.problem)
    with one_file(task.source), at_hand(task.source) as source, in_place_of(task.target, overwrite) as target:
        yield Work(task, source, target, restorer, output, overwrite, force, model)


@dataclass
class Work:
    """A task whose source and target are local files; the rest is as for `restore_files`."""

    task: Task
    source: Path
    target: Path
    restorer: Restorer
    output: Output
    overwrite: bool
    force: bool
    model: str

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the source is damaged."""
        return needs_restoration(self.source, self.task.track)

    def decide(self) -> Outcome:
        """Decide whether the task is skipped or `"planned"`; raises AudioFileError if it cannot be done."""
        if isinstance(self.task.source, Url) and self.task.source == self.task.target:
            raise AudioFileError(f"{self.task.source} would be replaced by its own restoration: choose another output")
        if done := self.finished():
            return done
        hopeless = not self.verdict.damaged or (self.verdict.slight and self.model == "default")
        if hopeless and not self.force:
            advice = "use --force to restore it all the same"
            return Outcome(self.task, "undamaged", f"{self.task.source}: {self.verdict.sentence}", advice=advice)
        check_target(self.source, self.target, self.overwrite)
        return Outcome(self.task, "planned")

    def restore(self, progress: FileProgress) -> Outcome:
        """Do the task unless it is skipped."""
        if (outcome := self.decide()).status != "planned":
            return outcome
        task = self.task
        make_folder(self.target.parent)
        with claimed(self.target) as ours:
            if not ours:
                message = f"{task.target} is being made by another run of Apollo: skipped"
                return Outcome(task, "finished", message, left=True)
            if done := self.finished():
                return done  # by another run, a moment ago
            report = restore_file(
                self.source, self.target, self.restorer, self.overwrite, progress, self.output, self.model, task.track
            )
        publish(self.target, task.target, self.overwrite)
        return Outcome(task, "restored", report=replace(report, source=task.source, target=task.target))

    def finished(self) -> Outcome | None:
        """The outcome of a task that was done before and may not be done again; None of others.

        Raises AudioFileError if it was done with another model or other options.
        """
        if self.overwrite or not self.is_finished():
            return None
        made = Provenance.read(self.target)
        wanted = Provenance.of(self.restorer, self.output.for_file(self.target), self.model, self.task.track)
        place = self.task.target
        if made is not None and not made.is_like(wanted):
            raise AudioFileError(f"{place} was made with {made}, not with {wanted}: use --overwrite to replace it")
        return Outcome(self.task, "finished", f"{place} is finished already: use --overwrite to restore it again")

    def is_finished(self) -> bool:
        """Whether the target is there, as long as the source, and whole to its last sample."""
        with suppress(ApolloError, OSError):
            if not self.target.is_file() or self.target.samefile(self.source):
                return False
            with AudioReader(self.source, self.task.track) as source, AudioReader(self.target) as target:
                rate = self.output.rate_for(source.sample_rate, self.restorer.sample_rate, lambda: self.verdict.lossy)
                if target.sample_rate != rate and not target.info.lossy:
                    return False
                found = target.count()
                expected = resampled_length(source.count(), source.sample_rate, target.sample_rate)
                if abs(found - expected) > TOLERANCE * target.sample_rate:
                    return False
                target.seek(max(0, found - 1))
                return target.read(1).shape == (source.channels, 1)
        return False
