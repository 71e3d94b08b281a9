"""Files with many zeros at their end, as half-finished downloads and damaged disks have, as FFmpeg should see them.

It looks for the next frame or chunk in all that follows. A gigabyte takes minutes, or several times its memory.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from apollo.audio.chunks import chunks
from apollo.audio.stated_sizes import chunk_layout
from apollo.audio.views import FileView

MPEG_SUFFIXES = {".mp1", ".mp2", ".mp3"}  # of files that may begin with anything

_MANY = 1 << 20  # bytes
_LAST = 1 << 6  # bytes that tell of most files that they do not end in zeros
_HEAD = 1 << 10
# Kinds in which every frame or packet begins with a mark, so that many zeros are no sound: MPEG, AC-3, DTS, TrueHD,
# LOAS, AMR, Ogg, FLAC, WavPack, Matroska, NUT, ASF, FLV, RealMedia, and MPEG's program and transport streams.
_MARKED = re.compile(
    rb"ID3|\xff[\xe0-\xff]|\x0b\x77|\x77\x0b|\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\0|\xff\x1f\0\xe8"
    rb"|.{4}\xf8\x72\x6f|\x56[\xe0-\xff]|#!AMR|OggS|fLaC|wvpk|\x1a\x45\xdf\xa3|\x30\x26\xb2\x75|FLV\x01|\.RMF|nut/"
    rb"|\0\0\x01\xba|G.{187}G|.{4}G.{191}G|G.{203}G",
    re.DOTALL,
)


def without_zeros(path: Path) -> FileView | None:
    """A view of a file that hides the zeros at its end, if there are many and none of them is sound; else None."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _LAST))
        if any(file.read(_LAST)):
            return None
        file.seek(0)
        head = file.read(_HEAD)
        is_ac3 = head[:2] in (b"\x0b\x77", b"\x77\x0b")  # few zeros are enough to make FFmpeg lose its last frame
        stop = max(_start_of_zeros(file, end, exactly=is_ac3), _end_of_sound(path, file, head, end))
    return FileView(path, 0, stop) if 0 < stop <= end - (_LAST if is_ac3 else _MANY) else None


def _start_of_zeros(file: BinaryIO, end: int, exactly: bool) -> int:
    """Where the zeros begin that a file ends with: to an even number of bytes, or a large number of them later."""
    while end:
        start = max(0, end - _MANY)
        file.seek(start)
        block = file.read(end - start)
        if block != bytes(len(block)):
            return (start + len(block.rstrip(b"\0")) + 1) // 2 * 2 if exactly else end
        end = start
    return 0


def _end_of_sound(path: Path, file: BinaryIO, head: bytes, end: int) -> int:
    """Where the sound ends at the latest, as far as the kind of a file tells; 0 where no zeros are sound."""
    if (layout := chunk_layout(head)) is not None:
        ends = (chunk.start + chunk.size if chunk.size >= 0 else end for chunk in chunks(file, layout))
        return max(ends, default=end)
    return 0 if _MARKED.match(head) or path.suffix.lower() in MPEG_SUFFIXES else end
