"""How the two sides of a pair relate, remembered from one run to the next: measuring takes a while on many files."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from apollo.atomic import replacing
from apollo.audio import Relation, relate
from apollo.storage import Place, Url, origin

METHOD = 1  # counts up when what is measured changes


def relation_of(original: Path, codec: Path) -> Relation:
    """Measure how two files relate, or remember it if neither has changed; AudioFileError if one is unreadable."""
    memory = memory_folder() / f"{fingerprint(original, codec)}.json"
    try:
        return Relation(**json.loads(memory.read_text()))
    except (OSError, ValueError, TypeError):
        relation = relate(original, codec)
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with replacing(memory) as temporary:
            temporary.write_text(json.dumps(asdict(relation)))
    except OSError:  # a full or read-only disk costs the memory, not the run
        pass
    return relation


def fingerprint(*places: Place) -> str:
    """A name for the present state of some files or objects: their paths, sizes and times of change or versions."""
    return sha256(json.dumps([METHOD, [state(place) for place in places]]).encode()).hexdigest()[:32]


def state(place: Place) -> tuple[str, int | None, int | str]:
    """What a file, or the object that it is at hand for, is called, and what changes with it."""
    source = place if isinstance(place, Url) else origin(place)
    if isinstance(source, Url):
        return source.state()
    status = source.stat()
    return str(source.resolve()), status.st_size, status.st_mtime_ns


def memory_folder() -> Path:
    """Where relations are remembered: `apollo/pairs` in the user's cache folder."""
    if "XDG_CACHE_HOME" in os.environ:
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local")))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "apollo" / "pairs"
