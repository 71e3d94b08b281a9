"""APEv2 tags, at the end of Monkey's Audio, WavPack, Musepack and many MP3.

Source: https://wiki.hydrogenaud.io/index.php?title=APEv2_specification
"""

from __future__ import annotations

import struct

from apollo.audio.pictures import Cover
from apollo.audio.tags.model import Found, utf8_or_bytes

_TEXT, _BINARY = 0, 1


def read_ape(items: bytes, found: Found) -> None:
    """Read the items of a tag, without its header and footer."""
    at = 0
    while at + 9 <= len(items):
        size, flags = struct.unpack_from("<II", items, at)
        end = items.index(b"\0", at + 8)
        key = items[at + 8 : end].decode("utf-8", "replace")
        value = items[end + 1 : end + 1 + size]
        at = end + 1 + size
        kind = flags >> 1 & 3
        if key.lower().startswith("cover art ("):
            data = value.partition(b"\0")[2]
            front = "front" in key.lower()
            found.covers.append(Cover.of(data, 3 if front else 4 if "back" in key.lower() else 0))
        elif kind == _BINARY:
            found.drop(key)
        elif key.lower().startswith("mp3gain_"):
            found.drop(key.lower())
        else:
            found.add(key, *(utf8_or_bytes(part) for part in value.split(b"\0")))
