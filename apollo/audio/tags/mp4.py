"""The tags of MP4: iTunes' list of atoms in moov.udta.meta.ilst.

Sources: ISO/IEC 14496-12 for boxes, and for what is in them
https://developer.apple.com/documentation/quicktime-file-format.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from apollo.audio.chunks import MP4, chunks, find_chunk
from apollo.audio.pictures import Cover
from apollo.audio.tags.id3 import GENRES
from apollo.audio.tags.model import Found, Metadata, utf8_or_bytes
from apollo.audio.tags.names import MP4_ATOMS, MP4_NAMES

_LARGEST = 1 << 27  # bytes of a list of atoms
_UTF8, _UTF16, _INTEGER = 1, 2, 21
_IMAGES = {"image/jpeg": 13, "image/png": 14, "image/bmp": 27}
_NAMES = {atom: name for name, atom in MP4_ATOMS.items()} | {"©day": "date", "©aut": "artist", "©cpy": "copyright"}
_INTEGERS = {"tmpo": 2, "cpil": 1, "stik": 1, "rtng": 1, "©mvi": 2, "©mvc": 2, "shwm": 1, "tves": 4, "tvsn": 4}
_MORE = {"©mvi": "movementnumber", "©mvc": "movementtotal", "shwm": "showmovement", "tves": "episode", "tvsn": "season"}
_PURCHASE = {"apID": "purchase account", "ownr": "owner", "purd": "purchase date", "akID": "purchase account"}
_STORE = {"cnID", "atID", "plID", "geID", "sfID", "cmID", "xid ", "egid"}
_TECHNICAL = {"©too", "©enc", "pgap", "hdvd", "free", "©swr"}


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names of boxes in memory with their contents."""
    for name, at, size in chunks(io.BytesIO(data), MP4):
        yield name.decode("latin-1"), data[at : at + size]


def read_mp4(file: BinaryIO, found: Found) -> None:
    """Read the list of atoms of a file."""
    start, stop = 0, file.seek(0, os.SEEK_END)
    for name in (b"moov", b"udta", b"meta", b"ilst"):
        inner = find_chunk(file, MP4, name, start, stop)
        if inner is None:
            return
        start, stop = inner.start, min(stop, inner.start + inner.size)
        if name == b"meta":  # a full box, but in QuickTime files
            file.seek(start)
            start += 0 if file.read(8)[4:] == b"hdlr" else 4
    if stop - start > _LARGEST:
        found.drop("tags of an impossible size")
        return
    file.seek(start)
    for atom, content in _boxes(file.read(stop - start)):
        _read_atom(atom, content, found)


def _read_atom(name: str, content: bytes, found: Found) -> None:
    parts = list(_boxes(content))
    values = [(int.from_bytes(part[1:4], "big"), part[8:]) for kind, part in parts if kind == "data"]
    if name == "----":
        free = next((part[4:].decode("utf-8", "replace") for kind, part in parts if kind == "name"), "")
        found.add(free, *(text for kind, value in values for text in _text(kind, value)))
    elif name in _PURCHASE:
        found.drop(f"{_PURCHASE[name]} ({name})")
    elif name in _STORE:
        found.drop(f"shop's numbers ({name.strip()})")
    elif name in ("trkn", "disk"):
        for _, value in values[:1]:
            number, total = struct.unpack_from(">2xHH", value)
            if number or total:
                text = f"{number}/{total}" if total else str(number)
                found.add("track" if name == "trkn" else "disc", text, common=True)
    elif name == "gnre":
        numbers = [int.from_bytes(value, "big") - 1 for _, value in values]
        found.add("genre", *(GENRES[number] for number in numbers if 0 <= number < len(GENRES)), common=True)
    elif name == "covr":
        for _, value in values:
            if value:
                found.covers.append(Cover.of(value, 0 if found.covers else 3))
    elif name in _INTEGERS:
        numbers = [int.from_bytes(value[:8], "big") for _, value in values if value]
        if not (name in ("cpil", "rtng", "shwm") and not any(numbers)):
            found.add(_NAMES.get(name) or _MORE[name], *map(str, numbers), common=True)
    elif name not in _TECHNICAL:
        texts = [text for kind, value in values for text in _text(kind, value)]
        if name in _NAMES:
            found.add(_NAMES[name], *texts, common=True)
        elif name.startswith("©") or name in ("catg", "keyw", "tven", "tvnn"):
            found.add(name.lstrip("©"), *texts)
        else:
            found.drop(name)


def _text(kind: int, value: bytes) -> list[str | bytes]:
    if kind == _UTF16:
        return [value.decode("utf-16-be", "replace")]
    if kind == _INTEGER:
        return [str(int.from_bytes(value[:8], "big", signed=True))]
    return [utf8_or_bytes(value)] if kind in (0, _UTF8) else []


def with_ilst(moov: bytes, metadata: Metadata) -> bytes:
    """The content of a box moov with other tags; what else lies in its udta, such as chapters, stays."""
    kept, user = [], []
    for name, content in _boxes(moov):
        if name == "udta":
            user = [_box(*inner) for inner in _boxes(content) if inner[0] != "meta"]
        else:
            kept.append(_box(name, content))
    atoms = b"".join(atom for name, values in metadata.tags.items() for atom in _atoms(name, values))
    pictures = [_data(_IMAGES[cover.mime], cover.data) for cover in metadata.covers if cover.mime in _IMAGES]
    if pictures:
        atoms += _box("covr", b"".join(pictures))
    handler = _box("hdlr", bytes(8) + b"mdirappl" + bytes(9))
    meta = _box("meta", bytes(4) + handler + _box("ilst", atoms))
    return b"".join([*kept, _box("udta", b"".join([*user, meta]))])


def _atoms(name: str, values: tuple[str, ...]) -> Iterator[bytes]:
    atom = MP4_ATOMS.get(name) or next((atom for atom, other in _MORE.items() if other == name), None)
    numbers = [int(value) for value in values if re.fullmatch(r"\d{1,9}", value)]
    if name in ("track", "disc"):
        match = re.fullmatch(r"(\d{1,5})(?:/(\d{1,5}))?", values[0])
        pair = (int(match[1]), int(match[2] or 0)) if match and len(values) == 1 else (1 << 16, 0)
        if max(pair) < 1 << 16:
            yield _box(MP4_ATOMS[name], _data(0, struct.pack(">2xHH", *pair) + bytes(2 if name == "track" else 0)))
            return
    elif atom in _INTEGERS:
        size = _INTEGERS[atom]
        if len(numbers) == len(values) and max(numbers) < 1 << 8 * size - 1:
            yield _box(atom, b"".join(_data(_INTEGER, number.to_bytes(size, "big")) for number in numbers))
            return
    elif atom is not None:
        yield _box(atom, b"".join(_data(_UTF8, value.encode()) for value in values))
        return
    free = MP4_NAMES.get(name, name if name.startswith("replaygain_") else name.upper())
    head = _box("mean", bytes(4) + b"com.apple.iTunes") + _box("name", bytes(4) + free.encode())
    yield _box("----", head + b"".join(_data(_UTF8, value.encode()) for value in values))


def _data(kind: int, value: bytes) -> bytes:
    return _box("data", struct.pack(">II", kind, 0) + value)


def _box(name: str, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name.encode("latin-1") + content
