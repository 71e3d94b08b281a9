"""The tags that programs put behind the sound of a file: ID3v2 with a footer, APE, Lyrics3 and ID3v1, in this order.

Sources: https://wiki.hydrogenaud.io/index.php?title=APEv2_specification, https://id3.org/Lyrics3,
https://id3.org/Lyrics3v2
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import BinaryIO

Place = tuple[int, int]  # where something begins, and how many bytes it has

_V1 = 128
_FOOTER = 32  # bytes of what an APE tag ends with, and begins with if it has a header
_LARGEST = 1 << 26
_ITEM = re.compile(rb".{8}[ -~]{2,255}\0|$", re.DOTALL)  # what items of an APE tag begin with: size, flags and key
_LYRICS = 5_100 + 20  # bytes that Lyrics3 of the first version may have


@dataclass(frozen=True)
class Tail:
    """The tags at the end of a file."""

    start: int  # where the first of them begins; the end of the file if there are none
    end: int  # of the file
    id3v1: Place | None = None
    ape: Place | None = None  # its items
    id3v2: Place | None = None

    @property
    def is_known_to_ffmpeg(self) -> bool:
        """Whether FFmpeg tells them from sound: all but ID3v1 look like one more frame to it, or like damage."""
        return self.end - self.start == (self.id3v1[1] if self.id3v1 else 0)


def tail_of(file: BinaryIO) -> Tail:
    """Find the tags at the end of a file."""

    def ending(size: int) -> bytes:
        file.seek(max(0, end - size))
        return file.read(min(size, end))

    id3v1 = ape = id3v2 = None
    size_of_file = end = file.seek(0, os.SEEK_END)
    if ending(_V1).startswith(b"TAG"):
        end -= _V1
        id3v1 = (end, _V1)
    if (size := _size_of_lyrics3(ending(_LYRICS))) <= end:
        end -= size
    footer = ending(_FOOTER)
    size = int.from_bytes(footer[12:16], "little") - _FOOTER
    if footer.startswith(b"APETAGEX") and 0 <= size <= min(_LARGEST, end - _FOOTER):
        file.seek(end - _FOOTER - size)
        if _ITEM.match(file.read(min(size, 300))):  # a wrong size must not hide sound
            end -= _FOOTER + size
            ape = (end, size)
            if ending(_FOOTER).startswith(b"APETAGEX"):
                end -= _FOOTER
    footer = ending(10)
    if footer.startswith(b"3DI") and 0 < (size := size_of_id3v2(b"ID3" + footer[3:])) <= end:
        end -= size
        id3v2 = (end, size)
    return Tail(end, size_of_file, id3v1, ape, id3v2)


def _size_of_lyrics3(ending: bytes) -> int:
    """Bytes of the Lyrics3 tag, of either version, with which a file ends; 0 if it does not."""
    mark = ending[-15:]
    if mark.endswith(b"LYRICS200") and mark[:6].isdigit():
        return 15 + int(mark[:6])
    begin = ending.rfind(b"LYRICSBEGIN") if mark.endswith(b"LYRICSEND") else -1
    return len(ending) - begin if begin >= 0 else 0


def size_of_id3v2(header: bytes) -> int:
    """Bytes of the tag that begins with these ten, footer included; 0 where none does."""
    if len(header) < 10 or not header.startswith(b"ID3") or header[3] > 4 or max(header[6:10]) > 0x7F:
        return 0
    return 10 * (2 if header[5] & 0x10 else 1) + syncsafe(header[6:10])


def syncsafe(four: bytes) -> int:
    """The number in four bytes of seven bits each (ID3v2.4 structure, 6.2)."""
    return sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(four))
