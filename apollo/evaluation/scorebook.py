"""Scores kept as soon as they are known, so that a stopped evaluation resumes where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apollo.errors import DataError
from apollo.regular import refuse_special
from apollo.storage import Place, Url, in_place_of, publish
from apollo.work import Ledger

SCOREBOOK = "scores.jsonl"
UPLOADS = 0.05  # share of the time that may go into keeping scores in a store


class Scorebook:
    """Values of metrics under keys, kept in a ledger, or in memory alone where it has no path.

    Raises DataError if the file cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._values: dict[str, dict[str, float]] = {}
        try:
            if path is not None:
                refuse_foreign(path)
            self.ledger = Ledger(path)
        except OSError as error:
            raise DataError(f"{path} cannot be used to keep scores ({error}); give another folder.") from None
        for entry in self.ledger.entries:
            try:
                values = {name: math.nan if value is None else float(value) for name, value in entry["values"].items()}
                self._values.setdefault(entry["key"], {}).update(values)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def values(self, key: str) -> dict[str, float]:
        """What is known under a key; empty where nothing is."""
        return dict(self._values.get(key, {}))

    def add(self, key: str, values: dict[str, float]) -> None:
        """Add values under a key, and to the ledger at once; raises DataError if the disk is full."""
        self._values.setdefault(key, {}).update(values)
        defined = {name: None if math.isnan(value) else value for name, value in values.items()}
        try:
            self.ledger.add({"key": key, "values": defined})
        except OSError as error:
            raise DataError(f"scores cannot be written to {self.path} ({error.strerror}): make room there") from None


@contextmanager
def kept_in(folder: Place) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Give the file that keeps the scores of the report in a folder, and what is to be called after each case.

    Objects cannot be written to line by line: that of a store is replaced as a whole, as often as takes little time,
    and at the end, however that comes about.
    """
    if not isinstance(folder, Url):
        yield folder / SCOREBOOK, lambda: None
        return
    place = folder / SCOREBOOK
    with in_place_of(place, overwrite=False) as file:
        size, due = size_of(file), time.monotonic()

        def upload() -> None:
            nonlocal size, due
            if size_of(file) != size:
                began, size = time.monotonic(), size_of(file)
                publish(file, place, overwrite=True)
                due = time.monotonic() + (time.monotonic() - began) / UPLOADS

        try:
            yield file, lambda: upload() if time.monotonic() >= due else None
        finally:
            upload()


def size_of(file: Path) -> int:
    """Bytes in a file; none where it is not there."""
    return file.stat().st_size if file.exists() else 0


def refuse_foreign(path: Path) -> None:
    """Make sure that what is there already is a ledger of scores; raises DataError if it is something else."""
    refuse_special(path, DataError)
    head = path.read_bytes().lstrip()[:64] if path.exists() else b""
    if head and not head.startswith(b'{"key"'):
        raise DataError(f"{path} contains something other than Apollo's scores: give another folder")
