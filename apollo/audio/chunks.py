"""The chunks that files are made of: those of RIFF (WAV, AVI), of IFF (AIFF), CAF and W64, and the boxes of MP4."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

UNKNOWN = 0xFFFFFFFF  # the size that a stream states, and that an RF64 states in a chunk of its own (EBU Tech 3306)
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the names of all chunks but the first


class Chunk(NamedTuple):
    """A chunk of a file."""

    name: bytes  # bytes, as many as the layout has
    start: int  # where its content begins
    size: int  # bytes of its content, as it states; the file may end before. Below 0 where it does not know


@dataclass(frozen=True)
class Layout:
    """How a container writes its chunks."""

    first: int  # where the first one begins
    name: int  # bytes of a name
    size: struct.Struct  # how a size is written
    align: int  # to how many bytes chunks are filled up
    whole: bool = False  # whether a size counts name and size as well
    # Whether the size comes before the name; then 1 says that 8 bytes with the size follow, and 0 that the chunk lasts
    # to the end (ISO/IEC 14496-12, 4.2).
    size_first: bool = False


RIFF = Layout(12, 4, struct.Struct("<I"), 2)
IFF = Layout(12, 4, struct.Struct(">I"), 2)
CAF = Layout(8, 4, struct.Struct(">q"), 1)
W64 = Layout(40, 16, struct.Struct("<Q"), 8, whole=True)
MP4 = Layout(0, 4, struct.Struct(">I"), 1, whole=True, size_first=True)


def chunks(file: BinaryIO, layout: Layout, start: int | None = None, stop: int | None = None) -> Iterator[Chunk]:
    """The chunks of an open file from `start` to `stop`, in order; the file may be moved between two."""
    at = layout.first if start is None else start
    stop = file.seek(0, os.SEEK_END) if stop is None else stop
    long_size: int | None = None
    while (chunk := chunk_at(file, at, layout, stop)) is not None:
        if chunk.name == b"ds64":
            file.seek(chunk.start)
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif chunk.name == b"data" and chunk.size == UNKNOWN and long_size is not None:
            chunk = chunk._replace(size=long_size)
        yield chunk
        if chunk.size < 0:
            return
        at = chunk.start + chunk.size + -chunk.size % layout.align


def chunk_at(file: BinaryIO, at: int, layout: Layout, stop: int) -> Chunk | None:
    """The chunk that begins here; None where none can."""
    head = layout.name + layout.size.size
    if at + head > stop:
        return None
    file.seek(at)
    data = file.read(head)
    if len(data) < head:
        return None
    if layout.size_first:
        name, (size,) = data[layout.size.size :], layout.size.unpack(data[: layout.size.size])
        if size == 1:
            head, size = head + 8, int.from_bytes(file.read(8), "big")
        size = stop - at if size == 0 else size
        return Chunk(name, at + head, size - head) if size >= head else None
    name, (size,) = data[: layout.name], layout.size.unpack(data[layout.name :])
    if not all(32 <= byte < 127 for byte in name[:4]) or not name[:4].strip():
        return None
    if layout.name == 16 and name[4:] != _W64_TAIL:
        return None
    return Chunk(name, at + head, max(0, size - head) if layout.whole else size)


def find_chunk(file: BinaryIO, layout: Layout, name: bytes, start: int = 0, stop: int | None = None) -> Chunk | None:
    """The first chunk of a name."""
    return next((chunk for chunk in chunks(file, layout, start, stop) if chunk.name == name), None)
