"""Read audio files with libsndfile, through soundfile: WAV, FLAC, AIFF, Ogg and their kin."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.audio.remarks import Remarks
from apollo.audio.views import FileView
from apollo.errors import AudioFileError

_UNKNOWN_LENGTH = 1 << 62  # what libsndfile reports for a stream without an end in its header, or above
_BLOCK = 1 << 18

# Kinds of samples for which the header's count is the number that is decoded.
_COUNTED = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW", "VORBIS", "OPUS"}
    | {"DPCM_8", "DPCM_16"}
)

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

    Raises soundfile.LibsndfileError if it cannot read it, and TypeError if it is called `.raw`.
    """
    # soundfile takes a text for UTF-8, which the names of old collections need not be.
    return soundfile.SoundFile(path if sys.platform == "win32" else os.fsencode(path))


class SoundFileDecoder:
    """A file that libsndfile reads; `view` opens what it should see of that, and None is the file itself."""

    def __init__(self, path: Path, view: Callable[[], FileView] | None = None) -> None:
        self.remarks = Remarks()  # what a listener would not expect
        self._path = path
        self._view = view
        self._ahead: npt.NDArray[np.float32]  # read but not given yet, (samples, channels)
        self._position: int  # the next sample that libsndfile gives; of some kinds it cannot tell
        self._open()
        self.format: str = self._file.format
        self.subtype: str = self._file.subtype
        is_ogg = self.format == "OGG"
        self._order = _OGG_ORDER.get(self._file.channels, slice(None)) if is_ogg else slice(None)
        self.stated = self._file.frames  # samples that the header tells of
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        # Of codecs that have blocks of their own, headers may count what is not decoded, and the other way round.
        sure = self.subtype in _COUNTED and self._file.seekable() and self.stated < _UNKNOWN_LENGTH
        self.frames: int | None = self.stated if sure else None

    @property
    def position(self) -> int:
        """The sample that is read next."""
        return self._position - len(self._ahead)

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n)."""
        missing = max(0, n - len(self._ahead))
        # Beyond the last sample libsndfile takes what follows, such as tags behind a FLAC, for damaged sound.
        missing = min(missing, self.stated - self._position)
        if self.subtype == "OPUS" and self.stated - _OPUS_PACKET < self._position + missing:
            missing = self.stated - self._position
        block = np.empty((missing, self.channels), dtype=np.float32)
        try:
            # Into a buffer of our own: asked for an array, soundfile sizes it by the header, which may lie.
            filled = self._file.read(out=block, dtype="float32", always_2d=True) if missing else block
        except soundfile.LibsndfileError as error:
            raise self._damaged(error) from None
        self._position += len(filled)
        ready = np.concatenate([self._ahead, filled]) if len(self._ahead) else filled
        self._ahead = ready[n:]
        return np.ascontiguousarray(ready[:n].T[self._order])

    def seek(self, frame: int) -> None:
        """Let `read` go on from this sample, or from the end if that comes first."""
        length = self.frames
        here = self.position
        if length is None:
            if frame < here:
                self.close()
                self._open()
                here = 0
        else:
            is_ogg = self.format == "OGG"
            frame = min(frame, length)
            sure = min(frame, max(0, length - _OGG_PAGE)) if is_ogg else frame
            if not (is_ogg and here <= frame and sure - here <= _OGG_NEAR * self.sample_rate):
                try:
                    here = self._position = self._file.seek(sure)
                except soundfile.LibsndfileError as error:
                    raise self._damaged(error) from None
                self._ahead = self._ahead[:0]
        while here < frame and (read := self.read(min(frame - here, _BLOCK)).shape[1]):
            here += read

    def count(self) -> int:
        """Samples a channel, as many as reading from the start to the end gives."""
        if self.frames is not None:
            return self.frames
        with closing(SoundFileDecoder(self._path, self._view)) as other:
            total = 0
            while read := other.read(_BLOCK).shape[1]:
                total += read
        return total

    def reads_its_end(self) -> bool:
        """Whether the last sample that the header tells of can be read; reading then starts again."""
        try:
            if self.frames is not None:
                self.seek(self.frames - 1)
            whole = bool(self.read(1).shape[1])
            self.seek(0)
        except AudioFileError:
            return False
        return whole

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def _open(self) -> None:
        with ExitStack() as files:  # as libsndfile does not close a view, whether it can read it or not
            view = files.enter_context(self._view()) if self._view else None
            self._file = files.enter_context(soundfile.SoundFile(view) if view else open_soundfile(self._path))
            self._files = files.pop_all()
        self._ahead = np.zeros((0, self._file.channels), np.float32)
        self._position = 0

    def _damaged(self, error: Exception) -> AudioFileError:
        reason = str(error).removeprefix("Error : ").rstrip(".")
        return AudioFileError(f"{self._path} is damaged and cannot be read to its end ({reason}); copy it again.")
