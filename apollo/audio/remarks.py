"""What a listener would not expect of a file: told once, and kept for whoever writes a report."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from apollo.errors import some_of
from apollo.storage import Place, origin

log = logging.getLogger(__name__)

_MOST_PLACES = 5  # of damage that are named


@dataclass(frozen=True)
class Remarks:
    """What was met in a file while it was read from its start."""

    track: int = 1  # which of its audio tracks was read, counted from 1
    tracks: int = 1  # how many it has
    changes: tuple[str, ...] = ()  # sample rates and layouts that it changes to on the way, such as "22050 Hz in mono"
    start: str = ""  # those of its start, to which all of it is brought
    # What could not be decoded: where it begins and how long it is, both in seconds.
    damage: tuple[tuple[float, float], ...] = ()
    missing: float = 0.0  # seconds that should follow behind its end by what its header says, where it was cut off
    cut: bool = False  # whether its end is missing, with nothing that tells how much
    # Samples that its header tells of, where it was never finished and more follow; None of others.
    unfinished: int | None = None

    def sentences(self) -> Iterator[str]:
        """Each of them in words that follow the name of the file."""
        if self.unfinished is not None:
            yield f"was never finished: its header states {self.unfinished} samples; it was read to its end"
        if self.changes:
            kinds = " and ".join(self.changes[:_MOST_PLACES])
            yield f"changes to {kinds}: everything was converted to the {self.start} of its start"
        if self.damage:
            places = [f"{int(start // 60)}:{start % 60:04.1f}" for start, _ in self.damage]
            seconds, named = sum(length for _, length in self.damage), some_of(places, _MOST_PLACES, "more places")
            lost = f": about {seconds:.2g} s are lost," if seconds else ""
            yield f"is damaged{lost} at {named}; the rest was read"
        if self.missing:
            yield f"is cut off: by its header, about {self.missing:.2g} s are missing at its end; the rest was read"
        if self.cut:
            yield "is cut off: its end is missing, and nothing in it tells how much; the rest was read"
        if self.tracks > 1:
            yield f"has {self.tracks} audio tracks: track {self.track} was read"


def tell(path: Path, remarks: Remarks) -> None:
    """Log what was met, each thing once, however often a file is read."""
    for sentence in remarks.sentences():
        _tell(origin(path), sentence)


@lru_cache(maxsize=4096)
def _tell(path: Place, sentence: str) -> None:
    log.warning("%s %s", path, sentence)
