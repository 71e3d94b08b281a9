"""The tags of ASF: WMA and WMV.

Source: Advanced Systems Format (ASF) Specification, revision 01.20.05.
"""

from __future__ import annotations

import struct
from typing import BinaryIO
from uuid import UUID

from apollo.audio.pictures import Cover
from apollo.audio.tags.model import Found

HEADER = UUID("75B22630-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_DESCRIPTION = UUID("75B22633-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_MORE = UUID("D2D0A440-E307-11D2-97F0-00A0C95EA850").bytes_le
_EXTENSION = UUID("5FBF03B5-A92E-11CF-8EE3-00C00C205365").bytes_le
_METADATA = UUID("C5F8CBEA-5BAF-4877-8467-AA8C44FA4CCA").bytes_le
_LIBRARY = UUID("44231C94-9498-49D1-A141-1D134E457054").bytes_le
_LARGEST = 1 << 26
_SIZES = {2: 4, 3: 4, 4: 8, 5: 2}  # bytes of numbers by their type
_NAMES = {
    "title": "title", "author": "artist", "copyright": "copyright", "description": "comment", "wm/text": "comment",
    "wm/partofset": "disc", "wm/contentgroupdescription": "grouping", "wm/subtitle": "subtitle", "wm/year": "date",
    "wm/originalreleaseyear": "originaldate", "wm/trackcount": "tracktotal", "wm/contentdistributor": "distributor",
    "wm/authorurl": "website", "wm/iscompilation": "compilation", "wm/track": "",
}  # fmt: skip


def read_asf(file: BinaryIO, found: Found) -> None:
    """Read the header object; the file stands at its start."""
    head = file.read(30)
    size = min(int.from_bytes(head[16:24], "little"), _LARGEST)
    _read_objects(file.read(max(0, size - 30)), found)


def _read_objects(content: bytes, found: Found) -> None:
    at = 0
    while at + 24 <= len(content):
        kind, size = content[at : at + 16], int.from_bytes(content[at + 16 : at + 24], "little")
        if size < 24:
            return
        body = content[at + 24 : at + size]
        at += size
        if kind == _DESCRIPTION:
            start = 10
            for name, length in zip(
                ("Title", "Author", "Copyright", "Description"), struct.unpack_from("<4H", body), strict=False
            ):
                _add(name, 0, body[start : start + length], found)
                start += length
        elif kind in (_MORE, _METADATA, _LIBRARY):
            start = 2
            for _ in range(int.from_bytes(body[:2], "little")):
                if kind == _MORE:
                    (length,) = struct.unpack_from("<H", body, start)
                    form, value_size = struct.unpack_from("<HH", body, start + 2 + length)
                    name_at, head = start + 2, 6
                else:
                    _, _, length, form, value_size = struct.unpack_from("<HHHHI", body, start)
                    name_at, head = start + 12, 12
                start += head + length + value_size
                _add(_text(body[name_at : name_at + length]), form, body[start - value_size : start], found)
        elif kind == _EXTENSION:
            _read_objects(body[22:], found)


def _add(name: str, form: int, value: bytes, found: Found) -> None:
    if name == "WM/Picture":
        kind, size = struct.unpack_from("<BI", value)  # texts follow, and at the end the picture
        found.covers.append(Cover.of(value[len(value) - size :], kind))
    elif form == 0:
        found.add(_NAMES.get(name.lower(), name), _text(value))
    elif form in _SIZES:
        number = int.from_bytes(value[: _SIZES[form]], "little")
        if name.lower() in ("wm/tracknumber", "wm/partofset", "wm/beatsperminute", "wm/iscompilation"):
            found.add(_NAMES.get(name.lower(), name), str(number))
        elif name == "WM/SharedUserRating":
            found.drop("rating")


def _text(value: bytes) -> str:
    return value[: len(value) & ~1].decode("utf-16-le", "replace").rstrip("\0")
