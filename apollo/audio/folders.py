"""The audio files in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from apollo.audio.decoders import SUFFIXES

__all__ = ["audio_files"]


def audio_files(root: Path) -> list[Path]:
    """The files below a folder, at any depth, whose names are those of audio, sorted; hidden ones are left out.

    Links to folders are not followed. A folder that may not be looked into is given itself, lest what it holds be
    missed in silence: whoever opens it learns what is wrong.
    """
    found: list[Path] = []

    def closed(error: OSError) -> None:
        found.append(Path(error.filename))

    for folder, folders, names in os.walk(root, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(folder, name) for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and _is_file(path)]
    return sorted(found)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # opening it will say what is wrong
        return True
