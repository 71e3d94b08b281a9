"""The list of a folder's pairs: which file was damaged how, and what came of it, a JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apollo.atomic import replacing
from apollo.errors import DataError
from apollo.work import as_line, entries_of

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Written:
    """One file of a pair."""

    path: str  # relative to the folder of pairs
    bytes: int
    sha256: str  # of all of it, in hexadecimal


@dataclass(frozen=True)
class Pair:
    """A line of the manifest."""

    source: str  # path relative to the source folder
    sha256: str  # of the source, in hexadecimal
    sample_rate: int  # of source, original and damaged version, in Hz
    channels: int  # of all three
    samples: int  # of all three, in each channel
    degradation: dict[str, Any]  # what was done, as `Degradation.as_dict` gives it
    original: Written  # the clean side
    codec: Written  # the damaged side


def read_manifest(path: Path) -> list[Pair]:
    """The pairs in a manifest; a line that a killed run left half-written is passed over."""
    pairs = []
    for entry in entries_of(path):
        try:
            sides = {side: Written(**entry[side]) for side in ("original", "codec")}
            if not all(is_inside(path.parent, side.path) for side in sides.values()):
                continue  # what a run replaces or removes lies in its own folder, whatever the manifest says
            pairs.append(Pair(**{**entry, **sides}))
        except (TypeError, KeyError):
            continue
    return pairs


def is_inside(folder: Path, path: str) -> bool:
    """Tell whether a relative path stays in a folder, wherever links on the way lead."""
    place = Path(path)
    if place.is_absolute() or place.drive or ".." in place.parts or "\0" in path:
        return False
    try:
        return (folder / place).parent.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def refuse_outside(folder: Path, paths: Iterable[str]) -> None:
    """Raise DataError if a link leads what is to be written or removed out of its folder."""
    for path in paths:
        if not is_inside(folder, path):
            raise DataError(f"{folder / path} leads out of {folder}: remove the link, or give another folder")


def write_manifest(target: Path, pairs: Iterable[Pair]) -> None:
    """Rewrite the manifest of a folder of pairs, sorted by damaged side."""
    with replacing(target / MANIFEST) as temporary:
        lines = [as_line(asdict(pair)) for pair in sorted(pairs, key=lambda pair: pair.codec.path)]
        temporary.write_text("".join(lines), encoding="utf-8")
