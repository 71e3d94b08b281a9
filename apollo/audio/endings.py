"""Whether a file is all there by how it is built, where no header tells how long it should be."""

from __future__ import annotations

import os
import re
import struct
from functools import reduce
from operator import xor
from pathlib import Path
from typing import BinaryIO

import av

from apollo.audio.chunks import RIFF, chunks
from apollo.audio.ogg import links_of

_TAIL = 1 << 22  # bytes searched for what stands at an end
_NUT = b"nut/multimedia container\0"
_HEADERS = 256  # bytes of them that NUT may have between its last packet and its index
_LEFT_OUT = 8  # bytes that all frames begin with, which NUT has in its header
_NUT_INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"  # begins the index, which is the last that is written
_IRCAM = {b"\x64\xa3" + bytes([machine, 0]): "<" for machine in range(1, 5)}
_IRCAM |= {bytes([0, machine]) + b"\xa3\x64": ">" for machine in range(1, 5)}
_SDS_HEADER, _SDS_BLOCK = 21, 127  # bytes (MIDI Sample Dump Standard)
_CODED_IN_FRAMES = {"mp1", "mp2", "mp3", "aac", "ac3", "eac3", "dts"}


def lacks_its_end(path: Path) -> bool:
    """Whether a file was cut off before the end that its kind marks, or within one of the units that it consists of.

    Ogg marks its last page, NUT ends with an index; MPEG-TS is packets of one size, and samples have a width.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        end = file.seek(0, os.SEEK_END)
        if head[:4] == b"OggS":
            return not links_of(path)[-1].ended
        for size, first in ((188, 0), (192, 4), (204, 0)):
            if len(head) > first + 4 * size and all(head[first + size * n] == 0x47 for n in range(5)):
                file.seek(end - end % size + first)
                return file.read(1) == b"\x47"
        if head.startswith(_NUT):
            return _index_of_nut(file) is None
    start, width = _samples(head)
    return bool(width and (end - start) % width)


def nut_lacks_sound(path: Path, end: int) -> bool:
    """Whether the packets of a NUT with one stream, which end at a byte, do not lead up to its index."""
    with path.open("rb") as file:
        index = _index_of_nut(file)
    return index is None or not index - _HEADERS <= end <= index + _LEFT_OUT


def is_part_of_frame(packet: bytes, codec: str, first: bytes) -> bool:
    """Whether a packet is the beginning of a frame whose end is missing.

    Args:
        packet: What is left at the end of a file.
        codec: FFmpeg's name of its codec.
        first: The first packet; what begins in another way, such as a tag, is no frame at all.
    """
    if codec not in _CODED_IN_FRAMES or not packet or packet[:2] != first[:2]:
        return False
    if codec == "aac" and packet[0] != 0xFF:  # without the headers of ADTS
        return False
    # A frame that is all there ends where the next one begins.
    frames = av.CodecContext.create(codec, "r").parse(packet + packet)
    return not frames or frames[0].size != len(packet)


def break_in_avi(path: Path) -> float | None:
    """Where the chunks of an AVI no longer follow each other, as a share of the file; None where they do to its end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        lists = [(RIFF.first, end, False)]
        while lists:
            at, stop, in_film = lists.pop()
            stop, whole = min(stop, end), stop <= end
            for chunk in chunks(file, RIFF, at, stop):
                file.seek(chunk.start)
                if in_film and whole and chunk.start + chunk.size > stop + 1:
                    return chunk.start / end
                if chunk.name in (b"LIST", b"RIFF") and (kind := file.read(4)) in (b"movi", b"AVIX"):
                    lists.append((chunk.start + 4, chunk.start + chunk.size, kind == b"movi"))
                at = chunk.start + chunk.size + chunk.size % 2
            if in_film and at + 8 <= stop:
                return at / end
    return None


def is_whole_sds(path: Path) -> bool:
    """Whether a MIDI sample dump is as it was written; of others, libsndfile prints each block that is not."""
    with path.open("rb") as file:
        file.seek(_SDS_HEADER)
        while block := file.read(_SDS_BLOCK):
            if (
                len(block) < _SDS_BLOCK
                or (block[0], block[-1]) != (0xF0, 0xF7)
                or reduce(xor, block[1:-2]) != block[-2]
            ):
                return False
    return True


def _index_of_nut(file: BinaryIO) -> int | None:
    start = max(0, file.seek(0, os.SEEK_END) - _TAIL)
    file.seek(start)
    found = file.read().rfind(_NUT_INDEX)
    return start + found if found >= 0 else None


def _samples(head: bytes) -> tuple[int, int]:
    """Where samples begin and how wide one of all channels is, in kinds that tell no length; (0, 0) of others."""
    if (order := _IRCAM.get(head[:4])) is not None and len(head) >= 16:
        channels, kind = struct.unpack(f"{order}II", head[8:16])
        return 1024, channels * (kind & 0xF)
    if head[:4] in (b" paf", b"fap ") and len(head) >= 24:
        kind, channels = struct.unpack(">II" if head[:4] == b" paf" else "<II", head[16:24])
        return 2048, channels * {0: 2, 2: 1}.get(kind, 0)
    if match := re.match(rb"PVF1\n(\d{1,4}) \d{1,9} (\d\d?)\n", head):
        return match.end(), int(match[1]) * int(match[2]) // 8
    return 0, 0
