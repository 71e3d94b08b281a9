"""Stems on disk as their publishers lay them out, and in a plain layout of our own.

- `musdb`: `train/<song>/{vocals,drums,bass,other,mixture}.wav`, and `test` beside it (MUSDB18-HQ);
- `moisesdb`: `<song>/<instrument>/*.wav`; audio beside the instruments' folders is no stem and left out;
- `folders`: `<song>/<class>[_n].{flac,wav,...}`, all of a song aligned; `mixture.*` is the song itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from apollo.data.folders import files_of
from apollo.errors import DataError

log = logging.getLogger(__name__)

Corpus = Literal["musdb", "moisesdb", "folders"]

CLASSES = (
    "bass",
    "bowed_strings",
    "drums",
    "guitar",
    "other",
    "other_keys",
    "other_plucked",
    "percussion",
    "piano",
    "vocals",
    "wind",
)
MIXTURE = "mixture"
OTHER = "other"

_MUSDB_STEMS = ("bass", "drums", "other", "vocals")


@dataclass(frozen=True)
class Stem:
    """What becomes one file of a store."""

    kind: str  # one of `CLASSES`, or `MIXTURE`
    sources: tuple[Path, ...]  # the files whose sum it is: one, but for a mixture made of a song's stems


def find_stems(corpus: Corpus, root: Path, include_test: bool = False) -> list[Stem]:
    """All stems and mixtures of a corpus, in the order of their names.

    Every file is a stem of its own, also where a song has several of one class. A mixture is the song's own file where
    it has one, else the sum of its stems. Kinds that are none of the 11 classes are taken as `other`, with one warning.
    The test songs of MUSDB are what models are judged on, so they are taken only on request. Raises DataError if there
    is no such folder, or nothing in it has that layout.
    """
    if corpus not in get_args(Corpus):
        raise DataError(f"there is no corpus {corpus!r}: choose one of {', '.join(get_args(Corpus))}")
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: give the folder that holds the songs")
    songs: dict[Path, list[Path]] = {}
    if corpus == "musdb":
        for path in _musdb_files(root, include_test):
            songs.setdefault(path.parent, []).append(path)
    elif corpus == "moisesdb":
        paths = files_of(root)
        not_instruments = {root}.union(*(path.parent.parents for path in paths))
        for path in paths:
            if path.parent not in not_instruments:
                songs.setdefault(path.parent.parent, []).append(path)
    else:
        for path in files_of(root):
            songs.setdefault(path.parent, []).append(path)
        if root in songs:
            raise DataError(f"{root} holds audio files itself: give a folder of songs with one folder of stems each")
    if not songs:
        raise DataError(f"{root} holds no stems laid out as {corpus}: see 'apollo data stems --help' for the layouts")
    stems = []
    unknown: set[str] = set()
    for paths in songs.values():
        kinds = {path: path.parent.name if corpus == "moisesdb" else path.stem for path in paths}
        parts = tuple(path for path in paths if kind_of(kinds[path]) != MIXTURE)
        for path in parts:
            kind = kind_of(kinds[path])
            if kind is None:
                unknown.add(kinds[path])
            stems.append(Stem(kind or OTHER, (path,)))
        whole = tuple(path for path in paths if path not in parts)
        stems.append(Stem(MIXTURE, whole[:1] or parts))
    if unknown:
        log.warning("treated stems of unknown kind as %r: %s", OTHER, ", ".join(sorted(unknown)))
    return stems


def kind_of(name: str) -> str | None:
    """Tell the class that a file or folder is named after, `mixture` included: `guitar_2` is a `guitar`.

    Example:
        >>> kind_of("guitar_2"), kind_of("Other Keys"), kind_of("mixture"), kind_of("theremin")
        ('guitar', 'other_keys', 'mixture', None)
    """
    kind = re.sub(r"_\d+$", "", re.sub(r"[\s-]+", "_", name.strip().lower()))
    return kind if kind in CLASSES or kind == MIXTURE else None


def _musdb_files(root: Path, include_test: bool) -> Iterator[Path]:
    top = next((folder for folder in (root, root / "musdb18hq") if (folder / "train").is_dir()), None)
    if top is None:
        raise DataError(f"{root} holds no folder 'train': give the folder of MUSDB18-HQ that holds train and test")
    for part in ("train", "test") if include_test else ("train",):
        for song in sorted(path for path in (top / part).glob("*") if path.is_dir()):
            for name in (*_MUSDB_STEMS, MIXTURE):
                if (song / f"{name}.wav").is_file():
                    yield song / f"{name}.wav"
