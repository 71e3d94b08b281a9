"""Degrade originals, restore them with models, and score both against the originals."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from apollo.audio import SUFFIXES
from apollo.errors import ApolloError, DataError
from apollo.evaluation.metrics import METRICS
from apollo.evaluation.results import UNPROCESSED, Evaluation, Failure, Score

if TYPE_CHECKING:
    from apollo.restoration import Restorer

log = logging.getLogger(__name__)

SAMPLE_RATE = 44_100
BITRATES = (24, 32, 48, 64, 96, 128)

Progress = Callable[[int, int], None]


class _Job(NamedTuple):
    """What one worker does in one go; plain data, so that it travels to another process."""

    path: Path
    piece: str
    codec: str
    bitrate: int
    models: tuple[str, ...]
    metrics: tuple[str, ...]
    device: str
    chunk_seconds: float | None


def find_originals(folder: Path) -> list[Path]:
    """List the audio files in a folder and all folders below it, sorted, hidden ones left out.

    Args:
        folder: Where to look.

    Returns:
        At least one path.

    Raises:
        DataError: The folder does not exist or holds no audio file.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the original recordings.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise DataError(f"{folder} holds no audio file; evaluation needs original recordings such as FLAC or WAV.")
    return found


def evaluate(
    originals: Sequence[Path],
    models: Sequence[str] = (),
    *,
    codec: str = "mp3",
    bitrates: Sequence[int] = BITRATES,
    metrics: Sequence[str] = tuple(METRICS),
    workers: int | None = None,
    device: str = "cpu",
    chunk_seconds: float | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score what a codec leaves of the originals, and what models make of that.

    All scores are taken at 44.1 kHz; originals at another rate are resampled first. A piece that cannot be
    evaluated is listed in `failures` and the others go on. Nothing is written to disk.

    Args:
        originals: Audio files.
        models: Paths or names, as `apollo.load_model` takes them.
        codec: As `apollo.audio.codecs.degrade` takes it.
        bitrates: In kbit/s.
        metrics: Names in `METRICS`.
        workers: Processes, each with one thread; by default one a core. With 1 everything runs in this process,
            with whatever threads it has.
        device: Where the models run, as `Restorer` takes it.
        chunk_seconds: Passed to `Restorer`; None leaves its default. It does not change the scores.
        progress: Called with (done, total) as pieces × bitrates get done.

    Returns:
        Scores, failures and averages.

    Raises:
        DataError: There is nothing to evaluate, a metric is not known, or every single piece failed.
        ModelFileError: A model cannot be loaded.
    """
    _check(originals, bitrates, metrics)
    began = time.monotonic()
    _restorer.cache_clear()  # A checkpoint may have been written anew since the last evaluation in this process.
    for model in models:
        _restorer(model, device, chunk_seconds)  # A bad model is one error now rather than one a piece later.
    jobs = [
        _Job(path, piece, codec, bitrate, tuple(models), tuple(metrics), device, chunk_seconds)
        for path, piece in zip(originals, _piece_names(originals), strict=True)
        for bitrate in sorted(set(bitrates))
    ]
    outcomes: dict[int, list[Score] | Failure] = {}
    for done, (index, outcome) in enumerate(_run(jobs, workers), start=1):
        outcomes[index] = outcome
        if progress is not None:
            progress(done, len(jobs))
    result = Evaluation(codec, sorted(set(bitrates)), list(models), list(metrics), seconds=time.monotonic() - began)
    for index in range(len(jobs)):
        outcome = outcomes[index]
        if isinstance(outcome, Failure):
            result.failures.append(outcome)
        else:
            result.scores.extend(outcome)
    if not result.scores:
        raise DataError(
            f"None of the {len(originals)} pieces could be evaluated; the first: {result.failures[0].reason}"
        )
    return result


def _check(originals: Sequence[Path], bitrates: Sequence[int], metrics: Sequence[str]) -> None:
    if not originals:
        raise DataError("There is no original recording to evaluate.")
    if not bitrates:
        raise DataError("There is no bitrate to evaluate at; give at least one in kbit/s.")
    if unknown := [name for name in metrics if name not in METRICS]:
        raise DataError(f"There is no metric {unknown[0]!r}; choose from {', '.join(METRICS)}.")


def _piece_names(originals: Sequence[Path]) -> list[str]:
    """Each path below the folder that all of them share."""
    parents = [str(path.absolute().parent) for path in originals]
    try:
        common = Path(os.path.commonpath(parents))
    except ValueError:  # On different drives.
        return [path.as_posix() for path in originals]
    return [path.absolute().relative_to(common).as_posix() for path in originals]


def _run(jobs: Sequence[_Job], workers: int | None) -> Iterator[tuple[int, list[Score] | Failure]]:
    """Yield (index of the job, outcome) as jobs finish."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 1:
        for index, job in enumerate(jobs):
            yield index, _evaluate_one(job)
        return
    # Forking a process that has run torch threads can hang; spawning is also what macOS and Windows do.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_use_one_thread) as pool:
        futures = {pool.submit(_evaluate_one, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            index = futures[future]
            try:
                yield index, future.result()
            except Exception as error:  # The process died: out of memory, or a crash in a codec.
                yield index, Failure(jobs[index].piece, jobs[index].bitrate, f"The worker process stopped: {error}")


def _use_one_thread() -> None:
    """Keep each worker to one core: the pieces are spread over workers already."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"
    import torch

    torch.set_num_threads(1)


def _evaluate_one(job: _Job) -> list[Score] | Failure:
    """Score one piece at one bitrate, unprocessed and restored by every model."""
    from apollo.audio.codecs import degrade
    from apollo.audio.files import read
    from apollo.audio.resampling import resample

    try:
        waveform, sample_rate = read(job.path)
        original = resample(waveform, sample_rate, SAMPLE_RATE)
        degraded = degrade(original, SAMPLE_RATE, codec=job.codec, bitrate=job.bitrate * 1000)
        scores = [_score(job, UNPROCESSED, original, degraded)]
        for model in job.models:
            restored = _restorer(model, job.device, job.chunk_seconds)(degraded, SAMPLE_RATE)
            scores.append(_score(job, model, original, restored))
    except ApolloError as error:
        return Failure(job.piece, job.bitrate, str(error))
    except Exception as error:  # A bug or a broken file in one piece must not cost the hours spent on the others.
        log.exception("Evaluating %s at %d kbit/s failed", job.piece, job.bitrate)
        return Failure(job.piece, job.bitrate, f"{type(error).__name__}: {error}")
    return scores


def _score(job: _Job, system: str, original: np.ndarray, estimate: np.ndarray) -> Score:
    values = {name: METRICS[name].score(original, estimate, SAMPLE_RATE) for name in job.metrics}
    return Score(job.piece, job.bitrate, system, values)


@cache
def _restorer(model: str, device: str, chunk_seconds: float | None) -> Restorer:
    """Load a model once a process."""
    from apollo.checkpoints import load_model
    from apollo.restoration import Restorer

    network = load_model(model)
    if chunk_seconds is None:
        return Restorer(network, device=device)
    return Restorer(network, chunk_seconds=chunk_seconds, device=device)
