"""From a corpus of stems to a store: planned in one place, built by many processes, resumed after any end.

The plan is a pure function of the corpus: the files in the order of their names, numbered by class. It is written
first, as `manifest.json`, and every file of the store is written whole or not at all, so a second run knows what is
left to do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from apollo.atomic import clear_unfinished, replacing
from apollo.audio import AudioReader, Resampler
from apollo.data.activity import HOP_SECONDS, active_segments, block_powers, hops
from apollo.data.folders import Waveform, as_stereo
from apollo.data.hdf5 import stored
from apollo.data.manifest import refuse_outside
from apollo.data.stem_corpus import Corpus, find_stems
from apollo.data.store import SUFFIX, SampleType, write_segments
from apollo.errors import ApolloError, AudioFileError, DataError, unexpected
from apollo.work import Progress, resumable, run

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoreFile:
    """One line of the manifest: a file of the store, and what became of it."""

    name: str  # relative to the store
    sources: tuple[str, ...]  # the files whose sum it is, relative to the corpus
    bytes: tuple[int, ...]  # their sizes; where one has changed, the file is made again
    # How many it holds; 0 where nothing is active and no file was written; None where it was not made.
    segments: int | None = None
    problem: str | None = None  # what kept it from being made, or what was repaired


@dataclass(frozen=True)
class StoreReport:
    """What a store holds, and what it lacks."""

    segments: dict[str, int]  # number of segments of 6 s by class, `mixture` included
    files: int  # number of files in the store
    kept: int  # how many of them an earlier run had finished
    silent: tuple[str, ...]  # sources, or sums of them, in which nothing is active
    unreadable: tuple[str, ...]  # a sentence for each file that was not made because a source cannot be read
    # A sentence for each source that holds samples which are not numbers; they became silence.
    repaired: tuple[str, ...]


def build_store(
    corpus: Corpus,
    source: Path,
    target: Path,
    *,
    dtype: SampleType = "float32",
    include_test: bool = False,
    workers: int = 1,
    sample_rate: int = 44100,
    progress: Progress | None = None,
) -> StoreReport:
    """Build a store of the active segments of all stems, or go on where a run was ended.

    Stems are resampled; mono is made stereo, of more channels the first two are taken; samples that are not numbers
    become silence. A song's mixture is left out where one of its stems cannot be read. What cannot be read is reported
    and tried again in the next run. Memory does not depend on the length of songs. The corpus is only read.

    Args:
        corpus: Layout of the corpus; see `apollo.data.stem_corpus`.
        source: Its folder.
        target: The store; made if need be.
        dtype: Of the samples. The loader of the published code reads float32 only, since it takes values as they are;
            int16, half the samples' size and exact for 16-bit stems, is for `StemStore`.
        include_test: Whether MUSDB's test songs are taken too.
        workers: Processes at work.
        sample_rate: Of the store, in Hz.
        progress: Called with the number of files dealt with, the number of all, and the name of the last: once at the
            start, with what an earlier run had finished, and after every file.

    Raises:
        DataError: If there is no such corpus, the target holds something else or was started with other settings or
            songs, cannot be written, or a process was killed. What is finished stays and the next run goes on.
    """
    if dtype not in get_args(SampleType) or workers < 1 or sample_rate < 1000:
        raise DataError(
            f"dtype must be one of {', '.join(get_args(SampleType))}, workers at least 1 and the sample rate at least "
            f"1000 Hz, not {dtype!r}, {workers} and {sample_rate}"
        )
    settings = {"corpus": corpus, "dtype": dtype, "include_test": include_test, "sample_rate": sample_rate}
    plan = plan_store(corpus, source, include_test)
    if target.is_file():
        raise DataError(f"{target} is a file: give a folder for the store")
    songs = source.resolve()
    if target.resolve() == songs or (corpus == "folders" and target.resolve().is_relative_to(songs)):
        raise DataError(f"{target} lies among the songs of {source}: give a folder elsewhere for the store")
    with resumable(target, "files"):
        refuse_outside(target, [file.name for file in plan])
        plan = _resume(target, settings, plan)
        for folder in {(target / file.name).parent for file in plan}:
            folder.mkdir(parents=True, exist_ok=True)
        _write_manifest(target, source, settings, plan)
        done = {file.name: file for file in plan if file.segments is not None}
        kept = sum(1 for file in done.values() if file.segments)
        jobs = [(file, source, target, dtype, sample_rate) for file in plan if file.name not in done]
        for _, finished in run(_make, jobs, workers, progress, lambda job: job[0].name, len(done)):
            done[finished.name] = finished
        plan = [done[file.name] for file in plan]
        _write_manifest(target, source, settings, plan)
    return _report(plan, kept)


def plan_store(corpus: Corpus, source: Path, include_test: bool = False) -> list[StoreFile]:
    """Say which files a store will have, in the order in which they are numbered; raises DataError as `find_stems`."""
    numbers: Counter[str] = Counter()
    plan = []
    for stem in find_stems(corpus, source, include_test):
        plan.append(
            StoreFile(
                f"{stem.kind}/sample{numbers[stem.kind]}{SUFFIX}",
                tuple(path.relative_to(source).as_posix() for path in stem.sources),
                tuple(path.stat().st_size for path in stem.sources),
            )
        )
        numbers[stem.kind] += 1
    return plan


def _resume(target: Path, settings: dict[str, Any], plan: list[StoreFile]) -> list[StoreFile]:
    """Take over what an earlier run finished, and clear away what it did not."""
    manifest = target / MANIFEST
    if not manifest.is_file():
        if any(target.glob(f"*/*{SUFFIX}")):
            raise DataError(f"{target} holds a store without {MANIFEST}, made by something else: give another folder")
        return plan
    try:
        text = json.loads(manifest.read_text(encoding="utf-8"))
        earlier = [
            StoreFile(**{**file, "sources": tuple(file["sources"]), "bytes": tuple(file["bytes"])})
            for file in text["files"]
        ]
        begun_with = dict(text["settings"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{manifest} is damaged: give another folder, or remove this one") from None
    if begun_with != settings:
        different = ", ".join(f"{name}={value}" for name, value in begun_with.items() if value != settings.get(name))
        raise DataError(f"{target} was started with other settings ({different}): use those, or give another folder")
    if [(file.name, file.sources) for file in earlier] != [(file.name, file.sources) for file in plan]:
        raise DataError(f"{target} was started with other songs than the corpus holds now: give another folder")
    clear_unfinished(target)
    return [_take_over(target, old, new) for old, new in zip(earlier, plan, strict=True)]


def _take_over(target: Path, old: StoreFile, new: StoreFile) -> StoreFile:
    path = target / new.name
    if old.bytes != new.bytes:
        path.unlink(missing_ok=True)  # before the manifest says otherwise
    elif path.is_file():
        try:
            with stored(path) as file:
                return replace(new, segments=int(file.data.shape[0]), problem=file.problem)
        except AudioFileError:
            path.unlink()
    elif old.segments == 0:
        return old
    return new


def _write_manifest(target: Path, source: Path, settings: dict[str, Any], plan: Sequence[StoreFile]) -> None:
    text = {"source": str(source.resolve()), "settings": settings, "files": [asdict(file) for file in plan]}
    with replacing(target / MANIFEST) as temporary:
        temporary.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


Job = tuple[StoreFile, Path, Path, SampleType, int]


def _make(job: Job) -> StoreFile:
    """Make one file of a store, in two passes over its sources: which segments are active, then those segments."""
    file, source, target, dtype, sample_rate = job
    paths = [source / name for name in file.sources]
    repaired: set[Path] = set()
    powers, peak = [np.zeros(0)], 0.0
    try:
        for hop in _summed(paths, sample_rate, repaired):
            powers.append(block_powers(hop, sample_rate))
            peak = max(peak, float(np.abs(hop).max(initial=0.0)))
        problem = None
        if repaired:
            names = ", ".join(str(path) for path in sorted(repaired))
            problem = f"{names} contains NaN or infinite samples; they were replaced by silence"
        if active := active_segments(np.concatenate(powers)):
            stream = _summed(paths, sample_rate, repaired)
            write_segments(target / file.name, stream, active, sample_rate, dtype, peak, problem)
    except ApolloError as error:
        return replace(file, problem=str(error))
    except OSError:  # of the target: it concerns them all
        raise
    except Exception as error:
        return replace(file, problem=str(unexpected(paths[0], error)))
    return replace(file, segments=len(active), problem=problem)


def _summed(paths: Sequence[Path], sample_rate: int, repaired: set[Path]) -> Iterator[Waveform]:
    """The sum of files in hops of 3 s, `(2, 3 · sample_rate)`, the last one shorter; as long as the longest of them."""
    streams = [hops(_stereo(path, sample_rate, repaired), sample_rate) for path in paths]
    length = HOP_SECONDS * sample_rate
    while True:
        pieces = [piece for stream in streams if (piece := next(stream, None)) is not None]
        if not pieces:
            return
        total = np.zeros((2, min(length, max(piece.shape[1] for piece in pieces))), np.float32)
        for piece in pieces:
            total[:, : piece.shape[1]] += piece
        yield total


def _stereo(path: Path, sample_rate: int, repaired: set[Path]) -> Iterator[Waveform]:
    """A file block by block, `(2, any number of samples)`; raises AudioFileError if it cannot be read to its end."""
    with AudioReader(path) as reader:
        channels = min(2, reader.channels)
        resampler = Resampler(reader.sample_rate, sample_rate, channels)
        received = 0
        for block in (block[:channels] for block in reader.blocks()):
            received += block.shape[1]
            finite = np.isfinite(block)
            if not finite.all():
                repaired.add(path)
                block = np.where(finite, block, np.float32(0))
            yield as_stereo(resampler.process(block))
        if received < (reader.frames or 1):
            raise AudioFileError(f"{path} ends after {received} of {reader.frames} samples: copy or download it again")
        yield as_stereo(resampler.process(np.zeros((channels, 0), np.float32), last=True))


def _report(plan: Sequence[StoreFile], kept: int) -> StoreReport:
    segments: Counter[str] = Counter()
    for file in plan:
        if file.segments:
            segments[file.name.split("/")[0]] += file.segments
    return StoreReport(
        segments=dict(sorted(segments.items())),
        files=sum(1 for file in plan if file.segments),
        kept=kept,
        silent=tuple(" + ".join(file.sources) for file in plan if file.segments == 0),
        unreadable=tuple(f"{file.name} was not made: {file.problem}" for file in plan if file.segments is None),
        repaired=tuple(file.problem for file in plan if file.problem and file.segments is not None),
    )
