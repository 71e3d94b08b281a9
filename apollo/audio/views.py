"""Files as decoders should see them: a part of one, or with other bytes in some places."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class FileView(io.RawIOBase):
    """A part of a file, read only; `stop` None is the file's end.

    `patches` are bytes that stand in place of others, by where they begin in the file.
    """

    def __init__(
        self, path: Path, start: int = 0, stop: int | None = None, patches: Mapping[int, bytes] | None = None
    ) -> None:
        self._file = path.open("rb")
        self._start = start
        self._stop = self._file.seek(0, os.SEEK_END) if stop is None else stop
        self._patches = dict(patches or {})
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte of the part."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._stop - self._start}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The byte of the part that is read next."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as there is room for, fewer at the end."""
        first = self._start + self._position
        self._file.seek(first)
        data = bytearray(self._file.read(max(0, min(len(buffer), self._stop - first))))
        for place, patch in self._patches.items():
            for at, byte in enumerate(patch, place - first):
                if 0 <= at < len(data):
                    data[at] = byte
        buffer[: len(data)] = bytes(data)
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
