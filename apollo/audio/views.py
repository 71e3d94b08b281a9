"""Files as decoders should see them: a part of one, or with a header that was never finished mended."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["FileView", "mended_sizes", "without_zeros"]

_UNKNOWN = 0xFFFFFFFF
_ZEROS = 1 << 20  # bytes


class FileView(io.RawIOBase):
    """A part of a file, read only.

    Args:
        path: The file.
        start: Its first byte in the file.
        stop: The byte after its last; None is the end of the file.
        patches: Bytes that stand in place of others, by where they begin.
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


def without_zeros(path: Path) -> Callable[[], FileView] | None:
    """What opens a file without the many zeros at its end, as a half-finished download has them; None where none are.

    FFmpeg looks for the next frame of a stream in all that follows, and holds that in memory several times over.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        stop = end
        while stop:
            start = max(0, stop - _ZEROS)
            file.seek(start)
            block = file.read(stop - start)
            if block.count(0) < len(block):
                break
            stop = start
    return partial(FileView, path, 0, stop) if 0 < stop <= end - _ZEROS else None


def mended_sizes(path: Path) -> dict[int, bytes]:
    """What must stand in a header that tells of less sound than follows it, by where; nothing where it is true.

    A recorder that died has written no size into its WAV, RF64 or AU file, or an early one. Where neither the end of
    the file nor another chunk follows what the header calls all of the sound, the rest of the file is sound as well.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] == b".snd" and len(head) == 12:
            start, size = struct.unpack(">II", head[4:])
            return {8: struct.pack(">I", _UNKNOWN)} if start + size < end else {}
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return {}
        patches: dict[int, bytes] = {}
        long_size = 0  # of an RF64, in a chunk of its own (EBU Tech 3306)
        position = 12
        while (chunk := _chunk_at(file, position)) is not None:
            name, size = chunk
            start = position + 8
            if name == b"ds64":
                long_size = int.from_bytes(file.read(16)[8:], "little")
                patches[position] = b"JUNK"
            elif name == b"data":
                size = long_size if head[:4] == b"RF64" and size == _UNKNOWN else size
                stop = start + size + size % 2
                if stop >= end - 1 or _chunk_at(file, stop) is not None:
                    return {}
                file.seek(stop)
                if size and not any(file.read(1 << 20)):  # what a disk or a download has filled up
                    return {}
                # As in a pipe: the sound goes on until the file ends.
                return {**patches, 0: b"RIFF", 4: struct.pack("<I", _UNKNOWN), start - 4: struct.pack("<I", _UNKNOWN)}
            position = start + size + size % 2
    return {}


def _chunk_at(file: BinaryIO, position: int) -> tuple[bytes, int] | None:
    """Name and size of the RIFF chunk that begins here; None where none can."""
    file.seek(position)
    head = file.read(8)
    name = head[:4]
    if len(head) < 8 or not all(32 <= byte < 127 for byte in name) or not name.strip():
        return None
    return name, int.from_bytes(head[4:], "little")
