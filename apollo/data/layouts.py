"""Where originals and damaged versions lie: the layouts that people have on disk, and which files belong together.

- *Two folders*: `original/**/<name>.<ext>` beside `codec/**/<name>.<ext>`; names match, extensions may differ.
- *One folder a song*: `<song>/original.<ext>` and `<song>/codec.<ext>`, at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from apollo.audio import SUFFIXES
from apollo.data.folders import Problem, files_of
from apollo.errors import DataError
from apollo.storage import Place, Where, inside

SIDES = (("original", "codec"), ("ori_wav", "codec_wav"))  # what the two sides are called, without their endings


@dataclass(frozen=True)
class Found(Generic[Where]):
    """What a search for pairs has found."""

    place: str  # what was searched, for messages
    pairs: list[tuple[Where, Where]] = field(default_factory=list)  # original and damaged version
    problems: list[Problem] = field(default_factory=list)  # what lacks its partner


def two_folders(original: Where, codec: Where, original_format: str = "", codec_format: str = "") -> Found[Where]:
    """Match the files of two folders by their paths without the endings; a format such as `wav` leaves out others.

    Raises DataError if a folder is missing or holds no such files.
    """
    originals, codecs = by_name(original, original_format), by_name(codec, codec_format)
    problems: list[Problem] = []
    for (folder, own), (other, theirs) in (
        ((original, originals), (codec, codecs)),
        ((codec, codecs), (original, originals)),
    ):
        for name, paths in own.items():
            if len(paths) > 1:
                problems.append(Problem(paths[1], f"{folder} holds the name {name} {len(paths)} times"))
            elif name not in theirs:
                problems.append(Problem(paths[0], f"it has no partner of that name in {other}"))
    pairs = [
        (paths[0], codecs[name][0])
        for name, paths in originals.items()
        if len(paths) == 1 and len(codecs.get(name, ())) == 1
    ]
    return Found(f"{original} and {codec}", pairs, problems)


def by_name(folder: Where, ending: str) -> dict[str, list[Where]]:
    """The audio files below a folder by their relative paths without endings."""
    suffix = f".{ending.lower().lstrip('.')}" if ending else ""
    named: dict[str, list[Where]] = {}
    for path in files_of(folder):
        if not suffix or path.suffix.lower() == suffix:
            named.setdefault(inside(path, folder).with_suffix("").as_posix(), []).append(path)
    if not named:
        raise DataError(f"{folder} holds no {suffix or 'audio'} files: put them there, or name another folder")
    return named


def song_folders(root: Path, original: str, codec: str) -> Found[Path]:
    """Look for one folder a song, at any depth, with two files whose names are given with their endings or without.

    Raises DataError if there is no such folder, or no folder in it.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: give a folder that contains one folder per song")
    songs = sorted(path for path in root.rglob("*") if path.is_dir() and not path.name.startswith("."))
    if not songs:
        raise DataError(f"{root} contains no folders: give one folder per song, with {original} and {codec} in it")
    found: Found[Path] = Found(str(root))
    for song in songs:
        sides = [named(song, name) for name in (original, codec)]
        if all(len(side) == 1 for side in sides):
            found.pairs.append((sides[0][0], sides[1][0]))
        elif any(len(side) > 1 for side in sides):
            several = next(side for side in sides if len(side) > 1)
            found.problems.append(Problem(song, f"{several[0].name} and {several[1].name} both match"))
        elif any(sides) or not any(path.is_dir() for path in song.iterdir()):
            lacking = [name for name, side in zip((original, codec), sides, strict=True) if not side]
            found.problems.append(Problem(song, f"it lacks {' and '.join(lacking)}"))
    return found


def named(folder: Path, name: str) -> list[Path]:
    """The audio files of a folder that have a name, given with its ending or without."""
    if Path(name).suffix.lower() in SUFFIXES:
        return [folder / name] if (folder / name).is_file() else []
    return sorted(
        path for path in folder.iterdir() if path.stem == name and path.suffix.lower() in SUFFIXES and path.is_file()
    )


def join(parts: Sequence[Found[Where]]) -> Found[Where]:
    """What several searches have found, as one."""
    return Found(
        " and ".join(part.place for part in parts),
        [pair for part in parts for pair in part.pairs],
        [problem for part in parts for problem in part.problems],
    )


def any_layout(root: Where, others: Callable[[Where], None] = lambda path: None) -> tuple[Found[Where], list[Where]]:
    """Look for pairs in all layouts at any depth, here or in a store.

    Gives the pairs, and the audio files that belong to none: clean music. Raises DataError if there is no such folder,
    or no audio in it.
    """
    files = files_of(root, others)
    if not files:
        raise DataError(f"{root} holds no audio: put WAV, FLAC or other audio files there")
    parts: list[Found[Where]] = []
    folders: dict[Where, list[Where]] = {}
    for file in files:
        for parent in file.parents[: len(inside(file, root).parts)]:
            folders.setdefault(parent, [])
        folders[file.parent].append(file)
    for original, codec in SIDES:
        for folder in sorted(folders, key=lambda place: place.parts):
            if folder / original in folders and folder / codec in folders:
                parts.append(two_folders(folder / original, folder / codec))
        for song, here in sorted(folders.items(), key=lambda item: item[0].parts):
            sides = [[file for file in here if file.stem == name] for name in (original, codec)]
            if all(len(side) == 1 for side in sides):
                parts.append(Found(str(song), [(sides[0][0], sides[1][0])]))
            elif sides[1] or len(sides[0]) > 1:
                reason = "it holds several files of one name" if all(sides) else f"it lacks {original}"
                parts.append(Found(str(song), problems=[Problem(song, reason)]))
    found = join(parts)
    used: set[Place] = {path for pair in found.pairs for path in pair}
    used |= {problem.path for problem in found.problems}
    loose = [file for file in files if file not in used and file.parent not in used]
    return Found(str(root), found.pairs, found.problems), loose
