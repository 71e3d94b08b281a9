"""Read audio files with libsndfile, through soundfile: WAV, FLAC, AIFF, Ogg and their kin."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.errors import AudioFileError

__all__ = ["SoundFileDecoder", "open_soundfile"]

_UNKNOWN_LENGTH = 1 << 62  # what libsndfile reports for a stream without an end in its header, or above
_BLOCK = 1 << 18

# What libsndfile 1.2.2 gets wrong in Ogg: it misses samples of Vorbis less than 2 s ahead and those of the last page
# (at most 255 packets, RFC 3533, of 1024 samples, as libvorbis makes them), and after a read that ends within the last
# packet of Opus (at most 120 ms at 48 kHz, RFC 6716) it goes on at another sample.
_OGG_NEAR = 3.0
_OGG_PAGE = 255 * 1024
_OPUS_PACKET = 5_760

# Libsndfile leaves channels as they lie in Ogg (Vorbis I specification, 4.3.9): the middle second, the bass last. For
# each channel as WAV and FFmpeg have them, where it is there.
_OGG_ORDER: dict[int, list[int] | slice] = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}


def open_soundfile(path: Path) -> soundfile.SoundFile:
    """Open a file with libsndfile, whatever its name.

    Raises:
        soundfile.LibsndfileError: If libsndfile cannot read it.
        TypeError: If it is called `.raw`.
    """
    # soundfile takes a text for UTF-8, which the names of old collections need not be.
    return soundfile.SoundFile(path if sys.platform == "win32" else os.fsencode(path))


class SoundFileDecoder:
    """A file that libsndfile reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_soundfile(path)
        is_ogg = self._file.format == "OGG"
        self._order = _OGG_ORDER.get(self._file.channels, slice(None)) if is_ogg else slice(None)
        self._ahead = np.zeros((0, self._file.channels), np.float32)  # read but not given yet, (samples, channels)
        frames = self._file.frames
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int | None = frames if frames < _UNKNOWN_LENGTH else None

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        missing = max(0, n - len(self._ahead))
        stop = self._file.tell() + missing
        if self._file.subtype == "OPUS" and self._file.frames - _OPUS_PACKET < stop < self._file.frames:
            missing += self._file.frames - stop
        block = np.empty((missing, self.channels), dtype=np.float32)
        try:
            # Into a buffer of our own: asked for an array, soundfile sizes it by the header, which may lie.
            filled = self._file.read(out=block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise self._damaged(error) from None
        ready = np.concatenate([self._ahead, filled]) if len(self._ahead) else filled
        self._ahead = ready[n:]
        return np.ascontiguousarray(ready[:n].T[self._order])

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first."""
        length = self.frames
        here = self._file.tell() - len(self._ahead)
        if length is None or not self._file.seekable():
            if frame < here:
                self._file.close()
                self._file, self._ahead, here = open_soundfile(self._path), self._ahead[:0], 0
        else:
            is_ogg = self._file.format == "OGG"
            frame = min(frame, length)
            sure = min(frame, max(0, length - _OGG_PAGE)) if is_ogg else frame
            if not (is_ogg and here <= frame and sure - here <= _OGG_NEAR * self.sample_rate):
                try:
                    here = self._file.seek(sure)
                except soundfile.LibsndfileError as error:
                    raise self._damaged(error) from None
                self._ahead = self._ahead[:0]
        while here < frame and (read := self.read(min(frame - here, _BLOCK)).shape[1]):
            here += read

    def count(self) -> int:
        """Samples a channel, as many as reading from the start to the end gives."""
        if self.frames is not None:
            return self.frames
        with closing(SoundFileDecoder(self._path)) as other:
            total = 0
            while read := other.read(_BLOCK).shape[1]:
                total += read
        return total

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _damaged(self, error: Exception) -> AudioFileError:
        reason = str(error).removeprefix("Error : ").rstrip(".")
        return AudioFileError(f"{self._path} is damaged and cannot be read to its end ({reason}); copy it again.")
