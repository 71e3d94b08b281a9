"""The files to restore, and where the results go."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apollo.audio import SUFFIXES, audio_files
from apollo.audio.folders import LOSSLESS
from apollo.errors import ApolloError, AudioFileError
from apollo.restoration.output import check_format
from apollo.storage import Place, Url, inside

RESTORED = ".restored"


@dataclass(frozen=True)
class Task:
    """One file to restore."""

    source: Place  # the file or object to read
    target: Place  # the file or object to write
    track: int | None = None  # which of the source's audio tracks, counted from 1; None is the default one


def plan(
    inputs: Sequence[Place],
    output: Place | None = None,
    file_format: str | None = None,
    others: Callable[[Place], None] = lambda path: None,
    track: int | None = None,
) -> list[Task]:
    """List the files to restore, and where their results go.

    A folder stands for the audio files in it at any depth, without hidden files and earlier results. A pattern such as
    `*.mp3`, which some shells do not expand, stands for the files and folders that match. If an input is an earlier
    result of another input, it is left out. A result is called `<name>.restored.flac`. It goes beside its source or, if
    an output folder is given, to the same place in that folder as the source has in its own.

    Args:
        inputs: Files, folders and patterns, here or in a store.
        output: A folder, which is made when needed, or for a single input the file to write.
        file_format: One of `apollo.audio.FORMATS`; None is that of the output file's name, and FLAC otherwise.
        others: Called with every file in a folder whose name is not that of audio; it is skipped.
        track: Which audio track of each file, counted from 1; None is the default one.

    Returns:
        One task a file, each with its own target.

    Raises:
        AudioFileError: If a folder holds no audio file, a pattern matches nothing, or one output file is asked for
            several inputs.
        ApolloError: If the format is unknown, or the output file's name has another.
    """
    suffix = f".{check_format(file_format or 'flac')}"
    inputs = without_results([match for path in inputs for match in matches(path)])
    places: dict[Place, Place] = {}
    for path in inputs:
        for source, folder in expand(path, others):
            places.setdefault(source, output / folder if output else source.parent)
    if output is not None and output.suffix.lower() in SUFFIXES and not is_folder(output):
        if len(inputs) > 1 or is_folder(inputs[0]):
            raise AudioFileError(f"{output} is one file, but there may be several to restore: give a folder instead")
        if file_format is not None and output.suffix.lower() != suffix:
            raise ApolloError(
                f"{output} is not named like a file in the format {file_format}: leave out one of the two"
            )
        return [Task(inputs[0], output, track)]
    names = Counter((place, source.stem) for source, place in places.items())
    tasks: dict[Place, Task] = {}
    for source, place in places.items():
        # For song.mp3 beside song.wav, the suffix tells their results apart.
        name = source.stem if names[place, source.stem] == 1 else source.name
        target = place / f"{name}{RESTORED}{suffix}"
        number = 1
        while target in tasks:
            number += 1
            target = place / f"{name}-{number}{RESTORED}{suffix}"
        tasks[target] = Task(source, target, track)
    return list(tasks.values())


def likely_seconds(source: Place) -> float:
    """Estimate a recording's length from its size, fast enough for a million files."""
    try:
        size = source.size if isinstance(source, Url) else source.stat().st_size
    except OSError:
        size = None
    return (size or 0) / (100_000 if source.suffix.lower() in LOSSLESS else 25_000)


def without_results(inputs: Sequence[Place]) -> list[Place]:
    """Leave out inputs named like the result of another input beside them."""
    known = {(path.parent, name) for path in inputs for name in (path.name, path.stem)}
    return [
        path
        for path in inputs
        if not (path.stem.endswith(RESTORED) and (path.parent, path.stem.removesuffix(RESTORED)) in known)
    ]


def matches(path: Place) -> list[Place]:
    """Give what matches a pattern, or the path itself if it is not a pattern."""
    try:
        if not glob.has_magic(str(path)) or path.exists():
            return [path]
    except OSError:  # a name too long
        return [path]
    found: list[Place] = [match for match in matching(path) if not match.stem.endswith(RESTORED) or match.is_dir()]
    if not found:
        raise AudioFileError(f"nothing matches {path}: check the pattern")
    return found


def matching(path: Place) -> Sequence[Place]:
    """Give everything that matches a pattern."""
    if isinstance(path, Url):
        return path.matches()
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  Path.glob is relative


def expand(path: Place, others: Callable[[Place], None]) -> Iterator[tuple[Place, Path]]:
    """Give the files that a path stands for, each with its folder below that path."""
    if not is_folder(path):
        yield path, Path()
        return
    results = True
    for file in audio_files(path, others):
        if not file.stem.endswith(RESTORED):
            results = False
            yield file, inside(file, path).parent
    if results:
        raise AudioFileError(f"{path} contains no audio files other than restored ones: give another folder")


def is_folder(path: Place) -> bool:
    """Tell whether a path is a folder; if the system refuses to say, opening it will tell why."""
    try:
        return path.is_dir()
    except OSError:
        return False
