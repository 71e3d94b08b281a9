"""Put tags into files that FFmpeg writes, in the way of each format and as a whole.

FFmpeg itself would keep one value a name and take seconds over thousands of them. So it writes files without tags, and
leaves room for them where they stand before the sound.
"""

from __future__ import annotations

import io
import os
from dataclasses import replace
from fractions import Fraction
from typing import BinaryIO

from av.container import OutputContainer

from apollo.audio.chunks import MP4, find_chunk
from apollo.audio.flac import blocks_of
from apollo.audio.pictures import Cover, open_picture
from apollo.audio.tags.id3_writing import write_id3v2
from apollo.audio.tags.model import Metadata
from apollo.audio.tags.mp4 import with_ilst
from apollo.audio.tags.ogg import replace_opus_tags
from apollo.audio.tags.riff import add_to_wav
from apollo.audio.tags.vorbis import LARGEST_BLOCK, flac_header, write_comments
from apollo.errors import AudioFileError

_SPARE = 1024  # bytes: values may yet change, and then tags become a little longer
_LARGEST_COVER = LARGEST_BLOCK - 1024  # bytes: what FLAC's 24 bits leave beside a description
_LARGEST_TAGS = LARGEST_BLOCK - 65536  # bytes of text: likewise
_STREAMINFO = 34
_MILLISECOND = Fraction(1, 1000)
_KINDS = {"mp4": ("image/jpeg", "image/png", "image/bmp")}  # of pictures, where not all


class Embedder:
    """Embeds tags, pictures and chapters in one file that is being written.

    Args:
        muxer: FFmpeg's name of the format.
        file: What is written to, from its start on; it must be readable as well.
        metadata: Close to what `finish` will be given.

    Attributes:
        file: What FFmpeg is to write to.
        options: For FFmpeg's muxer.
    """

    def __init__(self, muxer: str, file: BinaryIO, metadata: Metadata) -> None:
        self._muxer, self._whole = muxer, file
        metadata = self._fitting(metadata)
        self.options: dict[str, str] = {}
        self._reserved = 0
        self._comments = b""
        if muxer == "mp3":
            self.options = {"id3v2_version": "0", "write_id3v1": "0"}
            self._reserved = len(write_id3v2(metadata)) + _SPARE
        elif muxer == "flac":
            self._reserved = len(flac_header(bytes(_STREAMINFO), metadata)) + _SPARE
        elif muxer == "opus":
            self._reserved = len(write_comments(metadata, pictures=True)) + _SPARE
        self._metadata = metadata
        self.file: BinaryIO = _Shifted(file, self._reserved) if muxer in ("mp3", "flac") else file  # type: ignore[assignment]

    def prepare(self, container: OutputContainer) -> None:
        """Give FFmpeg what it is to write itself; to be called before it begins."""
        if self._muxer == "opus":
            container.metadata["PADDING"] = self._reserved * "0"
        if self._muxer == "mp4" and self._metadata.chapters:
            container.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(1000 * chapter.start),
                        "end": round(1000 * min(chapter.end, chapter.start + 360_000)),
                        "time_base": _MILLISECOND,
                        "metadata": {"title": chapter.title},
                    }
                    for number, chapter in enumerate(self._metadata.chapters)
                ]
            )

    def finish(self, metadata: Metadata) -> None:
        """Write the tags into the file that FFmpeg has closed; raises AudioFileError if they are much longer now."""
        metadata, file = self._fitting(metadata), self._whole
        if self._muxer == "mp3":
            self._put(write_id3v2(metadata, self._reserved), self._reserved)
        elif self._muxer == "flac":
            *_, last = blocks_of(file, self._reserved)
            sound = last.start + last.size
            file.seek(self._reserved + 8)
            self._put(flac_header(file.read(_STREAMINFO), metadata, sound), sound)
        elif self._muxer == "opus":
            comments = write_comments(metadata, pictures=True)
            self._check(len(comments), self._reserved)
            replace_opus_tags(file, comments)
        elif self._muxer == "mp4":
            _replace_ilst(file, metadata)
        elif self._muxer == "wav" and metadata:
            add_to_wav(file, metadata)
        file.flush()

    def _put(self, tags: bytes, room: int) -> None:
        self._check(len(tags), room)
        self._whole.seek(0)
        self._whole.write(tags)

    def _check(self, size: int, room: int) -> None:
        if size > room:
            raise AudioFileError(f"tags became longer by {size - room} bytes than there is room for in the file.")

    def _fitting(self, metadata: Metadata) -> Metadata:
        """What of it the format can hold."""
        covers = tuple(cover for cover in metadata.covers if self._holds(cover))
        tags = {**metadata.tags}
        sizes = {name: sum(len(value.encode()) + len(name) + 16 for value in values) for name, values in tags.items()}
        while sum(sizes.values()) > _LARGEST_TAGS:
            longest = max(sizes, key=sizes.__getitem__)
            del tags[longest], sizes[longest]
        return replace(metadata, tags=tags, covers=covers)

    def _holds(self, cover: Cover) -> bool:
        if len(cover.data) > _LARGEST_COVER or cover.mime not in _KINDS.get(self._muxer, (cover.mime,)):
            return False
        picture = open_picture(cover)
        if picture is None:
            return False
        picture.close()
        return True


class _Shifted(io.RawIOBase):
    """A file in which all places are counted from behind its first bytes."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        file.seek(start)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._file.write(data)

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(place + self._start if whence == os.SEEK_SET else place, whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def _replace_ilst(file: BinaryIO, metadata: Metadata) -> None:
    """Write the box moov again, which FFmpeg leaves at the end, behind the sound."""
    length = file.seek(0, os.SEEK_END)
    moov = find_chunk(file, MP4, b"moov")
    if moov is None or moov.start + moov.size != length:
        return
    file.seek(moov.start)
    content = with_ilst(file.read(), metadata)
    file.seek(moov.start - 8)
    file.write((8 + len(content)).to_bytes(4, "big") + b"moov" + content)
    file.truncate()
