"""Chained Ogg files (RFC 3533, section 4): files one behind the other in one, as streaming radio and `cat` make them.

libsndfile reads the first link only; FFmpeg reads them all, but not to the sample where one ends and the next begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.audio.ffmpeg import FFmpegDecoder
from apollo.audio.libsndfile import SoundFileDecoder
from apollo.audio.ogg import Link
from apollo.audio.remarks import Remarks
from apollo.audio.views import FileView
from apollo.errors import AudioFileError

_NOTABLE = 0.1  # seconds: what decoding leaves out at the start is less


class ChainDecoder:
    """Ogg files one behind the other in one file; raises AudioFileError where their rates or channels differ."""

    def __init__(self, path: Path, links: Sequence[Link]) -> None:
        with ExitStack() as files:
            self._links = [files.enter_context(closing(_decoder_of(path, link))) for link in links]
            self._held = links
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
        damage: list[tuple[float, float]] = []
        for link, start, stop, decoder in zip(self._held, self._starts, self._starts[1:], self._links, strict=False):
            begin = start / self.sample_rate
            found = [(begin + place, length) for place, length in decoder.remarks.damage]
            lost = (link.samples - (stop - start)) / self.sample_rate - sum(length for _, length in found)
            if not link.whole and lost > _NOTABLE:  # of which FFmpeg has seen nothing, at the start
                found.insert(0, (begin, lost))
            damage += found
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


def _decoder_of(path: Path, link: Link) -> SoundFileDecoder | FFmpegDecoder:
    view = partial(FileView, path, link.start, link.stop)
    if not link.whole:  # of what lies behind a damaged page, libsndfile makes something in silence
        return FFmpegDecoder(path, view)
    try:
        decoder = SoundFileDecoder(path, view)
    except soundfile.LibsndfileError:
        return FFmpegDecoder(path, view)
    # Opus always decodes at 48 kHz, whatever was put into it (RFC 7845, section 5.1); libsndfile goes by that.
    if decoder.subtype != "OPUS" or decoder.sample_rate == 48_000:
        return decoder
    with closing(decoder):
        return FFmpegDecoder(path, view)
