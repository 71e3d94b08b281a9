"""Read the tags of a file of any kind, by what it holds and whatever it is called.

No library with a free enough licence reads all of them (tinytag: no APEv2, Matroska, chapters or code pages), and none
writes. FFmpeg gives one value a name, drops letters that are not UTF-8, and takes seconds for thousands of tags.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import av

from apollo.audio.containers import open_container
from apollo.audio.pictures import Cover
from apollo.audio.tags.ape import find_ape, read_ape
from apollo.audio.tags.asf import HEADER, read_asf
from apollo.audio.tags.id3 import read_id3v1, read_id3v2, size_of_id3v2
from apollo.audio.tags.matroska import read_matroska
from apollo.audio.tags.model import Chapter, Found, Metadata
from apollo.audio.tags.mp4 import find_box, read_mp4
from apollo.audio.tags.ogg import read_ogg
from apollo.audio.tags.riff import read_aiff, read_riff
from apollo.audio.tags.vorbis import read_flac
from apollo.errors import AudioFileError
from apollo.regular import refuse_special

__all__ = ["read_cover", "read_metadata"]

# What damaged tags lead to; what was read before the damage counts.
_DAMAGE = (struct.error, ValueError, IndexError, KeyError, OverflowError, EOFError)
_LARGEST = 1 << 28  # bytes of ID3v2: what its header can tell
_V1, _LYRICS3 = 128, b"LYRICS200"


def read_metadata(path: str | Path) -> Metadata:
    """Read what a file says of the music in it; what is damaged is left out.

    Raises:
        AudioFileError: There is no such file, or it cannot be opened.
    """
    path = Path(path)
    refuse_special(path, AudioFileError)
    try:
        with path.open("rb") as file:
            kind, found = _read(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name cannot be read"
        raise AudioFileError(f"{path!s} cannot be opened ({reason}); check its name and permissions.") from None
    if kind in ("mp4", "matroska", "asf", "other"):
        _ask_ffmpeg(path, found, tags=kind == "other" or (kind == "mp4" and found.is_empty))
    return found.settle()


def read_cover(path: str | Path) -> Cover | None:
    """The cover picture in a file, the front one if there are several; None where there is none that can be read.

    Raises:
        AudioFileError: There is no such file, or it cannot be opened.
    """
    return next(iter(read_metadata(path).covers), None)


def _read(file: BinaryIO) -> tuple[str, Found]:
    """Read all tags of a file; gives the kind of container, and what was found."""
    found = Found()
    length = file.seek(0, 2)
    file.seek(0)
    start = 0
    while size := size_of_id3v2(file.read(10)):  # there may be several
        file.seek(start)
        _guarded(read_id3v2, file.read(min(size, _LARGEST)), found)
        start += size
        file.seek(start)
    file.seek(start)
    head = file.read(16)
    file.seek(start)
    kind, own = "mpeg", Found()
    if head.startswith(b"fLaC"):
        kind = "flac"
        file.seek(start + 4)
        _guarded(read_flac, file, own)
    elif head.startswith(b"OggS"):
        kind = "ogg"
        _guarded(read_ogg, file, own)
    elif head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        kind = "wav"
        _guarded(read_riff, file, length, own)
    elif head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        kind = "aiff"
        _guarded(read_aiff, file, length, own)
    elif head.startswith(b"\x1aE\xdf\xa3"):
        kind = "matroska"
        _guarded(read_matroska, file, length, own)
    elif head.startswith(HEADER):
        kind = "asf"
        _guarded(read_asf, file, own)
    elif head.startswith(b"DSD "):
        kind = "dsf"
        file.seek(20)
        file.seek(int.from_bytes(file.read(8), "little"))
        _guarded(read_id3v2, file.read(_LARGEST), own)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip") and find_box(file, "moov", 0, length):
        kind = "mp4"
        _guarded(read_mp4, file, length, own)
    elif not (head[:1] == b"\xff" or start or head[:4] in (b"wvpk", b"MAC ", b"MPCK", b"TTA1", b"OFR ", b"tBaK")):
        kind = "other"
    own.take(found)
    _read_end(file, length, own)
    return kind, own


def _read_end(file: BinaryIO, length: int, found: Found) -> None:
    """Read what lies at the end of a file: APEv2, ID3v2 with a footer, ID3v1."""
    end = length
    file.seek(max(0, end - _V1))
    oldest = file.read(_V1) if end >= _V1 else b""
    if oldest.startswith(b"TAG"):
        end -= _V1
    else:
        oldest = b""
    file.seek(max(0, end - 15))
    mark = file.read(15)
    if mark.endswith(_LYRICS3) and mark[:6].isdigit():
        end -= 15 + int(mark[:6])
    if place := find_ape(file, end):
        file.seek(place[0])
        tag = Found()
        _guarded(read_ape, file.read(place[1]), tag)
        found.take(tag)
        end = place[0]
    file.seek(max(0, end - 10))
    footer = file.read(10)
    if footer.startswith(b"3DI"):
        size = size_of_id3v2(b"ID3" + footer[3:])
        if 0 < size <= end:
            file.seek(end - size)
            tag = Found()
            _guarded(read_id3v2, file.read(size), tag)
            found.take(tag)
    tag = Found()
    read_id3v1(oldest, tag)
    found.take(tag)


def _guarded(read: Callable[..., None], *arguments: object) -> None:
    with suppress(*_DAMAGE):
        read(*arguments)


def _ask_ffmpeg(path: Path, found: Found, tags: bool) -> None:
    """Chapters, and of containers that only FFmpeg knows also the tags."""
    try:
        with open_container(path) as container:
            for chapter in container.chapters():
                base = chapter["time_base"] or 0
                times = [float(chapter[key] * base) for key in ("start", "end")]
                found.chapters.append(Chapter(times[0], times[1], chapter["metadata"].get("title", "")))
            if tags and container.streams.audio:
                for name, text in {**container.streams.audio[0].metadata, **container.metadata}.items():
                    if name.lower() not in ("language", "title-eng", "timecode"):
                        found.add(name, text)
    except (av.FFmpegError, OSError, *_DAMAGE):
        return
