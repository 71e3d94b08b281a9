"""Pairs of originals and damaged versions made once and kept on disk, for those who train on files.

A pair is aligned and of equal length and rate, whatever the codec. The original is the source itself, byte for byte,
where that is FLAC or WAV, else what it decodes to; the damaged side is what the codec's output decodes to. Whatever is
decoded is written as WAV in 32-bit floating point: a decoded MP3 exceeds full scale as soon as the music comes near it,
and integers would clip it or change the level of one side.

What is done to a source depends on the seed and on its path below the source folder alone. Every file appears whole or
not at all, and a pair is in the manifest only when both of its files are there, so a second run knows what is left to
do and ends where one that nothing interrupted would have ended.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import soundfile

from apollo.atomic import clear_unfinished, replacing
from apollo.audio import AudioReader, AudioWriter
from apollo.audio.libsndfile import open_soundfile
from apollo.audio.signal import Signal
from apollo.data.degradation import Degradation, RandomCodec, degraded
from apollo.data.folders import Problem, files_of
from apollo.data.manifest import MANIFEST, Pair, Written, read_manifest, refuse_outside, write_manifest
from apollo.errors import ApolloError, ConfigError, DataError, unexpected
from apollo.work import Ledger, Progress, resumable, run

Layout = Literal["songs", "folders"]

_COPIED = {"FLAC": ".flac", "WAV": ".wav", "WAVEX": ".wav", "RF64": ".wav"}
_LOSSLESS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class PairsReport:
    """What was made of a folder of music."""

    manifest: Path  # the list of all pairs, a JSON object a line
    made: int  # pairs made now
    kept: int  # pairs that an earlier run had finished
    failures: tuple[Problem, ...]  # sources that no pair could be made of, and why


def degrade_folder(
    source: Path,
    target: Path,
    *,
    layout: Layout = "songs",
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> PairsReport:
    """Make a pair of every audio file below a folder, or go on where an earlier run was ended.

    `songs` gives `<name>/original.<ext>` and `<name>/codec.wav`, `folders` gives `original/<name>.<ext>` and
    `codec/<name>.wav`, where the name is the source's path below its folder without the suffix; sources that would
    share one keep their suffix. Any rate and number of channels will do; more than two are coded pair by pair. Memory
    does not depend on the length of files, but for Vorbis (see `apollo.audio.codecs.coded`).

    Pairs that are finished are made again only where their source or what is to be done to it has changed.

    Args:
        source: Folder of music; it is only read.
        target: Folder of pairs and of `MANIFEST`; made if need be.
        layout: How pairs are laid out.
        options: Those of `RandomCodec`.
        workers: Processes at work.
        seed: Of all choices, from 0.
        progress: Called with the number of sources dealt with, the number of all, and the path of the last: once at
            the start and after every source.

    Returns:
        How many pairs were made, and which sources had to be left out.

    Raises:
        ConfigError: If an option cannot be used.
        DataError: If there is no audio, one folder lies in the other, the target cannot be written, or a process was
            killed. What is finished stays and the next run goes on.
    """
    if layout not in ("songs", "folders") or workers < 1 or seed < 0:
        raise ConfigError(
            f"layout must be 'songs' or 'folders', workers at least 1 and seed at least 0, not {layout!r}, {workers} "
            f"and {seed}"
        )
    codec_options = dict(options or {})
    try:
        RandomCodec(44100, **codec_options)
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    paths = files_of(source)
    if not paths:
        raise DataError(f"{source} holds no audio files: give a folder of music")
    inside, outside = target.resolve(), source.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise DataError(f"{target} and {source} must not contain each other: give a folder elsewhere for the pairs")
    with resumable(target, "pairs", MANIFEST):
        pairs = _resume(target)
        jobs = []
        for path, name in _names(source, paths).items():
            files = [f"{name}/{side}" if layout == "songs" else f"{side}/{name}" for side in ("original", "codec")]
            refuse_outside(target, files)
            earlier = pairs.get(f"{files[1]}.wav")
            jobs.append(_Job(source, path, target, files[0], files[1], codec_options, seed, earlier))
        made, kept, failures = 0, 0, []
        with Ledger(target / MANIFEST) as manifest:
            for job, outcome in run(_make, jobs, workers, progress, lambda job: job.source):
                if isinstance(outcome, Problem):
                    failures.append(outcome)
                    pairs.pop(f"{job.codec}.wav", None)
                elif outcome is None:
                    kept += 1
                else:
                    made += 1
                    pairs[outcome.codec.path] = outcome
                    manifest.add(asdict(outcome))
        write_manifest(target, pairs.values())
    failures.sort(key=lambda failure: failure.path.parts)
    return PairsReport(target / MANIFEST, made, kept, tuple(failures))


@dataclass(frozen=True)
class _Job:
    """One source, and where its pair is to lie: `original` lacks its suffix, as `codec` does."""

    root: Path
    source: str
    target: Path
    original: str
    codec: str
    options: dict[str, Any]
    seed: int
    earlier: Pair | None


def _names(root: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Each source's path below the root with the name of its pair, no two alike even where case does not count."""
    sources = [path.relative_to(root) for path in paths]
    shared = Counter(source.with_suffix("").as_posix().casefold() for source in sources)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for source in sources:
        name = source.with_suffix("").as_posix()
        if shared[name.casefold()] > 1:
            name = source.as_posix()
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[source.as_posix()] = name
    return names


def _resume(target: Path) -> dict[str, Pair]:
    """Take over what is finished, by the path of its damaged side, and clear away what is not."""
    pairs = {pair.codec.path: pair for pair in read_manifest(target / MANIFEST)}
    clear_unfinished(target)
    write_manifest(target, pairs.values())
    return pairs


def _make(job: _Job) -> Pair | Problem | None:
    """Make one pair, or say why it cannot be made; None where it is there already."""
    path = job.root / job.source
    try:
        sha256 = _sha256(path)
        if job.earlier is not None:
            if _is_finished(job, job.earlier, sha256):
                return None
            for side in (job.earlier.original, job.earlier.codec):
                (job.target / side.path).unlink(missing_ok=True)
        return _pair(job, path, sha256)
    except ApolloError as error:
        return Problem(path, str(error))
    except UnicodeError:
        return Problem(path, "its name is not valid text, which libraries that read audio need: rename it")
    except OSError as error:
        return Problem(path, f"its pair cannot be made ({error.strerror or error})")
    except Exception as error:
        return Problem(path, str(unexpected(path, error)))


def _is_finished(job: _Job, earlier: Pair, sha256: str) -> bool:
    sides = (earlier.original, earlier.codec)
    files = [job.target / side.path for side in sides]
    return (
        earlier.source == job.source
        and earlier.sha256 == sha256
        and earlier.degradation == _choose(job, earlier.sample_rate, earlier.channels).as_dict()
        and PurePosixPath(earlier.original.path).with_suffix("").as_posix() == job.original
        and all(file.is_file() and file.stat().st_size == side.bytes for file, side in zip(files, sides, strict=True))
    )


def _choose(job: _Job, sample_rate: int, channels: int) -> Degradation:
    """What is to be done to a source: a function of the seed and its path, and of its width."""
    number = int.from_bytes(hashlib.sha256(job.source.encode()).digest()[:16], "big")
    return RandomCodec(sample_rate, **job.options).choose(np.random.default_rng((job.seed, number)), channels)


def _pair(job: _Job, path: Path, sha256: str) -> Pair:
    sample_rate, channels, samples = _measure(path)
    degradation = _choose(job, sample_rate, channels)
    for name in (job.original, job.codec):
        (job.target / name).parent.mkdir(parents=True, exist_ok=True)
    damaged = job.target / f"{job.codec}.wav"
    song = Signal(sample_rate, channels, samples, Signal.of_file(path).blocks)
    sides = {"codec": _write_wav(damaged, degraded(song, degradation))}
    try:
        suffix = _copied_suffix(path)
        original = job.target / f"{job.original}{suffix or '.wav'}"
        if suffix is None:
            sides["original"] = _write_wav(original, song)
        else:
            with replacing(original) as temporary:
                shutil.copyfile(path, temporary)
            sides["original"] = sha256
    except BaseException:
        damaged.unlink(missing_ok=True)
        raise
    written = {
        side: Written(file.relative_to(job.target).as_posix(), file.stat().st_size, sides[side])
        for side, file in (("original", original), ("codec", damaged))
    }
    return Pair(job.source, sha256, sample_rate, channels, samples, degradation.as_dict(), **written)


def _measure(path: Path) -> tuple[int, int, int]:
    """Rate, channels and samples of a file, read to its end to find out what is wrong before anything is written."""
    samples = 0
    with AudioReader(path) as reader:
        for block in reader.blocks():
            samples += block.shape[1]
            if not np.isfinite(block).all():
                raise DataError(f"{path} holds NaN or infinite samples, which no codec can encode: clean it first")
        if samples == 0:
            raise DataError(f"{path} contains no audio samples: give another file")
        if samples < (reader.frames or 0):
            raise DataError(f"{path} ends after {samples} of {reader.frames} samples: copy or download it again")
        return reader.sample_rate, reader.channels, samples


def _copied_suffix(path: Path) -> str | None:
    """The suffix under which a lossless file may be copied as it is, whatever it was called; else None."""
    try:
        with open_soundfile(path) as file:
            return _COPIED.get(file.format) if file.subtype in _LOSSLESS else None
    except (soundfile.LibsndfileError, TypeError):
        return None


def _write_wav(path: Path, signal: Signal) -> str:
    """Write 32-bit floating point and give its SHA-256."""
    written = 0
    with AudioWriter(path, signal.sample_rate, signal.channels, "FLOAT") as writer:
        for block in signal.blocks():
            writer.write(block)
            written += block.shape[1]
        if written != signal.samples:
            raise DataError(
                f"{path} would get {written} samples instead of {signal.samples}: its source changed while it was read"
            )
    return _sha256(path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
