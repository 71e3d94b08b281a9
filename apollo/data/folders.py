"""Clean music in a folder, as a source of random crops."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from apollo.errors import DataError

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".wav", ".flac", ".aiff", ".aif", ".ogg", ".opus", ".mp3"})
ATTEMPTS = 20
SILENCE = 1e-4  # root mean square below which a crop teaches nothing


@dataclass(frozen=True)
class Track:
    """One audio file that can be read from any point.

    Attributes:
        path: The file.
        samples: Its length at its own rate.
        sample_rate: Its own rate in Hz.
    """

    path: Path
    samples: int
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.samples / self.sample_rate


def find_tracks(root: Path) -> list[Track]:
    """All audio files below a folder, in the order of their names.

    Files that cannot be read are named in one warning and left out.

    Raises:
        DataError: If there is no such folder, or no audio in it.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: give the folder that holds the music")
    tracks, unreadable = [], []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            track = open_track(path)
            if track is None:
                unreadable.append(str(path))
            else:
                tracks.append(track)
    if unreadable:
        log.warning("left out %d unreadable file(s): %s", len(unreadable), ", ".join(unreadable))
    if not tracks:
        raise DataError(f"no readable audio in {root}: put {', '.join(sorted(SUFFIXES))} files there")
    return tracks


def open_track(path: Path) -> Track | None:
    """Describe a file, or give `None` if its last sample cannot be read: a truncated file still has a whole header."""
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(max(0, file.frames - 1))
            whole = file.frames > 0 and len(file.read(1)) == 1
            return Track(path, file.frames, file.samplerate) if whole else None
    except soundfile.LibsndfileError:
        return None


def read_stretch(track: Track, start: float, samples: int, sample_rate: int) -> npt.NDArray[np.float32]:
    """Read from a track at a given rate.

    Args:
        track: The file.
        start: Where to begin, in seconds.
        samples: How many samples of the result.
        sample_rate: Of the result, in Hz.

    Returns:
        `(channels, samples)`; zeros follow where the file ends.

    Raises:
        DataError: If the file has become unreadable.
    """
    ratio = track.sample_rate / sample_rate
    try:
        with soundfile.SoundFile(track.path) as file:
            file.seek(min(int(start * track.sample_rate), track.samples))
            stretch = file.read(int(np.ceil(samples * ratio)), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{track.path} cannot be read at {start:.1f} s ({error}): replace the file or remove it"
        ) from None
    if ratio != 1:
        stretch = soxr.resample(stretch, track.sample_rate, sample_rate)
    stretch = stretch[:samples].T
    return np.pad(stretch, ((0, 0), (0, samples - stretch.shape[1])))


class MusicFolder:
    """Random crops of the music below a folder; mono is made stereo, of more channels the first two are taken.

    Tracks are drawn by their length. Tracks shorter than a crop are left out, by name, in one warning.

    Args:
        root: The folder, searched with all below it.
        sample_rate: Of the crops, in Hz; other rates are resampled.
        seconds: Length of the crops that will be drawn.

    Raises:
        DataError: If no track is long enough.
    """

    def __init__(self, root: Path, sample_rate: int, seconds: float) -> None:
        found = find_tracks(root)
        self.sample_rate = sample_rate
        self.tracks = [track for track in found if track.seconds >= seconds]
        short = [str(track.path) for track in found if track.seconds < seconds]
        if short:
            log.warning("left out %d file(s) shorter than %.1f s: %s", len(short), seconds, ", ".join(short))
        if not self.tracks:
            raise DataError(f"every file in {root} is shorter than a crop of {seconds:.1f} s: lower datas.segments")
        lengths = np.array([track.seconds for track in self.tracks])
        self.shares = lengths / lengths.sum()

    def draw(self, rng: np.random.Generator, samples: int) -> npt.NDArray[np.float32]:
        """Draw `(2, samples)`; silence is drawn again a few times."""
        for _ in range(ATTEMPTS):
            track = self.tracks[rng.choice(len(self.tracks), p=self.shares)]
            start = rng.uniform(0, max(0.0, track.seconds - samples / self.sample_rate))
            crop = read_stretch(track, start, samples, self.sample_rate)
            crop = np.nan_to_num(crop)
            if np.sqrt(np.mean(crop**2)) > SILENCE:
                break
        return crop[:2] if len(crop) > 1 else np.repeat(crop, 2, axis=0)
