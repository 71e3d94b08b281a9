"""Cover pictures in audio files: read them out, and make ready to write them into another."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition

from apollo.audio.containers import open_container, open_image
from apollo.errors import AudioFileError

__all__ = ["Cover", "open_picture", "picture_block", "read_cover"]

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
    """A picture of the front of an album.

    Attributes:
        data: The whole picture file.
        mime: Its kind: "image/jpeg", "image/png" and so on.
    """

    data: bytes = field(repr=False)
    mime: str

    @classmethod
    def of(cls, data: bytes) -> Cover:
        """A cover from the bytes of a picture file, whose kind its first bytes tell."""
        known = (mime for start, mime in _PICTURES.items() if data.startswith(start))
        return cls(data, next(known, "application/octet-stream"))


def read_cover(path: str | Path) -> Cover | None:
    """The cover picture in a file, the front one if there are several; None where there is none that can be read.

    Raises:
        AudioFileError: There is no such file, or it cannot be opened.
    """
    path = Path(path)
    try:
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be read"
        raise AudioFileError(f"{path!s} cannot be opened ({reason}); check its name and permissions.") from None
    try:
        with open_container(path) as container:
            pictures = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
            pictures.sort(key=lambda stream: "front" not in stream.metadata.get("comment", "").lower())
            for stream in pictures[:1]:
                for packet in container.demux(stream):
                    if packet.size:
                        return Cover.of(bytes(packet))
    except (av.FFmpegError, ValueError, OSError):
        return None
    return None


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


def picture_block(cover: Cover) -> str | None:
    """A cover as the comment METADATA_BLOCK_PICTURE of Ogg files: FLAC's block (RFC 9639, section 8.8) in base64."""
    container = open_picture(cover)
    if container is None:
        return None
    with container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
    mime, depth, colours, front = cover.mime.encode(), 24, 0, 3
    block = struct.pack(">II", front, len(mime)) + mime + struct.pack(">I", 0)
    block += struct.pack(">IIIII", width, height, depth, colours, len(cover.data)) + cover.data
    return base64.b64encode(block).decode("ascii")
