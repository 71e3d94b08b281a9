"""Chained Ogg files (RFC 3533, section 4): files one behind the other in one, as streaming radio and `cat` make them.

libsndfile reads the first link only; FFmpeg reads them all, but not to the sample where one ends and the next begins.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.audio.ffmpeg import FFmpegDecoder
from apollo.audio.libsndfile import SoundFileDecoder
from apollo.audio.remarks import Remarks
from apollo.audio.views import FileView
from apollo.errors import AudioFileError

_PAGE = struct.Struct("<4sBBqIIIB")  # header of an Ogg page (RFC 3533, section 6)
_FIRST_PAGE = 2


def links_of(path: Path) -> list[tuple[int, int]]:
    """Where the links of an Ogg file begin and end, in bytes: one that is not chained is one link."""
    links: list[int] = []
    position, in_header = 0, False
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        while (page := _page_at(file, position)) is not None:
            length, is_first = page
            if is_first and not in_header:
                links.append(position)
            in_header = is_first
            position += length
    return list(zip(links, [*links[1:], size], strict=True))


def _page_at(file: BinaryIO, position: int) -> tuple[int, bool] | None:
    """The bytes of the Ogg page that begins here, and whether a stream begins with it."""
    file.seek(position)
    head = file.read(_PAGE.size)
    if len(head) < _PAGE.size:
        return None
    magic, _, kind, _, _, _, _, segments = _PAGE.unpack(head)
    lacing = file.read(segments)
    if magic != b"OggS" or len(lacing) < segments:
        return None
    return _PAGE.size + segments + sum(lacing), bool(kind & _FIRST_PAGE)


class ChainDecoder:
    """Ogg files one behind the other in one file; raises AudioFileError where their rates or channels differ."""

    def __init__(self, path: Path, links: Sequence[tuple[int, int]]) -> None:
        with ExitStack() as files:
            self._links = [
                files.enter_context(closing(_decoder_of(path, partial(FileView, path, *link)))) for link in links
            ]
            first = self._links[0]
            self.sample_rate, self.channels = first.sample_rate, first.channels
            if any((link.sample_rate, link.channels) != (self.sample_rate, self.channels) for link in self._links):
                raise AudioFileError(
                    f"{path} contains several Ogg streams with different sample rates or channels: split it into files."
                )
            self._starts = [0, *accumulate(link.count() for link in self._links)]
            self._files = files.pop_all()
        self.frames: int | None = self._starts[-1]
        self._at = 0

    @property
    def remarks(self) -> Remarks:
        """What a listener would not expect, as far as the links have been read from their starts."""
        damage = [
            (start / self.sample_rate + place, length)
            for start, link in zip(self._starts, self._links, strict=False)
            for place, length in link.remarks.damage
        ]
        return Remarks(damage=tuple(damage))

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        parts = [np.zeros((self.channels, 0), np.float32)]
        missing = n
        while missing and self._at < len(self._links):
            part = self._links[self._at].read(missing)
            if not part.shape[1]:
                self._at += 1
                if self._at < len(self._links):
                    self._links[self._at].seek(0)
            parts.append(part)
            missing -= part.shape[1]
        return np.concatenate(parts, axis=1)

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first."""
        self._at = max(0, bisect_right(self._starts[:-1], frame) - 1)
        self._links[self._at].seek(frame - self._starts[self._at])

    def count(self) -> int:
        """Samples a channel, as many as reading from the start to the end gives."""
        return self._starts[-1]

    def close(self) -> None:
        """Close the file."""
        self._files.close()


def _decoder_of(path: Path, view: Callable[[], FileView]) -> SoundFileDecoder | FFmpegDecoder:
    try:
        decoder = SoundFileDecoder(path, view)
    except soundfile.LibsndfileError:
        return FFmpegDecoder(path, view)
    # Opus always decodes at 48 kHz, whatever was put into it (RFC 7845, section 5.1); libsndfile goes by that.
    if decoder.subtype != "OPUS" or decoder.sample_rate == 48_000:
        return decoder
    with closing(decoder):
        return FFmpegDecoder(path, view)
