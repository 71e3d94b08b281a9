"""The tags of WAV (LIST INFO, a chunk with ID3, BWF's bext, cue points) and of AIFF.

Sources: Multimedia Programming Interface and Data Specifications 1.0 (RIFF), EBU Tech 3285 (bext), EBU Tech 3306
(RF64).
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from typing import BinaryIO

from apollo.audio.chunks import IFF, RIFF, UNKNOWN, Layout, chunks
from apollo.audio.tags.id3 import read_id3v2
from apollo.audio.tags.id3_writing import write_id3v2
from apollo.audio.tags.legacy import decode_legacy
from apollo.audio.tags.model import Chapter, Found, Metadata
from apollo.audio.tags.names import RIFF_INFO

_LARGEST = 1 << 26
_NAMES = {chunk: name for name, chunk in RIFF_INFO.items()} | {
    "IPRT": "track", "TRCK": "track", "ISTR": "artist", "ISBJ": "subject", "IKEY": "keywords", "IENG": "engineer",
    "ISRF": "sourceform", "ICMS": "commissioned", "ISRC": "source", "IPRO": "producer", "IDIT": "digitizationdate",
    "YEAR": "date", "ILYC": "lyrics", "ICNT": "country", "IMBI": "", "ISFT": "encoder", "ITCH": "encodedby",
}  # fmt: skip
_SOUND = {b"fmt ", b"data", b"fact", b"PEAK", b"ds64", b"JUNK", b"FLLR", b"PAD ", b"bext", b"cue ", b"LIST", b"slnt"}
_AIFF = {b"NAME": "title", b"AUTH": "artist", b"(c) ": "copyright", b"ANNO": "comment"}
_AIFF_SOUND = {b"COMM", b"SSND", b"FVER", b"CHAN", b"PEAK", b"FLLR"}


def read_riff(file: BinaryIO, found: Found) -> None:
    """Read the chunks of a WAV ; `found` is to be empty."""
    points: dict[int, int] = {}
    labels: dict[int, bytes] = {}
    rate = 0
    own = Found()
    for name, content in _contents(file, RIFF):
        if name == b"fmt ":
            rate = int.from_bytes(content[4:8], "little")
        elif name == b"LIST":
            _read_list(content, own, labels)
        elif name in (b"id3 ", b"ID3 "):
            read_id3v2(content, found)
        elif name == b"bext":
            _read_bext(content, own)
        elif name == b"cue ":
            for at in range(4, len(content) - 23, 24):
                number, _, _, _, _, sample = struct.unpack_from("<II4sIII", content, at)
                points[number] = sample
        elif name not in _SOUND and name.isascii() and name.decode("ascii").isprintable():
            own.drop(f"chunk {name.decode('ascii').strip()}")
    if rate:
        known = list(labels)
        titles = dict(zip(known, decode_legacy([labels[number] for number in known])[0], strict=True))
        own.chapters += [Chapter(sample / rate, math.inf, titles.get(n, "")) for n, sample in points.items()]
    found.take(own)  # what ID3 lacks: it tells its code page, and holds more


def _read_list(content: bytes, found: Found, labels: dict[int, bytes]) -> None:
    for name, text in _contents(io.BytesIO(content), RIFF, 4):
        if content.startswith(b"INFO"):
            key = name.decode("latin-1")
            found.add(_NAMES.get(key, key.lower()), text.split(b"\0")[0], common=True)
        elif content.startswith(b"adtl") and name == b"labl" and len(text) > 4:
            labels[int.from_bytes(text[:4], "little")] = text[4:].split(b"\0")[0]


def _read_bext(content: bytes, found: Found) -> None:
    for name, start, size in (("comment", 0, 256), ("encodedby", 256, 32), ("date", 320, 10)):
        value = content[start : start + size].split(b"\0")[0].strip()
        if value and name not in found:
            found.add(name, value, common=True)


def read_aiff(file: BinaryIO, found: Found) -> None:
    """Read the chunks of an AIFF ; `found` is to be empty."""
    own = Found()
    for name, content in _contents(file, IFF):
        if name in _AIFF:
            own.add(_AIFF[name], content.split(b"\0")[0], common=True)
        elif name in (b"ID3 ", b"id3 "):
            read_id3v2(content, found)
        elif name not in _AIFF_SOUND and name.isascii() and name.decode("ascii").isprintable():
            own.drop(f"chunk {name.decode('ascii').strip()}")
    found.take(own)


def _contents(file: BinaryIO, layout: Layout, start: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Names of chunks with their contents, but for those of the sound, which are passed over."""
    for name, at, size in chunks(file, layout, start):
        if name not in (b"data", b"SSND"):
            file.seek(at)
            yield name, file.read(min(size, _LARGEST))


def add_to_wav(file: BinaryIO, metadata: Metadata) -> None:
    """Put tags behind the sound of a whole WAV or RF64: as INFO, which every program reads, and all of them as ID3."""
    info = b"".join(
        _chunk(RIFF_INFO[name].encode(), "; ".join(values).encode() + b"\0")
        for name, values in metadata.tags.items()
        if name in RIFF_INFO
    )
    tags = _chunk(b"LIST", b"INFO" + info) if info else b""
    tags += _chunk(b"id3 ", write_id3v2(metadata))
    file.seek(0)
    head = file.read(20)
    end = file.seek(0, 2)
    end += file.write(bytes(end % 2))
    if head.startswith(b"RIFF") and end + len(tags) - 8 > UNKNOWN:  # no size can tell of it
        return
    file.write(tags)
    if head.startswith(b"RIFF"):
        file.seek(4)
        file.write(struct.pack("<I", end + len(tags) - 8))
    else:
        file.seek(20)  # in ds64, which comes first
        file.write(struct.pack("<Q", end + len(tags) - 8))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
