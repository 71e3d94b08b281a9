"""The headers of FLAC's frames (RFC 9639, section 9.1), which tell where in the recording their samples belong."""

from __future__ import annotations


def first_sample(frame: bytes, block_size: int) -> int | None:
    """The first sample of a frame; None where that is no header.

    Args:
        frame: Its first 16 bytes or more.
        block_size: Samples in all frames but the last, for streams that only number them; 0 where it is not known.
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
