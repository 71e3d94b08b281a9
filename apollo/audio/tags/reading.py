"""Read the tags of a file of any kind, by what it holds and whatever it is called.

No library with a free enough licence reads all of them (tinytag: no APEv2, Matroska, chapters or code pages), and none
writes. FFmpeg gives one value a name, drops letters that are not UTF-8, and takes seconds for thousands of tags.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import av

from apollo.audio.containers import open_container
from apollo.audio.pictures import Cover
from apollo.audio.tags.ape import read_ape
from apollo.audio.tags.asf import HEADER, read_asf
from apollo.audio.tags.id3 import read_id3v1, read_id3v2
from apollo.audio.tags.matroska import read_matroska
from apollo.audio.tags.model import Chapter, Found, Metadata
from apollo.audio.tags.mp4 import read_mp4
from apollo.audio.tags.ogg import read_ogg
from apollo.audio.tags.riff import read_aiff, read_riff
from apollo.audio.tags.vorbis import read_flac
from apollo.audio.tails import size_of_id3v2, tail_of
from apollo.errors import AudioFileError
from apollo.regular import refuse_special

# What damaged tags lead to; what was read before the damage counts.
_DAMAGE = (struct.error, ValueError, IndexError, KeyError, OverflowError, EOFError)
_LARGEST = 1 << 28  # bytes of ID3v2: what its header can tell


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
    found, own = Found(), Found()
    start = 0
    file.seek(0)
    while size := size_of_id3v2(file.read(10)):  # there may be several
        file.seek(start)
        with suppress(*_DAMAGE):
            read_id3v2(file.read(min(size, _LARGEST)), found)
        start += size
        file.seek(start)
    file.seek(start)
    head = file.read(16)
    file.seek(start)
    known = ((kind, read) for kind, pattern, read in _CONTAINERS if re.match(pattern, head, re.DOTALL))
    kind, read = next(known, ("mpeg" if start or re.match(_STREAMS, head) else "other", None))
    if read is not None:
        with suppress(*_DAMAGE):
            read(file, own)
    own.take(found)
    _read_end(file, own)
    return kind, own


def _read_dsf(file: BinaryIO, found: Found) -> None:
    """Read the ID3v2 to which the header of a DSF file points."""
    file.seek(20)
    file.seek(int.from_bytes(file.read(8), "little"))
    read_id3v2(file.read(_LARGEST), found)


# Kinds of containers, what they begin with, and what reads their tags from there.
_CONTAINERS: tuple[tuple[str, bytes, Callable[[BinaryIO, Found], None]], ...] = (
    ("flac", b"fLaC", read_flac),
    ("ogg", b"OggS", read_ogg),
    ("wav", b"(RIFF|RF64|BW64)....WAVE", read_riff),
    ("aiff", b"FORM....AIF[FC]", read_aiff),
    ("matroska", b"\x1aE\xdf\xa3", read_matroska),
    ("asf", re.escape(HEADER), read_asf),
    ("dsf", b"DSD ", _read_dsf),
    ("mp4", b"....(ftyp|moov|mdat|wide|free|skip)", read_mp4),
)
_STREAMS = b"\xff|wvpk|MAC |MPCK|TTA1|OFR |tBaK"  # with tags at their ends alone


def _read_end(file: BinaryIO, found: Found) -> None:
    """Read what lies at the end of a file: APEv2, ID3v2 with a footer, ID3v1."""
    tail = tail_of(file)
    for read, place in ((read_ape, tail.ape), (read_id3v2, tail.id3v2), (read_id3v1, tail.id3v1)):
        if place is not None:
            tag = Found()
            file.seek(place[0])
            with suppress(*_DAMAGE):
                read(file.read(place[1]), tag)
            found.take(tag)


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
