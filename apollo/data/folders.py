"""Audio files below a folder: found, checked before anything starts, and read from any point at any rate."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, floor, gcd
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from apollo.audio import AudioReader, audio_files, resample
from apollo.errors import ApolloError, AudioFileError, DataError, one_file
from apollo.storage import Place, Where

log = logging.getLogger(__name__)

Waveform = npt.NDArray[np.float32]
Item = TypeVar("Item")
Result = TypeVar("Result")

SHORTEST = 0.1  # seconds below which a file is no music
ATTEMPTS = 20
SILENCE = 1e-4  # root mean square below which a crop teaches nothing
OPEN_FILES = 64  # kept open at a time
LISTED = 20  # files that one warning names


@dataclass(frozen=True)
class Track:
    """One audio file that can be read from any point."""

    path: Path
    samples: int  # its length at its own rate
    sample_rate: int  # its own rate in Hz
    channels: int = 2

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.samples / self.sample_rate


@dataclass(frozen=True)
class Problem:
    """A file or folder that cannot be used."""

    path: Place  # which; an object's URL where it lies in a store
    reason: str  # why, as a sentence that may name the file again

    def __str__(self) -> str:
        return self.reason if str(self.path) in self.reason else f"{self.path}: {self.reason}"


def find_tracks(root: Path) -> list[Track]:
    """All audio files below a folder, in the order of their names; what cannot be used is left out, with one warning.

    Raises DataError if there is no such folder, or no usable audio in it.
    """
    tracks, problems = open_tracks(files_of(root))
    warn_of(problems, len(tracks) + len(problems))
    if not tracks:
        first = f"; the first: {problems[0]}" if problems else ""
        raise DataError(f"no readable audio in {root}: put WAV, FLAC or other audio files there{first}")
    return tracks


def files_of(root: Where, others: Callable[[Where], None] = lambda path: None) -> list[Where]:
    """The audio files below a folder, as `audio_files` finds them; raises DataError if there is no such folder."""
    if not root.is_dir():
        raise DataError(f"there is no folder {root}: give the folder that holds the music")
    return audio_files(root, others)


def open_tracks(paths: Iterable[Path]) -> tuple[list[Track], list[Problem]]:
    """Open files, several at a time, and keep apart those that cannot be used."""
    found = side_by_side(try_track, list(paths))
    return [x for x in found if isinstance(x, Track)], [x for x in found if isinstance(x, Problem)]


def try_track(path: Path) -> Track | Problem:
    """Describe a file, or say why it cannot be used."""
    try:
        with one_file(path):
            return open_track(path)
    except ApolloError as error:
        return Problem(path, str(error))


def open_track(path: Path) -> Track:
    """Describe a file, or raise ApolloError if it is not readable audio to its end, or too short to be music.

    Its last sample is read, because a truncated file still has a whole header.
    """
    with AudioReader(path) as reader:
        track = Track(path, reader.count(), reader.sample_rate, reader.channels)
        if track.seconds < SHORTEST:
            raise DataError(f"{path} is shorter than {SHORTEST} s ({track.samples} samples)")
        reader.seek(track.samples - 1)
        if reader.read(1).shape[1] != 1:
            raise DataError(f"{path} is cut off before its end: copy it again")
    return track


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function that waits for files, or computes outside of Python, to every item, a few at a time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def warn_of(problems: Sequence[Problem], total: int) -> None:
    """Name what is left out, all in one warning."""
    if problems:
        lines = [f"\n  {problem}" for problem in problems[:LISTED]]
        more = f"\n  and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        log.warning("left out %d of %d:%s%s", len(problems), total, "".join(lines), more)


def read_stretch(track: Track, start: float, samples: int, sample_rate: int) -> Waveform:
    """Read `(channels, samples)` of a track at a given rate, from the sample at or before `start` seconds.

    Zeros lie beyond both ends of the file, and where its samples are no numbers. Raises AudioFileError if the file has
    become unreadable.
    """
    return read_from(track, int(start * track.sample_rate), samples, sample_rate)


def read_from(track: Track, position: float, samples: int, sample_rate: int) -> Waveform:
    """Read as `read_stretch` does, from a position in samples of the track's own rate that may lie between two."""
    # What is resampled needs music around it, and as much of it as is whole numbers of samples at both rates.
    rate = track.sample_rate
    unit = gcd(rate, sample_rate)
    units = ceil(0.02 * unit) if rate != sample_rate else 0
    margin, margin_after = units * rate // unit, units * sample_rate // unit
    first = floor(position)
    between = position - first
    around = KERNEL // 2 if between else 0
    before = margin + around
    stretch = read_samples(track, first - before, ceil(samples * rate / sample_rate) + 1 + 2 * before)
    if between:
        stretch = advance(stretch, between)[:, around:]
    if margin_after:
        stretch = resample(stretch, rate, sample_rate)
    return np.ascontiguousarray(stretch[:, margin_after : margin_after + samples])


def read_samples(track: Track, start: int, samples: int) -> Waveform:
    """Read `(channels, samples)` at the track's own rate from sample `start`, which may lie before the first one."""
    waveform = np.zeros((track.channels, samples), np.float32)
    skipped = max(0, -start)
    reader = READERS.open(track.path)
    reader.seek(max(0, start))
    found = reader.read(max(0, samples - skipped))
    waveform[:, skipped : skipped + found.shape[1]] = found
    if not np.isfinite(waveform).all():
        log.warning("%s contains NaN or infinite samples; they are replaced by 0", track.path)
        np.nan_to_num(waveform, copy=False, posinf=0, neginf=0)
    return waveform


class Readers(threading.local):
    """Files that stay open, those of this thread that were read last: opening some formats takes longer than reading.

    A file that has changed since is opened again, and so is every file in a forked process, where the place to read
    from would be shared with the parent.
    """

    def __init__(self) -> None:
        self.process = 0
        self.opened: OrderedDict[tuple[Path, int, int], AudioReader] = OrderedDict()

    def open(self, path: Path) -> AudioReader:
        """A reader of this file, at any position; raises AudioFileError if the file cannot be read."""
        if self.process != os.getpid():
            self.process, self.opened = os.getpid(), OrderedDict()
        try:
            state = path.stat()
        except OSError as error:
            raise AudioFileError(f"{path} cannot be read any more ({error.strerror}); put it back.") from None
        key = (path, state.st_size, state.st_mtime_ns)
        if key not in self.opened:
            self.opened[key] = AudioReader(path)
            if len(self.opened) > OPEN_FILES:
                self.opened.popitem(last=False)[1].close()
        self.opened.move_to_end(key)
        return self.opened[key]


READERS = Readers()


KERNEL = 64  # taps of the interpolation between samples


def advance(waveform: Waveform, fraction: float) -> Waveform:
    """Move `(channels, samples)` ahead by a fraction of a sample, with a sinc in a Kaiser window.

    Within `KERNEL / 2` samples of the ends the kernel looks at zeros.
    """
    taps = np.arange(-KERNEL // 2, KERNEL // 2 + 1)
    kernel = np.sinc(taps + fraction) * np.kaiser(KERNEL + 1, 10.0)
    kernel /= kernel.sum()
    moved = np.stack([np.convolve(channel, kernel, mode="same") for channel in waveform])
    return moved.astype(np.float32)


def as_stereo(waveform: Waveform) -> Waveform:
    """Make `(channels, samples)` stereo: mono on both sides, of more than two channels the first two."""
    return waveform[:2] if len(waveform) > 1 else np.repeat(waveform, 2, axis=0)


class MusicFolder:
    """Random crops of music, whose tracks are drawn by their length.

    Mono is made stereo, of more channels the first two are taken, other sample rates are resampled. What is shorter
    than a crop is followed by silence.
    """

    def __init__(self, tracks: Sequence[Track], sample_rate: int) -> None:
        self.tracks = list(tracks)
        self.sample_rate = sample_rate
        lengths = np.array([track.seconds for track in self.tracks])
        self.shares = lengths / lengths.sum()

    def draw(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw `(2, samples)`, as `first_sounding` does."""

        def attempt() -> Waveform:
            track = self.tracks[rng.choice(len(self.tracks), p=self.shares)]
            start = rng.uniform(0, max(0.0, track.seconds - samples / self.sample_rate))
            return as_stereo(read_stretch(track, start, samples, self.sample_rate))

        return first_sounding(attempt, lambda crop: crop)


def first_sounding(attempt: Callable[[], Result], sound: Callable[[Result], Waveform]) -> Result:
    """Try until the sound of something is not silent, or `ATTEMPTS` times; a file that breaks does not end the run.

    Raises AudioFileError if no attempt has found anything readable.
    """
    found: Result | None = None
    broken: AudioFileError | None = None
    for _ in range(ATTEMPTS):
        try:
            found = attempt()
        except AudioFileError as error:
            log.warning("%s", error)
            broken = error
            continue
        if np.sqrt(np.mean(sound(found) ** 2)) > SILENCE:
            break
    if found is None:
        raise broken or RuntimeError("no attempt was made")
    return found
