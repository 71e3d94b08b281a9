"""Which files to restore, and where to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apollo.audio import SUFFIXES
from apollo.errors import AudioFileError

RESTORED = ".restored"


@dataclass(frozen=True)
class Task:
    """One file to restore.

    Attributes:
        source: The file to read.
        target: The file to write.
    """

    source: Path
    target: Path


def plan(inputs: Sequence[Path], output: Path | None = None) -> list[Task]:
    """Say which files are to be restored, and where to.

    Folders stand for the audio files in them at any depth, hidden ones and earlier results left out. A restored file is
    called `<name>.restored.flac` and lies beside its source or, where an output folder is given, in that folder at the
    same place as in the folder it came from.

    Args:
        inputs: Files and folders.
        output: A folder, made when it is needed, or for a single file the `.flac` or `.wav` file to write.

    Returns:
        One task a file, each with a target of its own.

    Raises:
        AudioFileError: If a folder holds no audio file, or one output file is asked for several inputs.
    """
    places: dict[Path, Path] = {}
    for path in inputs:
        for source, inside in expand(path):
            places.setdefault(source, output / inside if output else source.parent)
    if output is not None and output.suffix.lower() in SUFFIXES and not is_folder(output):
        if len(inputs) > 1 or is_folder(inputs[0]):
            raise AudioFileError(f"{output} is one file, but there may be several to restore: give a folder instead")
        return [Task(inputs[0], output)]
    names = Counter((place, source.stem) for source, place in places.items())
    tasks: dict[Path, Task] = {}
    for source, place in places.items():
        # song.mp3 beside song.wav: the suffix tells their results apart.
        name = source.stem if names[place, source.stem] == 1 else source.name
        target = place / f"{name}{RESTORED}.flac"
        number = 1
        while target in tasks:
            number += 1
            target = place / f"{name}-{number}{RESTORED}.flac"
        tasks[target] = Task(source, target)
    return list(tasks.values())


def expand(path: Path) -> Iterator[tuple[Path, Path]]:
    """Give the files that a path stands for, each with the folder in which it lies below that path."""
    if not is_folder(path):
        yield path, Path()
        return
    found = 0
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path)
        hidden = any(part.startswith(".") for part in inside.parts)
        if file.suffix.lower() in SUFFIXES and not hidden and not file.stem.endswith(RESTORED) and file.is_file():
            found += 1
            yield file, inside.parent
    if not found:
        raise AudioFileError(f"{path} holds no audio file that is not restored already: give another folder")


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; of one that the system will not even look at, opening it says what is wrong."""
    try:
        return path.is_dir()
    except OSError:
        return False
