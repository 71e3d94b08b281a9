"""The tags of Matroska and WebM.

Sources: RFC 8794 (EBML), RFC 9559 (Matroska), https://www.matroska.org/technical/tagging.html.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from apollo.audio.pictures import Cover
from apollo.audio.tags.model import Found
from apollo.audio.tags.names import is_technical

_SEGMENT, _INFO, _TRACKS, _TAGS, _ATTACHMENTS = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1254C367, 0x1941A469
_TITLE = 0x7BA9
_TRACK, _TRACK_ID, _TRACK_TYPE = 0xAE, 0x73C5, 0x83
_TAG, _TARGETS, _LEVEL, _TARGET_TRACK, _TARGET_PARTS = 0x7373, 0x63C0, 0x68CA, 0x63C5, {0x63C4, 0x63C9, 0x63C6}
_SIMPLE, _NAME, _TEXT = 0x67C8, 0x45A3, 0x4487
_FILE, _FILE_NAME, _FILE_TYPE, _FILE_DATA, _FILE_TEXT = 0x61A7, 0x466E, 0x4660, 0x465C, 0x467E
_ALBUM, _SOUND = 50, 2
_LARGEST = 1 << 26
_MOST = 1_000_000  # elements looked at
_OF_ALBUM = {"title": "album", "artist": "album_artist", "part_number": "disc", "total_parts": "tracktotal"}


def read_matroska(file: BinaryIO, found: Found) -> None:
    """Read the tags of a file; it stands at its start."""
    sounds: set[int] = set()
    title = ""
    albums: list[tuple[str, str]] = []
    songs: list[tuple[str, str]] = []
    for identifier, start, end in _top(file):
        if identifier not in (_INFO, _TRACKS, _TAGS, _ATTACHMENTS) or end - start > _LARGEST:
            continue
        file.seek(start)
        content = file.read(end - start)
        if identifier == _INFO:
            title = next((_string(value) for key, value in _elements(content) if key == _TITLE), "")
        elif identifier == _TRACKS:
            for key, value in _elements(content):
                entry = dict(_elements(value)) if key == _TRACK else {}
                if _number(entry.get(_TRACK_TYPE, b"")) == _SOUND:
                    sounds.add(_number(entry.get(_TRACK_ID, b"")))
        elif identifier == _TAGS:
            for key, value in _elements(content):
                if key == _TAG:
                    _read_tag(value, sounds, albums, songs)
        else:
            for key, value in _elements(content):
                if key == _FILE:
                    _read_attachment(value, found)
    of_song = {name for name, _ in songs}
    for name, text in songs:
        found.add(name, text)
    if title and "title" not in of_song:
        found.add("title", title)
    for name, text in albums:
        # Where nothing is said of a song, what is said of the whole is said of it.
        if songs and name in _OF_ALBUM:
            found.add(_OF_ALBUM[name], text)
        elif name not in of_song and not (name == "title" and title):
            found.add(name, text)


def _top(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """The elements in the segment: what they are, where their content begins, and where it ends."""
    at, looked_at, length = file.tell(), 0, file.seek(0, os.SEEK_END)
    while at < length and looked_at < _MOST:
        file.seek(at)
        head = file.read(12)
        identifier, start = _vint(head, 0, marked=True)
        size, start = _vint(head, start)
        if size < 0 and identifier != _SEGMENT:
            return
        looked_at += 1
        at += start
        if identifier != _SEGMENT:
            yield identifier, at, min(length, at + size)
            at += size


def _vint(data: bytes, at: int, marked: bool = False) -> tuple[int, int]:
    """A number of variable length, and where what follows begins; -1 for one that is not known."""
    width = 9 - data[at].bit_length()
    if width > 8 or at + width > len(data):
        raise ValueError("no number")
    number = int.from_bytes(data[at : at + width], "big")
    if not marked:
        number -= 1 << 7 * width
        number = -1 if number == (1 << 7 * width) - 1 else number
    return number, at + width


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        identifier, at = _vint(content, at, marked=True)
        size, at = _vint(content, at)
        size = len(content) - at if size < 0 else size
        yield identifier, content[at : at + size]
        at += size


def _read_tag(content: bytes, sounds: set[int], albums: list[tuple[str, str]], songs: list[tuple[str, str]]) -> None:
    level = _ALBUM
    texts: list[tuple[str, str]] = []
    for key, value in _elements(content):
        if key == _TARGETS:
            for inner, number in _elements(value):
                if inner in _TARGET_PARTS:  # a chapter, an edition, an attachment
                    return
                if inner == _LEVEL:
                    level = _number(number)
                elif inner == _TARGET_TRACK and _number(number) and _number(number) not in sounds:
                    return
        elif key == _SIMPLE:
            simple = dict(_elements(value))
            if _TEXT in simple:
                name = _string(simple.get(_NAME, b"")).lower()
                if not is_technical(name):
                    texts.append((name, _string(simple[_TEXT])))
    (songs if level < _ALBUM else albums).extend(texts)


def _read_attachment(content: bytes, found: Found) -> None:
    entry = dict(_elements(content))
    name = _string(entry.get(_FILE_NAME, b""))
    if _string(entry.get(_FILE_TYPE, b"")).startswith("image/"):
        front = "cover" in name.lower() or "front" in name.lower() or not found.covers
        found.covers.append(
            Cover.of(entry.get(_FILE_DATA, b""), 3 if front else 0, _string(entry.get(_FILE_TEXT, b"")))
        )
    else:
        found.drop(f"attachment {name[:60]}")


def _string(value: bytes) -> str:
    return value.decode("utf-8", "replace").rstrip("\0")


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")
