"""The pages of Ogg files (RFC 3533, section 6), and the links that chained ones consist of (section 4)."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC = b"OggS\0"  # and the only version
_PAGE = struct.Struct("<4sBBqIIIB")  # header of a page
_FIRST, _LAST = 2, 4  # kinds of pages
_LATE = 64  # pages: where the first one with sound has a higher number, a recorder came late to a broadcast
_CHECKSUM = slice(22, 26)
_SEARCH = 1 << 16  # the largest page is a little smaller
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Link(NamedTuple):
    """One of the files that lie one behind the other in an Ogg file; one that is not chained is one link."""

    start: int  # its first byte
    stop: int  # the byte after its last
    whole: bool  # whether none of its pages is damaged or missing
    ended: bool  # whether its last page is there
    # How many it should hold by its pages, with those that decoding leaves out at its start; 0 where they do not tell.
    samples: int


class _Page(NamedTuple):
    length: int
    kind: int
    granule: int
    stream: int
    number: int
    whole: bool


def links_of(path: Path) -> tuple[Link, ...]:
    """The links of an Ogg file; looked up once for as long as the file does not change."""
    status = path.stat()
    return _links(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _links(path: Path, changed: int, size: int) -> tuple[Link, ...]:
    links: list[Link] = []
    position, in_header = 0, False
    numbers: dict[int, int] = {}  # of the next page of each stream
    base: int | None = None  # the sample that the sound begins with
    with path.open("rb") as file:
        while position < size:
            page = _page_at(file, position)
            if page is None:
                found = _next_page(file, position + 1)
                if found is None:
                    break
                if links:
                    links[-1] = links[-1]._replace(whole=False)
                position = found
                continue
            if page.kind & _FIRST and not in_header:
                if links:
                    links[-1] = links[-1]._replace(stop=position)
                links.append(Link(position, size, True, False, 0))
                numbers, base = {}, None
            in_header = bool(page.kind & _FIRST)
            if links:
                late = base is None and page.number > _LATE
                in_order = late or page.number == numbers.get(page.stream, page.number)
                if page.whole and page.granule > 0 and base is None:
                    base = page.granule if late else 0
                alone = set(numbers) <= {page.stream}
                samples = page.granule - base if base is not None and page.granule > 0 else links[-1].samples
                links[-1] = links[-1]._replace(
                    whole=links[-1].whole and page.whole and in_order,
                    ended=bool(page.kind & _LAST),
                    samples=samples if alone else 0,
                )
            numbers[page.stream] = page.number + 1
            position += page.length
    return tuple(links or [Link(0, size, False, False, 0)])


def _page_at(file: BinaryIO, position: int) -> _Page | None:
    """The page that begins here, if one does and is there to its last byte."""
    file.seek(position)
    head = file.read(_PAGE.size)
    if len(head) < _PAGE.size or not head.startswith(_MAGIC):
        return None
    _, _, kind, granule, stream, number, checksum, segments = _PAGE.unpack(head)
    lacing = file.read(segments)
    body = file.read(sum(lacing))
    if len(lacing) < segments or len(body) < sum(lacing):
        return None
    found = checksum_of(head[: _CHECKSUM.start] + bytes(4) + head[_CHECKSUM.stop :] + lacing + body)
    return _Page(len(head) + len(lacing) + len(body), kind, granule, stream, number, found == checksum)


def _next_page(file: BinaryIO, position: int) -> int | None:
    """Where the next page begins."""
    file.seek(position)
    before = b""
    while block := file.read(_SEARCH):
        if (at := (before + block).find(_MAGIC)) >= 0:
            return position - len(before) + at
        position += len(block)
        before = (before + block)[1 - len(_MAGIC) :]
    return None


def checksum_of(page: bytes) -> int:
    """The checksum of a page whose own is 0: Ethernet's CRC-32 without inversions, each byte's highest bit first."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
