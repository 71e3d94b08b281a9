"""What an audio file says of the music in it: tags, pictures, chapters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from apollo.audio.pictures import Cover
from apollo.audio.tags.legacy import decode_legacy
from apollo.audio.tags.names import common_name, is_purchase, is_technical

_MOST_VALUES = 50_000  # of a file; more are no tags but an attack


@dataclass(frozen=True)
class Chapter:
    """A part of a recording."""

    start: float  # in seconds
    end: float  # in seconds; infinity where the file does not tell
    title: str = ""  # may be empty


@dataclass(frozen=True)
class Metadata:
    """What an audio file says of the music in it."""

    # Values by common name (`apollo.audio.tags.names`), in the order of the file.
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    covers: tuple[Cover, ...] = ()  # all pictures, the front first
    chapters: tuple[Chapter, ...] = ()  # by their start
    cuesheet: bytes | None = None  # FLAC's block CUESHEET
    dropped: tuple[str, ...] = ()  # what the file held besides, and what is not carried into another: names
    # The code page that tags were read in by a guess, since the file does not tell it; None for none.
    encoding: str | None = None

    def __bool__(self) -> bool:
        return bool(self.tags or self.covers or self.chapters or self.cuesheet)

    @classmethod
    def of(cls, tags: Mapping[str, str | Iterable[str]], covers: Iterable[Cover] = ()) -> Metadata:
        """From tags by any names, with one value or several."""
        found = Found()
        for name, values in tags.items():
            for value in (values,) if isinstance(values, str) else values:
                found.add(name, value.replace("\0", " "))
        found.covers += covers
        return found.settle()

    @property
    def joined(self) -> dict[str, str]:
        """Tags as one text a name, several values with a semicolon between them."""
        return {name: "; ".join(values) for name, values in self.tags.items()}

    def with_tags(self, tags: Mapping[str, Iterable[str]], drop: Iterable[str] = ()) -> Metadata:
        """The same with other values for some names, and without some, which become `dropped`."""
        gone = [name for name in drop if name in self.tags]
        kept = {name: values for name, values in self.tags.items() if name not in gone}
        new = {name: tuple(values) for name, values in tags.items()}
        return replace(self, tags={**kept, **new}, dropped=(*self.dropped, *gone))

    def missing_from(self, held: Metadata) -> list[str]:
        """Names of what another file lacks of this."""
        lost = [name for name, values in self.tags.items() if not set(values) <= set(held.tags.get(name, ()))]
        pictures = {cover.data for cover in held.covers}
        lacking = sum(cover.data not in pictures for cover in self.covers)
        if lacking:
            lost.append("cover" if len(self.covers) == 1 else f"{lacking} of {len(self.covers)} pictures")
        if self.chapters and not _alike(self.chapters, held.chapters):
            lost.append("chapters")
        if self.cuesheet is not None and held.cuesheet is None:
            lost.append("cuesheet")
        return lost


def _alike(chapters: tuple[Chapter, ...], others: tuple[Chapter, ...]) -> bool:
    return len(chapters) == len(others) and all(
        abs(one.start - other.start) < 0.002 and one.title == other.title
        for one, other in zip(chapters, others, strict=True)
    )


def utf8_or_bytes(value: bytes) -> str | bytes:
    """The text that should be UTF-8; as it is where it is not."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


class Found:
    """Collects what is found in a file, text of unknown code page included, until all of it is known."""

    def __init__(self) -> None:
        self._tags: dict[str, dict[str | bytes, None]] = {}
        self._values = 0
        self.covers: list[Cover] = []
        self.chapters: list[Chapter] = []
        self.cuesheet: bytes | None = None
        self._dropped: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tags

    @property
    def is_empty(self) -> bool:
        """Whether no tag was found."""
        return not self._tags

    def add(self, name: str, *values: str | bytes, common: bool = False) -> None:
        """Add values of a tag by the file's or a common name: texts, or bytes where the code page is not stated."""
        name = name if common else common_name(name)
        if not name or is_technical(name):
            return
        if is_purchase(name, values):
            self.drop(name)
            return
        for value in values:
            value = value.strip("\0 ") if isinstance(value, str) else value.strip(b"\0 ")
            if value and self._values < _MOST_VALUES:
                held = self._tags.setdefault(name, {})
                self._values += value not in held
                held[value] = None
            elif value:
                self.drop("more tags than any file has")

    def drop(self, name: str) -> None:
        """Note what will not be carried into another file."""
        self._dropped[name] = None

    def take(self, other: Found) -> None:
        """Take over what another kind of tag in the same file has, where this one has nothing."""
        for name, values in other._tags.items():
            self._tags.setdefault(name, values)
        self.covers = self.covers or other.covers
        self.chapters = self.chapters or other.chapters
        self.cuesheet = self.cuesheet or other.cuesheet
        self._dropped |= other._dropped

    def settle(self) -> Metadata:
        """All that was found, with a code page chosen for what needs one."""
        legacy = [value for values in self._tags.values() for value in values if isinstance(value, bytes)]
        texts, encoding = decode_legacy(legacy)
        known = dict(zip(legacy, texts, strict=True))
        tags = {
            name: tuple(dict.fromkeys(_clean(known[value] if isinstance(value, bytes) else value) for value in values))
            for name, values in self._tags.items()
        }
        for number, total in (("track", "tracktotal"), ("disc", "disctotal")):
            _join_total(tags, number, total)
        self.covers.sort(key=lambda cover: cover.kind != 3)
        chapters = sorted(self.chapters, key=lambda chapter: chapter.start)
        return Metadata(tags, tuple(self.covers), _closed(chapters), self.cuesheet, tuple(self._dropped), encoding)


def _clean(text: str) -> str:
    # Half of a pair of UTF-16 is no letter, and cannot be written in any other way.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _join_total(tags: dict[str, tuple[str, ...]], number: str, total: str) -> None:
    totals = tags.get(total, ())
    numbers = tags.get(number, ())
    if totals and len(numbers) == 1 and re.fullmatch(r"\d+", numbers[0]) and re.fullmatch(r"\d+", totals[0]):
        tags[number] = (f"{numbers[0]}/{totals[0]}",)
    if totals and len(numbers) == 1 and "/" in tags[number][0]:
        del tags[total]


def _closed(chapters: list[Chapter]) -> tuple[Chapter, ...]:
    """Chapters without an end last to the next one."""
    ends = [*(chapter.start for chapter in chapters[1:]), math.inf]
    return tuple(
        replace(chapter, end=end) if chapter.end <= chapter.start or math.isinf(chapter.end) else chapter
        for chapter, end in zip(chapters, ends, strict=False)
    )
