"""Files with thousands of tags, as FFmpeg should see them: it takes the square of their number to read them.

Seconds become minutes so, each time that such a file is opened. Tags have readers of their own (`apollo.audio.tags`).
"""

from __future__ import annotations

import os
from itertools import takewhile
from pathlib import Path

from apollo.audio.chunks import MP4, find_chunk
from apollo.audio.flac import COMMENT, PADDING, blocks_of
from apollo.audio.stated_sizes import size_of_id3v2
from apollo.audio.views import FileView

_MANY = 1_000
_LARGEST = 1 << 26  # bytes looked through


def without_crowd(path: Path) -> FileView | None:
    """A view of a file that hides its tags, if there are thousands; else None."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if size := size_of_id3v2(head):
            tag = file.read(min(size, _LARGEST))
            crowded = tag.count(b"TXXX") + tag.count(b"TXX\0") + tag.count(b"COMM") > _MANY
            return FileView(path, min(end, size)) if crowded else None
        if head.startswith(b"fLaC"):
            for block in takewhile(lambda block: block.start < _LARGEST, blocks_of(file)):
                if block.kind == COMMENT:
                    file.seek(block.start)
                    file.seek(int.from_bytes(file.read(4), "little"), os.SEEK_CUR)  # behind the name of the program
                    crowded = int.from_bytes(file.read(4), "little") > _MANY
                    patches = {block.start - 4: bytes([PADDING | (0x80 if block.last else 0)])}
                    return FileView(path, patches=patches) if crowded else None
        elif head[4:8] == b"ftyp" and (moov := find_chunk(file, MP4, b"moov")) is not None:
            file.seek(moov.start)
            box = file.read(min(moov.size, _LARGEST))
            place = box.find(b"ilst")
            if place >= 0 and box.count(b"data", place) > _MANY:
                return FileView(path, patches={moov.start + place: b"free"})
    return None
