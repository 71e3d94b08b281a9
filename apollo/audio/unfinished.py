"""Recordings that were never finished: their headers tell of less sound than there is.

A recorder that died has written no size into its file, or an early one. Where neither the end of the file nor another
chunk follows what the header calls all of the sound, the rest of the file is sound as well.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["mended_sizes"]

_UNKNOWN = 0xFFFFFFFF
_AU_HEADER = 24  # bytes, at least
_LOOK = 1 << 20  # bytes behind the sound: only zeros there are what a disk or a download has filled up
_TAGS = (b"TAG", b"ID3", b"APETAGEX")  # that programs put behind any file
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the identifiers of all chunks but the first


@dataclass(frozen=True)
class _Kind:
    """How a container writes its chunks.

    Attributes:
        first: Where the first one begins.
        name: Bytes of a name.
        size: How a size is written.
        align: To how many bytes chunks are filled up.
        whole: Whether a size counts name and size as well.
    """

    first: int
    name: int
    size: struct.Struct
    align: int
    whole: bool = False

    @property
    def head(self) -> int:
        """Bytes before the content of a chunk."""
        return self.name + self.size.size


_RIFF = _Kind(12, 4, struct.Struct("<I"), 2)
_IFF = _Kind(12, 4, struct.Struct(">I"), 2)
_CAF = _Kind(8, 4, struct.Struct(">q"), 1)
_W64 = _Kind(40, 16, struct.Struct("<Q"), 8, whole=True)


def mended_sizes(path: Path) -> dict[int, bytes]:
    """What must stand in a header that tells of less sound than follows it, by where; nothing where it is true."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(40)
        if head[:4] == b".snd" and len(head) >= 12:
            start, size = struct.unpack(">II", head[4:12])
            file.seek(start + size)
            if start < _AU_HEADER:
                return {4: struct.pack(">II", _AU_HEADER, _UNKNOWN)}
            goes_on = start + size < end and not file.read(8).startswith(_TAGS)
            return {8: struct.pack(">I", _UNKNOWN)} if goes_on else {}
        if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
            return _mended_wav(file, end, head[:4] == b"RF64")
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _mended_aiff(file, end)
        if head[:4] == b"caff":
            for name, start, size in _chunks(file, _CAF):
                if name == b"data" and size >= 0 and _goes_on(file, _CAF, start, size, end):
                    return {start - 8: struct.pack(">q", end - start)}
        if head[:4] == b"riff" and head[24:28] == b"wave":
            for name, start, size in _chunks(file, _W64):
                if name[:4] == b"data" and _goes_on(file, _W64, start, size, end):
                    return {16: struct.pack("<Q", end), start - 8: struct.pack("<Q", end - start + 24)}
    return {}


def _mended_wav(file: BinaryIO, end: int, is_rf64: bool) -> dict[int, bytes]:
    patches: dict[int, bytes] = {}
    long_size = 0  # of an RF64, in a chunk of its own (EBU Tech 3306)
    for name, start, size in _chunks(file, _RIFF):
        if name == b"ds64":
            file.seek(start)
            long_size = int.from_bytes(file.read(16)[8:], "little")
            patches[start - 8] = b"JUNK"
        elif name == b"data":
            size = long_size if is_rf64 and size == _UNKNOWN else size
            if not _goes_on(file, _RIFF, start, size, end):
                return {}
            # As in a pipe: the sound goes on until the file ends.
            return {**patches, 0: b"RIFF", 4: struct.pack("<I", _UNKNOWN), start - 4: struct.pack("<I", _UNKNOWN)}
    return {}


def _mended_aiff(file: BinaryIO, end: int) -> dict[int, bytes]:
    frames_at = width = 0  # where the samples are counted, and bytes of one in all channels
    for name, start, size in _chunks(file, _IFF):
        if name == b"COMM":
            file.seek(start)
            content = file.read(min(size, 22))
            if len(content) < 18:
                return {}
            channels, _, bits = struct.unpack(">HIH", content[:8])
            kind = content[18:22]
            if kind not in (b"", b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32"):
                return {}
            frames_at, width = start + 2, channels * -(-bits // 8)
        elif name == b"SSND" and width and _goes_on(file, _IFF, start, size, end) and end < _UNKNOWN:
            frames = (end - start - 8) // width
            patches = {4: end - 8, frames_at: frames, start - 4: end - start}
            return {place: struct.pack(">I", value) for place, value in patches.items()}
    return {}


def _goes_on(file: BinaryIO, kind: _Kind, start: int, size: int, end: int) -> bool:
    """Whether sound goes on behind what a chunk calls all of it."""
    stop = start + size + -size % kind.align
    if stop >= end - 1 or _chunk_at(file, stop, kind) is not None:
        return False
    file.seek(stop)
    behind = file.read(_LOOK)
    return not behind.startswith(_TAGS) and (not size or any(behind))


def _chunks(file: BinaryIO, kind: _Kind) -> Iterator[tuple[bytes, int, int]]:
    """Names of chunks, where their contents begin, and sizes."""
    position = kind.first
    while (chunk := _chunk_at(file, position, kind)) is not None:
        name, size = chunk
        yield name, position + kind.head, size
        if size < 0:
            return
        position += kind.head + size + -size % kind.align


def _chunk_at(file: BinaryIO, position: int, kind: _Kind) -> tuple[bytes, int] | None:
    """Name and size of the chunk that begins here; None where none can."""
    if position > os.fstat(file.fileno()).st_size:
        return None
    file.seek(position)
    head = file.read(kind.head)
    name = head[: kind.name]
    if len(head) < kind.head or not all(32 <= byte < 127 for byte in name[:4]) or not name[:4].strip():
        return None
    if kind.name == 16 and name[4:] != _W64_TAIL:
        return None
    (size,) = kind.size.unpack(head[kind.name :])
    return name, max(0, size - kind.head) if kind.whole else size
