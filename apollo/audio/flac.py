"""The blocks before the sound of a FLAC, and the headers of its frames (RFC 9639, sections 8 and 9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

STREAMINFO, PADDING, APPLICATION, COMMENT, CUESHEET, PICTURE = 0, 1, 2, 4, 5, 6


class Block(NamedTuple):
    """A metadata block."""

    kind: int
    start: int  # where its content begins
    size: int  # bytes of its content, as it states
    last: bool  # whether the sound follows


def blocks_of(file: BinaryIO, mark: int = 0) -> Iterator[Block]:
    """The blocks of a FLAC that begins at `mark`, in order; the file may be moved between two."""
    at, last = mark + 4, False
    while not last:
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return
        block = Block(header[0] & 0x7F, at + 4, int.from_bytes(header[1:], "big"), bool(header[0] & 0x80))
        yield block
        at, last = block.start + block.size, block.last


def first_sample(frame: bytes, block_size: int) -> int | None:
    """The first sample of the frame that some bytes, 16 or more, begin with; None where that is no header.

    `block_size` is for streams that only number their frames: samples in all but the last one; 0 if it is not known.
    """
    by_sample = frame[1:2] == b"\xf9"
    if len(frame) < 16 or frame[0] != 0xFF or not (by_sample or (frame[1] == 0xF8 and block_size)):
        return None
    ones = 0  # as in UTF-8: bytes of the number, where they are several
    while ones < 8 and frame[4] & (0x80 >> ones):
        ones += 1
    number = frame[4] & (0x7F >> ones)
    for byte in frame[5 : 4 + ones]:
        number = number << 6 | byte & 0x3F
    return number if by_sample else number * block_size
