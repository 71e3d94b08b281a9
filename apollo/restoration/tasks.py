"""The files to restore, and where the results go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apollo.audio import SUFFIXES, audio_files
from apollo.audio.folders import LOSSLESS, is_folder, matches
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
    problem: str = ""  # why it cannot be done: its source is a folder without music, or a pattern that matches nothing


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
    result of another input, it is left out. One that stands for nothing becomes a task with a problem. A result is
    called `<name>.restored.flac`. It goes beside its source or, if an output folder is given, to the same place in that
    folder as the source has in its own.

    Args:
        inputs: Files, folders and patterns, here or in a store.
        output: A folder, which is made when needed, or for a single input the file to write.
        file_format: One of `apollo.audio.FORMATS`; None is that of the output file's name, and FLAC otherwise.
        others: Called with every file in a folder whose name is not that of audio; it is skipped.
        track: Which audio track of each file, counted from 1; None is the default one.

    Returns:
        One task a file, each with its own target, even on a disk that does not tell `A` from `a`.

    Raises:
        AudioFileError: If no input stands for anything, or one output file is asked for several inputs.
        ApolloError: If the format is unknown, or the output file's name has another.
    """
    suffix = f".{check_format(file_format or 'flac')}"
    found: list[Place] = []
    places: dict[Place, Place] = {}
    problems: dict[Place, AudioFileError] = {}
    for path in inputs:
        try:
            found += matches(path, lambda match: not match.stem.endswith(RESTORED) or match.is_dir())
        except AudioFileError as error:
            problems[path] = error
    found = without_results(found)
    for path in found:
        try:
            for source, folder in expand(path, others):
                places.setdefault(source, output / folder if output else source.parent)
        except AudioFileError as error:
            problems[path] = error
    if problems and not places:
        raise next(iter(problems.values()))
    if output is not None and output.suffix.lower() in SUFFIXES and not is_folder(output):
        if len(found) > 1 or problems or is_folder(found[0]):
            raise AudioFileError(f"{output} is one file, but there may be several to restore: give a folder instead")
        if file_format is not None and output.suffix.lower() != suffix:
            raise ApolloError(
                f"{output} is not named like a file in the format {file_format}: leave out one of the two"
            )
        return [Task(found[0], output, track)]
    failing = [
        Task(path, (output or path.parent) / f"{path.name}{RESTORED}{suffix}", track, str(error))
        for path, error in problems.items()
    ]
    return [*named(places, suffix, track), *failing]


def named(places: Mapping[Place, Place], suffix: str, track: int | None) -> list[Task]:
    """Name the result of each source in the folder that it goes to, each differently."""
    names = Counter((place, source.stem.casefold()) for source, place in places.items())
    tasks: dict[str, Task] = {}
    for source, place in places.items():
        # For song.mp3 beside song.wav, the suffix tells their results apart.
        name = source.stem if names[place, source.stem.casefold()] == 1 else source.name
        target = place / f"{name}{RESTORED}{suffix}"
        number = 1
        while str(target).casefold() in tasks:
            number += 1
            target = place / f"{name}-{number}{RESTORED}{suffix}"
        tasks[str(target).casefold()] = Task(source, target, track)
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
