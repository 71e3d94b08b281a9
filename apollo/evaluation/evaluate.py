"""Score what a codec leaves of music, and what models and other people's tools make of that, against the originals."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path

from apollo.atomic import temporary_folder
from apollo.audio.verdict import needs_restoration
from apollo.data.relations import fingerprint
from apollo.errors import ApolloError, DataError, one_file
from apollo.evaluation.cases import Case, Cases
from apollo.evaluation.controls import controlled
from apollo.evaluation.results import CONTROLS, UNPROCESSED, Evaluation, Failure, Score
from apollo.evaluation.scorebook import Scorebook
from apollo.evaluation.systems import Settings, mark_of_model, objects_in, restorer_of
from apollo.evaluation.waveforms import SAMPLE_RATE, measured, pair_waveforms, restored, waveforms
from apollo.metrics import metric
from apollo.metrics.bands import Powers, cutoff_of
from apollo.metrics.levels import lost_of
from apollo.storage import Place, at_hand, naming_objects, origin
from apollo.work import Progress, run

log = logging.getLogger(__name__)

METHOD = 2  # counts up when a score means something else than before
TOLD = 0.1  # samples of lag, under which the estimate may be chance
LAG, LOSSY = "lag in seconds", "lossy original"  # what is kept beside the scores, for the notes


@dataclass(frozen=True)
class _Job:
    """A case and what is still to be scored of it; plain data, so that it travels to another process."""

    case: Case[Place]
    files: Mapping[str, Place]  # what other tools made of it, by their names
    keys: Mapping[str, str]  # under which each system's scores are kept
    missing: Mapping[str, Sequence[str]]  # metrics that each system still lacks
    settings: Settings


@dataclass
class _Outcome:
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def prepare(settings: Settings) -> dict[str, str]:
    """Check what is compared, load its models, and give each a mark, which only the same weights have.

    What an earlier evaluation in this process has loaded or listed is forgotten: it may have changed since.

    Raises:
        DataError: A metric is not known, or two systems have one name.
        ModelFileError: A model cannot be loaded.
    """
    settings.check()
    for remembered in (restorer_of, objects_in):
        remembered.cache_clear()
    return {model: mark_of_model(settings.restorer(model)) for model in settings.models}


def evaluate(
    cases: Cases,
    settings: Settings | None = None,
    *,
    kept: Path | None = None,
    progress: Progress | None = None,
    marks: Mapping[str, str] | None = None,
) -> Evaluation:
    """Score every case unprocessed, restored by every model, and as it is in every folder of restorations.

    All scores are taken at 44.1 kHz; other rates are resampled first. What cannot be evaluated is listed in `failures`
    and the rest continues.

    Args:
        cases: From `find_cases`.
        settings: What is compared, and with what; by default only what is damaged.
        kept: A file that keeps every score as soon as it is known. What is in it already, of the same files, weights
            and conditions, is not scored again.
        progress: Called with (done, total, piece) as cases get done.
        marks: From `prepare`, where that was called already, such as before the cases were looked for.

    Returns:
        Scores, failures and averages.

    Raises:
        DataError: A metric is not known, two systems have one name, or every single case failed.
        ModelFileError: A model cannot be loaded.
    """
    began = time.monotonic()
    settings = settings or Settings()
    # A bad model is one error now rather than one a piece later.
    marks = {UNPROCESSED: "", **(prepare(settings) if marks is None else marks)}
    failures = [Failure(name, cases.conditions[0], "", reason) for name, reason in cases.problems]
    book = Scorebook(kept)
    with book.ledger:
        jobs: list[_Job] = []
        for case in cases.cases:
            files, lacking = _files(case, cases, settings)
            failures.extend(lacking)
            try:
                keys = _keys(case, marks, files, settings)
            except OSError as error:
                failures.append(Failure(case.piece, case.condition, "", f"it cannot be read ({error.strerror})"))
                continue
            missing = {
                system: [name for name in settings.metrics if name not in book.values(key)]
                for system, key in keys.items()
            }
            missing = {system: names for system, names in missing.items() if names}
            jobs.append(_Job(case, files, keys, missing, settings))
        for job, outcome in _outcomes(jobs, settings.workers, progress):
            for system, values in outcome.values.items():
                book.add(job.keys[system], values)
            failures.extend(outcome.failures)
        found = [(job.case, system, book.values(key)) for job in jobs for system, key in job.keys.items()]
    scores = [
        Score(case.piece, case.kind, case.condition, system, {name: values[name] for name in settings.metrics})
        for case, system, values in found
        if all(name in values for name in settings.metrics)
    ]
    if cases.cases and not scores:
        reason = f"; the first: {failures[0]}" if failures else ""
        raise DataError(f"none of the {len(cases.cases)} cases could be evaluated{reason}")
    return Evaluation(
        cases.source,
        cases.conditions,
        settings.systems,
        list(settings.metrics),
        scores,
        failures,
        time.monotonic() - began,
        notes=[*cases.warnings, *_notes(found, settings)],
    )


def _notes(found: Sequence[tuple[Case[Place], str, Mapping[str, float]]], settings: Settings) -> list[str]:
    """What was aligned, and which originals are no originals."""
    notes = []
    paired = [(case, system, values) for case, system, values in found if LAG in values]
    for system in dict.fromkeys(system for _, system, _ in paired):
        lags = {case.piece: values[LAG] for case, own, values in paired if own == system}
        if system == UNPROCESSED or any(map(_is_told, lags.values())):
            notes.append(_alignment(lags, "pairs" if system == UNPROCESSED else f"recordings of {system}"))
    if not settings.align and any(case.damaged for case, _, _ in found):
        notes.append("pairs were scored without alignment (--no-align)")
    lossy = sorted({case.piece for case, _, values in found if values.get(LOSSY)})
    if lossy:
        pieces = len({case.piece for case, _, _ in found})
        notes.append(
            f"{len(lossy)} of {pieces} originals show traces of a lossy codec or were restored (the first: "
            f"{lossy[0]}): their damage counts as correct"
        )
    return notes


def _alignment(lags: Mapping[str, float], what: str) -> str:
    """How many recordings were aligned, and by how much."""
    moved = {piece: lag for piece, lag in lags.items() if _is_told(lag)}
    if not moved:
        return f"none of {len(lags)} {what} had a lag to remove"
    least, most = (sorted(map(abs, moved.values()))[end] for end in (0, -1))
    one = f"{1000 * most:.2f} ms ({most * SAMPLE_RATE:.1f} samples)"
    amount = one if len(moved) == 1 else f"{1000 * least:.2f} to {one}"
    worst = max(moved, key=lambda piece: abs(moved[piece]))
    return f"{len(moved)} of {len(lags)} {what} were aligned, by {amount}; most: {worst}"


def _is_told(lag: float) -> bool:
    return abs(lag) * SAMPLE_RATE >= TOLD


@lru_cache(maxsize=1024)
def _hides_damage(path: Path, state: str) -> bool:
    """Whether a lossless file shows traces of a lossy codec, or was restored.

    Lossy files are reported with the layout, but not objects, which were not at hand then.

    It takes a second, and a recording is scored at many bitrates: so it is remembered while `state` is the same.
    """
    try:
        with one_file(path):
            verdict = needs_restoration(path)
    except ApolloError:  # It is read for its scores too, which tells what is wrong with it.
        return False
    return verdict.lossy and (verdict.bandwidth is not None or origin(path) != path)


def _files(case: Case[Place], cases: Cases, settings: Settings) -> tuple[dict[str, Place], list[Failure]]:
    """What other tools made of a case, and what is missing of it."""
    files: dict[str, Place] = {}
    failures = []
    for folder in settings.restorations:
        try:
            files[folder.name] = folder.file_of(case, cases.root, several=len(cases.conditions) > 1)
        except DataError as error:
            failures.append(Failure(case.piece, case.condition, folder.name, str(error)))
    return files, failures


def _keys(
    case: Case[Place], marks: Mapping[str, str], files: Mapping[str, Place], settings: Settings
) -> dict[str, str]:
    """Under which the scores of each system are kept: the same only for the same files, weights and method."""
    mark = case.fingerprint
    marks = {**marks, **{name: fingerprint(path) for name, path in files.items()}}
    marks |= {control: control for control in settings.systems if control in CONTROLS}
    method = f"{METHOD}" if settings.align else f"{METHOD} as it lies"
    return {system: sha256(f"{method} {mark} {own}".encode()).hexdigest()[:32] for system, own in marks.items()}


def _outcomes(jobs: Sequence[_Job], workers: int, progress: Progress | None) -> Iterator[tuple[_Job, _Outcome]]:
    """Do all jobs that miss something; those that are under way or to come when a process is killed have failed."""
    waiting = [job for job in jobs if job.missing]
    finished = len(jobs) - len(waiting)
    try:
        for job, outcome in run(_evaluate_one, list(waiting), workers, progress, lambda job: job.case.piece, finished):
            waiting.remove(job)
            yield job, outcome
    except BrokenProcessPool:
        reason = "a process was killed, perhaps for lack of memory: run the same command again, with fewer --workers"
        for job in waiting:
            yield job, _Outcome(failures=[Failure(job.case.piece, job.case.condition, "", reason)])


def _evaluate_one(job: _Job) -> _Outcome:
    """Score one case, unprocessed and as every system left it; what fails does not keep the rest from its scores."""
    if multiprocessing.parent_process() is not None:
        _use_one_thread()
    outcome = _Outcome()
    system = ""

    def failed(reason: str) -> None:
        outcome.failures.append(Failure(job.case.piece, job.case.condition, system, naming_objects(reason)))

    @contextmanager
    def noting_failures() -> Iterator[None]:
        try:
            yield
        except ApolloError as error:
            failed(str(error))
        except Exception as error:  # A bug or a broken file in one piece must not cost the hours spent on the others.
            log.exception("%s (%s) failed", job.case.piece, job.case.condition)
            failed(f"{type(error).__name__}: {error}")

    with (
        temporary_folder() as scratch,
        noting_failures(),
        job.case.at_hand() as case,
    ):
        align = job.settings.align
        original, damaged = waveforms(case, scratch, align)
        powers = Powers.of(original, damaged)
        cutoff, lost = cutoff_of(powers, SAMPLE_RATE), lost_of(powers, SAMPLE_RATE)
        for system, names in job.missing.items():
            with noting_failures():
                truth, version = original, damaged
                about: dict[str, float] = {}
                if system == UNPROCESSED:
                    about[LOSSY] = float(any(_hides_damage(path, fingerprint(path)) for path in case.sources))
                    if case.damaged is not None and align:
                        about[LAG] = measured(case.sources[0], case.damaged).lag
                elif system in job.files:
                    with at_hand(job.files[system]) as theirs:
                        truth, version = pair_waveforms(case.sources[0], theirs, scratch, align)
                        if align:
                            about[LAG] = measured(case.sources[0], theirs).lag
                elif system in CONTROLS:
                    version = controlled(system, damaged, scratch)
                else:
                    version = restored(damaged, job.settings.restorer(system), scratch)
                outcome.values[system] = about | {
                    name: metric(name).score(truth, version, SAMPLE_RATE, cutoff, lost) for name in names
                }
    return outcome


@cache
def _use_one_thread() -> None:
    """Keep a worker to one core: the cases are spread over workers already."""
    import torch

    torch.set_num_threads(1)
