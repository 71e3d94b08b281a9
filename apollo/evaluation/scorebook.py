"""Scores kept as soon as they are known, so that an evaluation that was stopped goes on where it was."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import IO

from apollo.errors import DataError
from apollo.regular import refuse_special


class Scorebook:
    """Values of metrics under keys, kept in a file with one JSON object a line, or in memory alone.

    A line that a crash has left unfinished is passed over.

    Args:
        path: The file, made when missing; None keeps nothing.

    Raises:
        DataError: If the file cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._values: dict[str, dict[str, float]] = {}
        self._file: IO[str] | None = None
        self._path = path
        if path is None:
            return
        refuse_special(path, DataError)
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            if text.strip() and not text.lstrip().startswith('{"key"'):
                raise DataError(f"{path} holds something else than Apollo's scores: give another folder")
            self._file = path.open("a", encoding="utf-8", newline="\n")
            if text and not text.endswith("\n"):
                self._file.write("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be used to keep scores ({error}); give another folder.") from None
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                values = {name: math.nan if value is None else float(value) for name, value in entry["values"].items()}
                self._values.setdefault(entry["key"], {}).update(values)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue

    def values(self, key: str) -> dict[str, float]:
        """What is known under a key; empty where nothing is."""
        return dict(self._values.get(key, {}))

    def add(self, key: str, values: dict[str, float]) -> None:
        """Add values under a key, and to the file at once.

        Raises:
            DataError: If the disk is full.
        """
        self._values.setdefault(key, {}).update(values)
        if self._file is None:
            return
        defined = {name: None if math.isnan(value) else value for name, value in values.items()}
        try:
            self._file.write(json.dumps({"key": key, "values": defined}) + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"scores cannot be written to {self._path} ({error.strerror}): make room there") from None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Scorebook:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
