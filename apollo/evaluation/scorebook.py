"""Scores kept as soon as they are known, so that an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import math
from pathlib import Path

from apollo.errors import DataError
from apollo.regular import refuse_special
from apollo.work import Ledger


class Scorebook:
    """Values of metrics under keys, kept in a ledger, or in memory alone.

    Args:
        path: The ledger's file, made when missing; None keeps nothing.

    Raises:
        DataError: If the file cannot be used.
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
        """Add values under a key, and to the ledger at once.

        Raises:
            DataError: If the disk is full.
        """
        self._values.setdefault(key, {}).update(values)
        defined = {name: None if math.isnan(value) else value for name, value in values.items()}
        try:
            self.ledger.add({"key": key, "values": defined})
        except OSError as error:
            raise DataError(f"scores cannot be written to {self.path} ({error.strerror}): make room there") from None


def refuse_foreign(path: Path) -> None:
    """Make sure that what is there already is a ledger of scores.

    Raises:
        DataError: If it is something else.
    """
    refuse_special(path, DataError)
    head = path.read_bytes().lstrip()[:64] if path.exists() else b""
    if head and not head.startswith(b'{"key"'):
        raise DataError(f"{path} contains something other than Apollo's scores: give another folder")
