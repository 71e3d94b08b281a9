"""What headers say of the size of the sound, where that is not what lies in the file.

A recorder that died has written no size into its file, or an early one. Where neither the end of the file nor another
chunk follows what the header calls all of the sound, the rest of the file is sound as well. A download or a copy that
stopped half-way leaves a header that tells of more sound than there is.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from apollo.audio.chunks import CAF, IFF, MP4, RIFF, UNKNOWN, W64, Chunk, Layout, chunk_at, chunks
from apollo.audio.rare_headers import rare_extent
from apollo.audio.tails import size_of_id3v2, tail_of

_AU_HEADER = 24  # bytes, at least
_LOOK = 1 << 20  # bytes behind the sound: only zeros there are what a disk or a download has filled up
_TAGS = (b"TAG", b"ID3", b"APETAGEX")  # that programs put behind any file
# What writes into a pipe cannot come back to state a size: it states this (GStreamer) or more.
_PLACEHOLDER = 0x7FFF0000
_SEGMENT = b"\x18\x53\x80\x67"  # of Matroska (RFC 9559)
_ASF_FILE = UUID("8CABDCA1-A947-11CF-8EE4-00C00C205365").bytes_le  # object with the size of the file
_SOUND = (b"data", b"SSND", b"BODY", b"mdat")  # chunks that hold it
_FILM = (b"movi", b"AVIX")  # likewise in AVI, by what their contents begin with
# What encoders write into the first frame of an MP3: flags that say that the number of frames and that of bytes follow.
_XING = re.compile(rb"(?:Xing|Info)\0\0\0[\x03\x07\x0b\x0f]....(....)", re.DOTALL)
HEADER = 1 << 16  # bytes of a header searched
_SLACK = 64  # bytes by which writers get sizes wrong, such as that of a header


def mended_sizes(path: Path) -> dict[int, bytes]:
    """What must stand in a header that tells of less sound than follows it, by where; nothing where it is true."""
    with path.open("rb") as file:
        end = tail_of(file).start
        file.seek(0)
        head = file.read(40)
        if head[:4] == b".snd" and len(head) >= 12:
            start, size = struct.unpack(">II", head[4:12])
            file.seek(start + size)
            if start < _AU_HEADER:
                return {4: struct.pack(">II", _AU_HEADER, UNKNOWN)}
            goes_on = start + size < end and not file.read(8).startswith(_TAGS)
            return {8: struct.pack(">I", UNKNOWN)} if goes_on else {}
        layout = chunk_layout(head)
        if layout is RIFF and head[8:12] == b"WAVE":
            return _mended_wav(file, end)
        if layout is IFF:
            return _mended_aiff(file, end)
        if layout in (CAF, W64):
            for chunk in chunks(file, layout):
                if chunk.name[:4] == b"data" and chunk.size >= 0 and _goes_on(file, layout, chunk, end):
                    if layout is CAF:
                        return {chunk.start - 8: struct.pack(">q", end - chunk.start)}
                    return {16: struct.pack("<Q", end), chunk.start - 8: struct.pack("<Q", end - chunk.start + 24)}
    return {}


def missing_share(path: Path) -> float:
    """How much is missing at the end of a file by what its header says, as a share of what is there; 0 for nothing."""
    with path.open("rb") as file:
        return share_missing(file, file.seek(0, os.SEEK_END))


def share_missing(file: BinaryIO, end: int) -> float:
    """The same of a file, or of the first `HEADER` bytes of one, that has `end` bytes."""
    file.seek(0)
    start, stated = _stated(file, file.read(HEADER), end)
    return (stated - end) / (end - start) if start < end < stated - _SLACK else 0.0


def _stated(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    """Where the sound of a file begins and where it should end; (0, 0) where the header does not tell."""
    tag = size_of_id3v2(head[:10])
    if (layout := chunk_layout(head)) is not None:
        first = 0  # long films have several chunks of sound
        for name, start, size in chunks(file, layout):
            file.seek(start)
            if name[:4] not in _SOUND and file.read(4) not in _FILM:
                continue
            first = first or start
            if start + size > end:  # the last one, then
                return (0, 0) if layout in (RIFF, IFF) and _PLACEHOLDER <= size <= UNKNOWN else (first, start + size)
    elif head[:4] == b".snd" and len(head) >= 12:
        start, size = struct.unpack(">II", head[4:12])
        return (start, start + size) if size < _PLACEHOLDER else (0, 0)
    elif head[:4] == b"\x1aE\xdf\xa3" and 0 < (at := head.find(_SEGMENT) + 4) < len(head) - 8 and head[at]:
        width = 9 - head[at].bit_length()
        size = int.from_bytes(head[at : at + width], "big") - (1 << 7 * width)
        return (at, at + width + size) if size != (1 << 7 * width) - 1 else (0, 0)  # all ones: nobody knows
    elif tag or head[:1] == b"\xff":
        file.seek(tag)
        match = _XING.search(file.read(256))
        return (tag, tag + int.from_bytes(match[1], "big")) if match else (0, 0)
    elif (at := head.find(_ASF_FILE)) >= 0 and len(head) >= at + 48:
        return at, int.from_bytes(head[at + 40 : at + 48], "little")
    return rare_extent(file, head, end)


def chunk_layout(head: bytes) -> Layout | None:
    """How a file that begins with these bytes, 28 or more, writes its chunks; None of other kinds."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] in (b"WAVE", b"AVI "):
        return RIFF
    if head[:4] == b"FORM":
        return IFF
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return W64
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return MP4
    return CAF if head[:4] == b"caff" else None


def _mended_wav(file: BinaryIO, end: int) -> dict[int, bytes]:
    patches: dict[int, bytes] = {}
    for chunk in chunks(file, RIFF):
        if chunk.name == b"ds64":
            patches[chunk.start - 8] = b"JUNK"
        elif chunk.name == b"data":
            if not _goes_on(file, RIFF, chunk, end):
                return {}
            # As in a pipe: the sound goes on until the file ends.
            unknown = struct.pack("<I", UNKNOWN)
            return {**patches, 0: b"RIFF", 4: unknown, chunk.start - 4: unknown}
    return {}


def _mended_aiff(file: BinaryIO, end: int) -> dict[int, bytes]:
    frames_at = width = 0  # where the samples are counted, and bytes of one in all channels
    for chunk in chunks(file, IFF):
        if chunk.name == b"COMM":
            file.seek(chunk.start)
            content = file.read(min(chunk.size, 22))
            if len(content) < 18:
                return {}
            channels, _, bits = struct.unpack(">HIH", content[:8])
            kind = content[18:22]
            if kind not in (b"", b"NONE", b"twos", b"sowt", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32"):
                return {}
            frames_at, width = chunk.start + 2, channels * -(-bits // 8)
        elif chunk.name == b"SSND" and width and _goes_on(file, IFF, chunk, end) and end < UNKNOWN:
            frames = (end - chunk.start - 8) // width
            patches = {4: end - 8, frames_at: frames, chunk.start - 4: end - chunk.start}
            return {place: struct.pack(">I", value) for place, value in patches.items()}
    return {}


def _goes_on(file: BinaryIO, layout: Layout, chunk: Chunk, end: int) -> bool:
    """Whether sound goes on behind what a chunk calls all of it."""
    stop = chunk.start + chunk.size + -chunk.size % layout.align
    if stop >= end - 1 or chunk_at(file, stop, layout, end) is not None:
        return False
    file.seek(stop)
    behind = file.read(_LOOK)
    return not behind.startswith(_TAGS) and (not chunk.size or any(behind))
