"""Vorbis comments, in FLAC and in Ogg, and FLAC's other blocks: pictures and the cue sheet.

Sources: RFC 9639 (FLAC), RFC 7845 (Ogg Opus), the Vorbis I specification, and for chapters
https://wiki.xiph.org/Chapter_Extension.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Iterator
from itertools import takewhile
from typing import BinaryIO

from apollo.audio.flac import APPLICATION, COMMENT, CUESHEET, PADDING, PICTURE, STREAMINFO, blocks_of
from apollo.audio.pictures import Cover, size_of_picture
from apollo.audio.tags.model import Chapter, Found, Metadata, utf8_or_bytes
from apollo.audio.tags.names import vorbis_name

LARGEST_BLOCK = (1 << 24) - 1
_CHAPTER = re.compile(r"chapter(\d{3})(name|url)?", re.IGNORECASE)
_LARGEST_FOUND = 1 << 28


def read_comments(block: bytes, found: Found) -> None:
    """Read a Vorbis comment from its vendor on."""
    (vendor,) = struct.unpack_from("<I", block, 0)
    (count,) = struct.unpack_from("<I", block, 4 + vendor)
    at = 8 + vendor
    times: dict[str, float] = {}
    titles: dict[str, str] = {}
    for _ in range(count):
        if at + 4 > len(block):
            break
        (length,) = struct.unpack_from("<I", block, at)
        comment = block[at + 4 : at + 4 + length]
        at += 4 + length
        raw, _, value = comment.partition(b"=")
        name = raw.decode("utf-8", "replace")
        if name.lower() == "metadata_block_picture":
            try:
                _read_picture(base64.b64decode(value, validate=False), found)
            except (binascii.Error, struct.error):
                found.drop("damaged picture")
        elif match := _CHAPTER.fullmatch(name):
            text = value.decode("utf-8", "replace")
            if match[2] is None:
                times[match[1]] = _seconds(text)
            elif match[2].lower() == "name":
                titles[match[1]] = text
        else:
            found.add(name, utf8_or_bytes(value))
    found.chapters += [
        Chapter(time, math.inf, titles.get(key, "")) for key, time in times.items() if math.isfinite(time)
    ]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+):(\d\d?):(\d\d?(?:\.\d*)?)", text.strip())
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else math.nan


def _read_picture(block: bytes, found: Found) -> None:
    kind, size = struct.unpack_from(">II", block, 0)
    at = 8 + size
    mime = block[8:at]
    (size,) = struct.unpack_from(">I", block, at)
    description = block[at + 4 : at + 4 + size].decode("utf-8", "replace")
    at += 4 + size + 16
    (size,) = struct.unpack_from(">I", block, at)
    if mime == b"-->":
        found.drop("link to a picture")
    elif data := block[at + 4 : at + 4 + size]:
        found.covers.append(Cover.of(data, kind if kind <= 20 else 0, description))


def read_flac(file: BinaryIO, found: Found) -> None:
    """Read the blocks of a FLAC file; the file stands at its start."""
    start = file.tell()
    for block in takewhile(lambda block: block.start < start + _LARGEST_FOUND, blocks_of(file, start)):
        file.seek(block.start)
        read_flac_block(block.kind, file.read(block.size), found)


def read_flac_block(kind: int, content: bytes, found: Found) -> None:
    """Read one of FLAC's blocks, without its header."""
    if kind == COMMENT:
        read_comments(content, found)
    elif kind == PICTURE:
        _read_picture(content, found)
    elif kind == CUESHEET:
        found.cuesheet = content
    elif kind == APPLICATION:
        found.drop("application data")


def write_comments(metadata: Metadata, pictures: bool) -> bytes:
    """A Vorbis comment from its vendor on; in Ogg, it holds the pictures as well."""
    comments = [comment for name, values in metadata.tags.items() for comment in _comments(name, values)]
    for number, chapter in enumerate(metadata.chapters[:1000]):
        milliseconds = round(1000 * chapter.start)
        hours, rest = divmod(milliseconds, 3_600_000)
        minutes, rest = divmod(rest, 60_000)
        comments.append(f"CHAPTER{number:03}={hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}")
        if chapter.title:
            comments.append(f"CHAPTER{number:03}NAME={chapter.title}")
    if pictures:
        for cover in metadata.covers:
            comments.append(f"METADATA_BLOCK_PICTURE={base64.b64encode(_picture(cover)).decode('ascii')}")
    coded = [comment.encode() for comment in comments]
    vendor = b"Apollo"
    parts = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(coded))]
    for comment in coded:
        parts += [struct.pack("<I", len(comment)), comment]
    return b"".join(parts)


def _comments(name: str, values: tuple[str, ...]) -> Iterator[str]:
    key = re.sub(r"[^ -<>-}]", "_", vorbis_name(name)) if not name.isascii() or "=" in name else vorbis_name(name)
    if name in ("track", "disc") and len(values) == 1 and (match := re.fullmatch(r"(\d+)/(\d+)", values[0])):
        yield f"{key}={match[1]}"
        yield f"{'TRACKTOTAL' if name == 'track' else 'DISCTOTAL'}={match[2]}"
    else:
        yield from (f"{key}={value}" for value in values)


def _picture(cover: Cover) -> bytes:
    width, height = size_of_picture(cover)
    depth, colours = 24, 0
    mime, description = cover.mime.encode(), cover.description.encode()
    block = struct.pack(">II", cover.kind, len(mime)) + mime + struct.pack(">I", len(description)) + description
    return block + struct.pack(">IIIII", width, height, depth, colours, len(cover.data)) + cover.data


def flac_header(streaminfo: bytes, metadata: Metadata, size: int = 0) -> bytes:
    """All of a FLAC file before its first frame, in at least so many bytes, filled up with padding."""
    blocks = [(STREAMINFO, streaminfo), (COMMENT, write_comments(metadata, pictures=False))]
    blocks += [(PICTURE, _picture(cover)) for cover in metadata.covers]
    if metadata.cuesheet is not None:
        blocks.append((CUESHEET, metadata.cuesheet))
    taken = 4 + sum(4 + len(content) for _, content in blocks)
    blocks.append((PADDING, bytes(max(0, size - taken - 4))))
    written = [bytes([kind]) + len(content).to_bytes(3, "big") + content for kind, content in blocks[:-1]]
    kind, content = blocks[-1]
    return b"fLaC" + b"".join(written) + bytes([kind | 0x80]) + len(content).to_bytes(3, "big") + content
