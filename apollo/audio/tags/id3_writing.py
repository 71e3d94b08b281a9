"""Write ID3 tags of version 2.4.

Sources: those of `apollo.audio.tags.id3`.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator

from apollo.audio.tags.id3 import HEADER, MUSICBRAINZ, NEVER_ENDS
from apollo.audio.tags.model import Chapter, Metadata
from apollo.audio.tags.names import ID3_FRAMES, ID3_TEXTS


def write_id3v2(metadata: Metadata, size: int = 0) -> bytes:
    """A tag of version 2.4 in UTF-8, of at least so many bytes, padding included."""
    frames = [frame for name, values in metadata.tags.items() for frame in _written(name, values)]
    people = [(role, name) for role in ("arranger", "engineer", "producer") for name in metadata.tags.get(role, ())]
    people += [("mix", name) for name in metadata.tags.get("mixer", ())]
    people += [("DJ-mix", name) for name in metadata.tags.get("djmixer", ())]
    if people:
        frames.append(_frame("TIPL", _utf8(*(text for pair in people for text in pair))))
    musicians = [_instrument_and_name(value) for value in metadata.tags.get("performer", ())]
    if musicians:
        frames.append(_frame("TMCL", _utf8(*(text for pair in musicians for text in pair))))
    for cover in metadata.covers:
        head = b"\3" + cover.mime.encode() + b"\0" + bytes([cover.kind]) + cover.description.encode() + b"\0"
        frames.append(_frame("APIC", head + cover.data))
    if metadata.chapters:
        frames += _chapters(metadata.chapters)
    body = b"".join(frames)
    body += bytes(max(0, size - HEADER - len(body)))
    return b"ID3\4\0\0" + _spread(len(body)) + body


def _written(name: str, values: tuple[str, ...]) -> Iterator[bytes]:
    if name in ("arranger", "engineer", "producer", "mixer", "djmixer", "performer"):
        return
    if name == "comment" or name.startswith("comment:"):
        description = name.removeprefix("comment").removeprefix(":")
        yield from (_frame("COMM", b"\3eng" + _utf8(description, value)[1:]) for value in values)
    elif name == "lyrics":
        yield from (_frame("USLT", b"\3eng" + _utf8("", value)[1:]) for value in values)
    elif name == "musicbrainz_trackid" and len(values) == 1 and values[0].isascii():
        yield _frame("UFID", MUSICBRAINZ + b"\0" + values[0].encode())
    elif name == "website" and all(value.isascii() for value in values):
        yield from (_frame("WOAR", value.encode()) for value in values)
    elif name == "license" and len(values) == 1 and re.fullmatch(r"https?://[!-~]+", values[0]):
        yield _frame("WCOP", values[0].encode())
    elif name in ID3_FRAMES and name != "website":
        yield _frame(ID3_FRAMES[name], _utf8(*values))
    else:
        yield _frame(
            "TXXX", _utf8(ID3_TEXTS.get(name, name if name.startswith("replaygain_") else name.upper()), *values)
        )


def _instrument_and_name(value: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.+) \(([^()]+)\)", value, re.DOTALL)
    return (match[2], match[1]) if match else ("", value)


def _chapters(chapters: tuple[Chapter, ...]) -> Iterator[bytes]:
    names = [f"chp{number}".encode() for number in range(len(chapters))]
    if len(names) < 256:
        yield _frame("CTOC", b"toc\0\3" + bytes([len(names)]) + b"\0".join(names) + b"\0")
    for name, chapter in zip(names, chapters, strict=True):
        times = [
            min(NEVER_ENDS, round(1000 * time)) if math.isfinite(time) else NEVER_ENDS
            for time in (chapter.start, chapter.end)
        ]
        title = _frame("TIT2", _utf8(chapter.title)) if chapter.title else b""
        yield _frame("CHAP", name + b"\0" + struct.pack(">IIII", *times, NEVER_ENDS, NEVER_ENDS) + title)


def _frame(name: str, content: bytes) -> bytes:
    return name.encode("ascii") + _spread(len(content)) + b"\0\0" + content


def _utf8(*values: str) -> bytes:
    return b"\3" + b"\0".join(value.encode() for value in values)


def _spread(size: int) -> bytes:
    """A size in four bytes of seven bits."""
    return bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0))
