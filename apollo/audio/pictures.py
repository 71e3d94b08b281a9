"""Pictures that go with music."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
from av.container import InputContainer

from apollo.audio.containers import open_image

_PICTURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"RIFF": "image/webp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}


@dataclass(frozen=True)
class Cover:
    """A picture that goes with music: the front of an album, its back, a page of its booklet."""

    data: bytes = field(repr=False)  # the whole picture file
    mime: str  # its kind: "image/jpeg", "image/png" and so on
    # What it shows, as ID3 and FLAC number it: 3 the front, 4 the back, 0 anything (RFC 9639, section 8.8).
    kind: int = 3
    description: str = ""  # may be empty

    @classmethod
    def of(cls, data: bytes, kind: int = 3, description: str = "") -> Cover:
        """A cover from the bytes of a picture file, whose format its first bytes tell."""
        known = (mime for start, mime in _PICTURES.items() if data.startswith(start))
        mime = next(known, "application/octet-stream")
        return cls(data, mime, kind if 0 <= kind <= 20 else 0, description.replace("\0", " "))


def open_picture(cover: Cover) -> InputContainer | None:
    """Open a cover as a container of one picture; None where it is no picture that FFmpeg knows, or a broken one."""
    try:
        container = open_image(cover.data)
    except (av.FFmpegError, ValueError):
        return None
    if cover.mime in _PICTURES.values() and container.streams.video and container.streams.video[0].width > 0:
        return container
    container.close()
    return None


def size_of_picture(cover: Cover) -> tuple[int, int]:
    """Width and height in pixels; 0 where they cannot be read."""
    container = open_picture(cover)
    if container is None:
        return 0, 0
    with container:
        return container.streams.video[0].width, container.streams.video[0].height
