"""Where the sound of rarer kinds of files begins and where it should end, by their headers."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

_MOST = 10_000  # blocks of a file that are looked at
_MATLAB_4 = (8, 4, 4, 2, 2, 1)  # bytes of a number by its type


def rare_extent(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    """Where the sound of a file begins and where it should end; (0, 0) where it is none of these kinds.

    Args:
        file: Opened for reading.
        head: Its first kilobyte or more.
        end: Where it ends.
    """
    for pattern, extent in _KINDS.items():
        if re.match(pattern, head, re.DOTALL) and len(head) > 64:
            return extent(file, head, end)
    return 0, 0


def _u32(head: bytes, at: int, order: str = "<") -> int:
    return int(struct.unpack_from(f"{order}I", head, at)[0])


def _adx(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    start = int.from_bytes(head[2:4], "big") + 4
    return start, start + -(-_u32(head, 12, ">") // 32) * head[5] * head[7]  # blocks of 32 samples


def _nist(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    start = int(head[8:].split(b"\n", 1)[0])
    fields = {name: int(value) for name, value in re.findall(rb"(\w+) -i (\d{1,12})\b", head)}
    width = fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 1)
    return start, start + width * fields.get(b"sample_count", 0)


def _rso(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    size = int.from_bytes(head[2:4], "big")
    return (8, 8 + size) if size < 0xFFFF else (0, 0)


def _sox(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    order = "<" if head[0] == ord(".") else ">"
    start, samples = struct.unpack_from(f"{order}IQ", head, 4)
    return 4 + start, 4 + start + 4 * samples


def _voc(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    start = at = int.from_bytes(head[20:22], "little")
    for _ in range(_MOST):
        file.seek(at)
        block = file.read(4)
        if at + 4 > end or block[0] == 0:
            return start, at
        at += 4 + int.from_bytes(block[1:], "little")
    return 0, 0


def _matlab_4(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    order = "<" if _u32(head, 0) < 100 else ">"
    start = at = 0
    for _ in range(_MOST):
        if at + 20 > end:
            return start, at
        file.seek(at)
        kind, rows, columns, _, name = struct.unpack(f"{order}5I", file.read(20))
        start = at + 20 + name
        if kind // 10 % 10 >= len(_MATLAB_4):
            break
        at = start + rows * columns * _MATLAB_4[kind // 10 % 10]
    return 0, 0


def _matlab_5(file: BinaryIO, head: bytes, end: int) -> tuple[int, int]:
    order = "<" if head[126:128] == b"IM" else ">"
    at = 128
    for _ in range(_MOST):
        if at + 8 > end:
            return 128, at
        file.seek(at)
        at += 8 + struct.unpack(f"{order}II", file.read(8))[1]
    return 0, 0


# By what a file of a kind begins with.
_KINDS: dict[bytes, Callable[[BinaryIO, bytes, int], tuple[int, int]]] = {
    rb"2BIT": lambda file, head, end: (
        128,
        128 + _u32(head, 26, ">") * (2 if any(head[12:14]) else 1) * int.from_bytes(head[14:16], "big") // 8,
    ),
    rb"ALawSoundFile": lambda file, head, end: (32, 32 + _u32(head, 18, ">")),
    rb".{20}vs12": lambda file, head, end: (100, _u32(head, 24)),
    rb"\x01\x04[ -~]{17}": lambda file, head, end: (42, 42 + 2 * (1 + head[21]) * _u32(head, 30)),
    rb"DSD .{8}": lambda file, head, end: (28, int.from_bytes(head[12:20], "little")),
    rb"FRM8.{8}DSD ": lambda file, head, end: (16, 12 + int.from_bytes(head[4:12], "big")),
    rb"\x80\0.{2}\x03\x12\x04": _adx,
    rb"NIST_1A\n {0,6}\d{1,7}\n": _nist,
    rb"\x01\0.{4}\0\0": _rso,
    rb"\.SoX|XoS\.": _sox,
    rb"Creative Voice File\x1a": _voc,
    rb".{20}(?:samplerate|wavedata)": _matlab_4,
    rb"MATLAB 5\.0 MAT-file": _matlab_5,
}
