"""The comment header of Ogg files: Vorbis, Opus, Speex and FLAC in it.

Sources: RFC 3533 (Ogg), RFC 7845 (Opus), the Vorbis I specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from apollo.audio.ogg import checksum_of
from apollo.audio.tags.model import Found
from apollo.audio.tags.vorbis import read_comments, read_flac_block

_LARGEST = 1 << 26  # bytes of a header


@dataclass
class _Page:
    start: int
    flags: int
    stream: int
    lacing: bytes
    body: bytes


def _pages(file: BinaryIO) -> Iterator[_Page]:
    total = 0
    while total < _LARGEST:
        start = file.tell()
        head = file.read(27)
        if len(head) < 27 or not head.startswith(b"OggS"):
            return
        lacing = file.read(head[26])
        body = file.read(sum(lacing))
        total += len(body)
        yield _Page(start, head[5], int.from_bytes(head[14:18], "little"), lacing, body)


def read_ogg(file: BinaryIO, found: Found) -> None:
    """Read the tags of the first stream of sound; the file stands at its start."""
    begun: dict[int, bytes] = {}  # first packets of streams of sound
    parts: list[bytes] = []
    kind = b""
    stream: int | None = None
    for page in _pages(file):
        if page.flags & 0x02:
            begun[page.stream] = page.body
            known = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x7fFLAC")
            if stream is None and page.body.startswith(known):
                stream, kind = page.stream, next(start for start in known if page.body.startswith(start))
            continue
        if page.stream != stream:
            continue
        at = 0
        for length in page.lacing:
            parts.append(page.body[at : at + length])
            at += length
            if length < 255:
                packet, parts = b"".join(parts), []
                if _read_packet(packet, kind, found):
                    return


def _read_packet(packet: bytes, kind: bytes, found: Found) -> bool:
    """Read a header; True if there are no more of them with tags."""
    if kind == b"\x7fFLAC":
        read_flac_block(packet[0] & 0x7F, packet[4:], found)
        return bool(packet[0] & 0x80)
    start = {b"\x01vorbis": 7, b"OpusHead": 8}.get(kind, 0)
    read_comments(packet[start:], found)
    return True


def replace_opus_tags(file: BinaryIO, comments: bytes) -> None:
    """Write other comments into an Opus file whose header OpusTags is as long or longer, and alone on its pages."""
    file.seek(0)
    rest = b"OpusTags" + comments
    for page in _pages(file):
        if page.flags & 0x02:
            continue
        body = rest[: len(page.body)].ljust(len(page.body), b"\0")  # RFC 7845, section 5.2: padding
        rest = rest[len(page.body) :]
        behind = file.tell()
        file.seek(page.start)
        head = bytearray(file.read(27))
        head[22:26] = bytes(4)
        head[22:26] = checksum_of(bytes(head) + page.lacing + body).to_bytes(4, "little")
        file.seek(page.start)
        file.write(bytes(head) + page.lacing + body)
        file.seek(behind)
        if page.lacing[-1] < 255:
            return
