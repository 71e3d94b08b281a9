"""Files as decoders should see them: a part of one, without what holds them up, or with other bytes in some places."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from apollo.audio.chunks import MP4, chunks, find_chunk
from apollo.audio.flac import COMMENT, PADDING, blocks_of
from apollo.audio.stated_sizes import chunk_layout
from apollo.audio.tails import size_of_id3v2, tail_of

MPEG_SUFFIXES = {".mp1", ".mp2", ".mp3"}  # of files that may begin with anything

_MANY_TAGS = 1_000
_LARGEST_HEADER = 1 << 26  # bytes looked through for tags
_MANY_ZEROS = 1 << 20  # bytes
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


class FileView(io.RawIOBase):
    """A part of a file, read only; `stop` None is the file's end.

    `patches` are bytes that stand in place of others, by where they begin in the file.
    """

    def __init__(
        self, path: Path, start: int = 0, stop: int | None = None, patches: Mapping[int, bytes] | None = None
    ) -> None:
        self._file = path.open("rb")
        self._start = start
        self._stop = self._file.seek(0, os.SEEK_END) if stop is None else stop
        self._patches = dict(patches or {})
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte of the part."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._stop - self._start}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The byte of the part that is read next."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as there is room for, fewer at the end."""
        first = self._start + self._position
        self._file.seek(first)
        data = bytearray(self._file.read(max(0, min(len(buffer), self._stop - first))))
        for place, patch in self._patches.items():
            for at, byte in enumerate(patch, place - first):
                if 0 <= at < len(data):
                    data[at] = byte
        buffer[: len(data)] = bytes(data)
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def without_crowd(path: Path) -> FileView | None:
    """A view of a file that hides its tags, if there are thousands; else None.

    FFmpeg takes the square of their number to read them: seconds become minutes, each time that the file is opened.
    Tags have readers of their own (`apollo.audio.tags`).
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if size := size_of_id3v2(head):
            tag = file.read(min(size, _LARGEST_HEADER))
            crowded = tag.count(b"TXXX") + tag.count(b"TXX\0") + tag.count(b"COMM") > _MANY_TAGS
            return FileView(path, min(end, size)) if crowded else None
        if head.startswith(b"fLaC"):
            for block in takewhile(lambda block: block.start < _LARGEST_HEADER, blocks_of(file)):
                if block.kind == COMMENT:
                    file.seek(block.start)
                    file.seek(int.from_bytes(file.read(4), "little"), os.SEEK_CUR)  # behind the name of the program
                    crowded = int.from_bytes(file.read(4), "little") > _MANY_TAGS
                    patches = {block.start - 4: bytes([PADDING | (0x80 if block.last else 0)])}
                    return FileView(path, patches=patches) if crowded else None
        elif head[4:8] == b"ftyp" and (moov := find_chunk(file, MP4, b"moov")) is not None:
            file.seek(moov.start)
            box = file.read(min(moov.size, _LARGEST_HEADER))
            place = box.find(b"ilst")
            if place >= 0 and box.count(b"data", place) > _MANY_TAGS:
                return FileView(path, patches={moov.start + place: b"free"})
    return None


def without_old_tags(path: Path) -> FileView | None:
    """A view of a file that hides tags at its end, if FFmpeg might take them for sound, or lose a frame; else None."""
    with path.open("rb") as file:
        tail = tail_of(file)
    return None if tail.is_known_to_ffmpeg else FileView(path, 0, tail.start)


def without_zeros(path: Path) -> FileView | None:
    """A view of a file that hides the zeros at its end, if there are many and none of them is sound; else None.

    Half-finished downloads and damaged disks leave them. FFmpeg looks for the next frame or chunk in all that follows:
    a gigabyte takes minutes, or several times its memory.
    """
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _LAST))
        if any(file.read(_LAST)):
            return None
        file.seek(0)
        head = file.read(_HEAD)
        is_ac3 = head[:2] in (b"\x0b\x77", b"\x77\x0b")  # few zeros are enough to make FFmpeg lose its last frame
        stop = max(_start_of_zeros(file, end, exactly=is_ac3), _end_of_sound(path, file, head, end))
    return FileView(path, 0, stop) if 0 < stop <= end - (_LAST if is_ac3 else _MANY_ZEROS) else None


def _start_of_zeros(file: BinaryIO, end: int, exactly: bool) -> int:
    """Where the zeros begin that a file ends with: to an even number of bytes, or a large number of them later."""
    while end:
        start = max(0, end - _MANY_ZEROS)
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
