"""Files with thousands of tags, as FFmpeg should see them: it takes the square of their number to read them.

Seconds become minutes so, each time that such a file is opened. Tags have readers of their own (`apollo.audio.tags`).
"""

from __future__ import annotations

import struct
from pathlib import Path

from apollo.audio.views import FileView

__all__ = ["without_crowd"]

_MANY = 1_000
_LARGEST = 1 << 26  # bytes looked through
_PADDING, _COMMENT = 1, 4  # kinds of FLAC's blocks


def without_crowd(path: Path) -> FileView | None:
    """A view of a file that hides its tags, if there are thousands; else None."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        if head.startswith(b"ID3"):
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
            tag = file.read(min(size, _LARGEST))
            crowded = tag.count(b"TXXX") + tag.count(b"TXX\0") + tag.count(b"COMM") > _MANY
            return FileView(path, min(end, size + (20 if head[5] & 0x10 else 10))) if crowded else None
        if head.startswith(b"fLaC"):
            at, last = 4, False
            while not last and at < _LARGEST:
                file.seek(at)
                header = file.read(8)
                if len(header) < 8:
                    return None
                last = bool(header[0] & 0x80)
                if header[0] & 0x7F == _COMMENT:
                    file.seek(at + 8 + int.from_bytes(header[4:], "little"))
                    crowded = int.from_bytes(file.read(4), "little") > _MANY
                    return FileView(path, patches={at: bytes([_PADDING | (0x80 if last else 0)])}) if crowded else None
                at += 4 + int.from_bytes(header[1:4], "big")
        elif head[4:8] == b"ftyp":
            at = 0
            while at + 8 <= end:
                file.seek(at)
                size, name = struct.unpack(">I4s", file.read(8))
                if name == b"moov":
                    box = file.read(min(size, _LARGEST))
                    place = box.find(b"ilst")
                    crowded = place >= 0 and box.count(b"data", place) > _MANY
                    return FileView(path, patches={at + 8 + place: b"free"}) if crowded else None
                if size == 1:
                    size = int.from_bytes(file.read(8), "big")
                if size < 8:
                    return None
                at += size
    return None
