"""Read audio files of any format, whole or block by block.

Waveforms are float32 of shape (channels, samples), nominally within ±1. What is read is what FFmpeg and libsndfile read
(see `apollo.audio.decoders`); `apollo.audio.writing` writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio.decoders import open_decoder, past_damage
from apollo.audio.endings import lacks_its_end
from apollo.audio.metadata import AudioInfo, describe
from apollo.audio.remarks import Remarks, tell
from apollo.audio.stated_sizes import missing_share
from apollo.errors import AudioFileError

_BLOCK = 1 << 16  # samples
LARGEST = 1e12  # beyond, a sample is damage rather than sound, and powers would exceed float32


def info(path: str | Path, track: int | None = None) -> AudioInfo:
    """Look at a file without decoding it; raises AudioFileError if it is not readable audio."""
    with AudioReader(path, track) as reader:
        return reader.info


def read(path: str | Path, track: int | None = None) -> tuple[npt.NDArray[np.float32], int]:
    """Read a whole file.

    Args:
        path: The file.
        track: Which of its audio tracks, counted from 1; None is the default one.

    Returns:
        The waveform, float32 of shape (channels, samples), and its sample rate in Hz.

    Raises:
        AudioFileError: The file is missing, is not audio, holds none, or is damaged.
    """
    with AudioReader(path, track) as reader:
        blocks = list(reader.blocks())
    if not blocks:
        raise AudioFileError(f"{path} contains no audio samples; give another file.")
    return np.concatenate(blocks, axis=1), reader.sample_rate


class AudioReader:
    """Reads a file block by block, so that its length does not matter to memory.

    Args:
        path: The file.
        track: Which of its audio tracks, counted from 1; None is the default one.

    Raises:
        AudioFileError: The file is missing, is not audio, has no such track, or is damaged; from `read` as well.
    """

    def __init__(self, path: str | Path, track: int | None = None) -> None:
        self.path = Path(path)
        self.track = track
        self._source = open_decoder(self.path, track)
        self._from_start = True  # whether all has been read so far
        self._read = 0  # samples, from the start

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._source.sample_rate

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._source.channels

    @property
    def frames(self) -> int | None:
        """Samples a channel; None where only decoding would tell."""
        return self._source.frames

    @cached_property
    def info(self) -> AudioInfo:
        """What the file says of itself, tags included; looked up when it is first asked for."""
        return describe(self.path, self.sample_rate, self.channels, self.frames, self.track)

    @property
    def remarks(self) -> Remarks:
        """What a listener would not expect of the file, as far as it has been read from its start."""
        remarks = self._source.remarks
        here = self._read / self.sample_rate + sum(seconds for _, seconds in remarks.damage)
        share, cut = self._ending
        missing = share * here
        return replace(remarks, missing=missing, cut=(remarks.cut or cut) and not missing)

    @cached_property
    def _ending(self) -> tuple[float, bool]:
        """What `missing_share` and `lacks_its_end` say; looked up when it is first asked for, as most crops do not."""
        return missing_share(self.path), lacks_its_end(self.path)

    def read(self, n: int) -> npt.NDArray[np.float32]:
        """The next samples, float32 of shape (channels, at most n): n until the file ends, none from there on.

        Samples beyond `LARGEST` are infinite, as are those that float32 cannot hold.
        What a listener would not expect of a file, such as damage, is logged when it was read from start to end.
        """
        try:
            block = self._source.read(n)
        except AudioFileError as error:
            self._source = past_damage(self._source, self.path, error)
            block = self._source.read(n)
        beyond = np.abs(block) > LARGEST
        if beyond.any():
            block = np.where(beyond, np.copysign(np.float32(np.inf), block), block)
        self._read += block.shape[1]
        if block.shape[1] < n and self._from_start:
            tell(self.path, self.remarks)
        return block

    def blocks(self, n: int = _BLOCK) -> Iterator[npt.NDArray[np.float32]]:
        """The rest of the file, `n` samples at a time."""
        while (block := self.read(n)).shape[1]:
            yield block

    def seek(self, frame: int) -> None:
        """Let the next `read` start at this sample; beyond the end, it will give none.

        What is read there is what reading up to it would have given: the very samples of a lossless format, those of a
        lossy one to 1e-4 of its peak. Where only decoding from the start gives them (AAC, WMA, video files), a seek
        takes as long as that does; elsewhere some milliseconds.

        Args:
            frame: Counted from 0, the first sample that a fresh reader gives.

        Raises:
            ValueError: The frame is negative.
        """
        if frame < 0:
            raise ValueError(f"Cannot seek to sample {frame}; the first one is 0.")
        self._from_start = frame == 0
        self._read = 0
        try:
            self._source.seek(frame)
        except AudioFileError as error:
            self._source = past_damage(self._source, self.path, error)
            self._source.seek(frame)

    def count(self) -> int:
        """Samples a channel: exactly as many as reading from start to end gives. Where reading stands does not change.

        Quick where the file tells (as `frames` does), some 0.1 s for minutes of MP3 or M4A, and as long as decoding
        for the rest.
        """
        return self._source.count()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
