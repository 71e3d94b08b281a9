"""Songs in stems, as a source of random mixes.

A folder holds one folder a song, and each of those one file a stem: `<song>/<class>[_n].flac`, all of a song aligned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from apollo.data.folders import Track, as_stereo, find_tracks, first_sounding, read_stretch
from apollo.data.stem_corpus import MIXTURE, OTHER, kind_of
from apollo.errors import DataError

Waveform = npt.NDArray[np.float32]

EQ_NODES_HZ = (20.0, 100.0, 400.0, 1600.0, 6400.0, 12800.0, 20000.0)
DULL_FROM_HZ = (1000.0, 18000.0)
DULL_SLOPE = (6.0, 60.0)  # dB an octave


@dataclass(frozen=True)
class Song:
    """The stems of one song.

    Attributes:
        stems: Aligned files.
        seconds: Up to where crops of the song are drawn.
    """

    stems: tuple[Track, ...]
    seconds: float


def find_songs(root: Path) -> list[Song]:
    """The songs of a folder, in the order of their names.

    Raises:
        DataError: If it holds none, or audio files of its own.
    """
    songs: dict[Path, list[Track]] = {}
    for track in find_tracks(root):
        songs.setdefault(track.path.parent, []).append(track)
    if root in songs:
        raise DataError(f"{root} holds audio files itself: give a folder of songs with one folder of stems each")
    return [Song(tuple(stems), min(stem.seconds for stem in stems)) for stems in songs.values()]


class StemFiles:
    """Crops of stems and of whole songs, straight from the files; what `apollo.data.mixing.StemMixer` mixes.

    A stem is drawn by class, then file, both evenly; files of no known class count as `other`. A song is its
    `mixture.*` where it has one, else the sum of its stems. Silence follows where a crop is longer than a file.

    Args:
        root: Folder of songs.
        sample_rate: Of the crops, in Hz; other rates are resampled.

    Attributes:
        coherent: True, since every song can be played whole.

    Raises:
        DataError: If the folder holds no songs, or no stems but mixtures.
    """

    coherent = True

    def __init__(self, root: Path, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.songs: list[Song] = []
        self.stems: dict[str, list[Track]] = {}
        for song in find_songs(root):
            parts = [track for track in song.stems if kind_of(track.path.stem) != MIXTURE]
            whole = [track for track in song.stems if kind_of(track.path.stem) == MIXTURE][:1] or parts
            self.songs.append(Song(tuple(whole), max(track.seconds for track in whole)))
            for track in parts:
                self.stems.setdefault(kind_of(track.path.stem) or OTHER, []).append(track)
        self.classes = sorted(self.stems)
        if not self.classes:
            raise DataError(f"{root} holds mixtures but no stems: name them <song>/<class>[_n].flac")

    def stem(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one stem."""
        files = self.stems[self.classes[rng.integers(len(self.classes))]]
        track = files[rng.integers(len(files))]
        return self._read(track, self._start(rng, track.seconds, samples), samples)

    def mixture(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one song."""
        song = self.songs[rng.integers(len(self.songs))]
        start = self._start(rng, song.seconds, samples)
        mix = np.zeros((2, samples), np.float32)
        for track in song.stems:
            mix += self._read(track, start, samples)
        return mix

    def _start(self, rng: np.random.Generator, seconds: float, samples: int) -> float:
        return rng.uniform(0, max(0.0, seconds - samples / self.sample_rate))

    def _read(self, track: Track, start: float, samples: int) -> Waveform:
        return as_stereo(read_stretch(track, start, samples, self.sample_rate))


class StemFolder:
    """Random mixes, as varied as a few stems allow.

    Some are stems of one song played together, the others stems of any songs, and of those nearly half a single one.
    Mono stems are placed in the stereo field and sometimes widened; levels, equalisation and pitch vary; some mixes are
    dull, some driven into saturation.

    Args:
        root: Folder of songs.
        sample_rate: Of the mixes, in Hz.
        coherent_probability: Share of mixes made of one song.
        max_stems: The most stems of different songs in one mix.
        gain: Lowest and highest gain of a stem in dB.
        saturation_probability: Share of mixes driven into saturation.
        equalisation: Largest gain of the random equaliser in dB.
        speed: Fastest playback; only upwards, so that no mix ends below half the sample rate.
        dull_probability: Share of mixes that fall by 6 to 60 dB an octave from somewhere between 1 and 18 kHz on, as
            solo instruments and old or band-limited recordings do.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
        DataError: If the folder holds no songs.
    """

    def __init__(
        self,
        root: Path,
        sample_rate: int,
        coherent_probability: float = 0.5,
        max_stems: int = 5,
        gain: Sequence[float] = (-10.0, 10.0),
        saturation_probability: float = 0.15,
        equalisation: float = 8.0,
        speed: float = 1.25,
        dull_probability: float = 0.0,
    ) -> None:
        if not isinstance(max_stems, int) or max_stems < 1:
            raise ValueError(f"max_stems must be a whole number from 1, not {max_stems!r}")
        for name, value, lowest, highest in (
            ("coherent_probability", coherent_probability, 0, 1),
            ("saturation_probability", saturation_probability, 0, 1),
            ("dull_probability", dull_probability, 0, 1),
            ("equalisation", equalisation, 0, 60),
            ("speed", speed, 1, 4),
        ):
            if not isinstance(value, int | float) or not lowest <= value <= highest:
                raise ValueError(f"{name} must be a number from {lowest} to {highest}, not {value!r}")
        gains = list(gain) if isinstance(gain, Sequence) else []
        if len(gains) != 2 or not all(isinstance(g, int | float) for g in gains) or gains[0] > gains[1]:
            raise ValueError(f"gain must be the lowest and the highest gain in dB, not {gain!r}")
        self.songs = find_songs(root)
        self.sample_rate = sample_rate
        self.coherent_probability = coherent_probability
        self.max_stems = max_stems
        self.gain = (gains[0], gains[1])
        self.saturation_probability = saturation_probability
        self.equalisation = equalisation
        self.speed = speed
        self.dull_probability = dull_probability

    def draw(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a mix `(2, samples)` with a peak of 1."""
        speed = rng.uniform(1.0, self.speed) if rng.random() < 0.5 else 1.0
        length = int(np.ceil(samples * speed)) + 1
        mix = first_sounding(lambda: self._mix(rng, length), lambda mix: mix)
        if speed != 1.0:
            mix = soxr.resample(mix.T, self.sample_rate * speed, self.sample_rate, quality="HQ").T
        mix = self._equalise(rng, mix[:, :samples])
        mix /= np.abs(mix).max() + 1e-9
        if rng.random() < self.saturation_probability:
            drive = 10 ** (rng.uniform(0, 12) / 20)
            mix = np.tanh(drive * mix) / np.tanh(drive)
        return mix.astype(np.float32)

    def _mix(self, rng: np.random.Generator, samples: int) -> Waveform:
        seconds = samples / self.sample_rate
        if rng.random() < self.coherent_probability:
            song = self.songs[rng.integers(len(self.songs))]
            start = rng.uniform(0, max(0.0, song.seconds - seconds))
            chosen = [(stem, start) for stem in song.stems if rng.random() < 0.85]
        else:
            chosen = []
            for _ in range(min(self.max_stems, rng.geometric(0.45))):
                song = self.songs[rng.integers(len(self.songs))]
                stem = song.stems[rng.integers(len(song.stems))]
                chosen.append((stem, rng.uniform(0, max(0.0, stem.seconds - seconds))))
        mix = np.zeros((2, samples), np.float32)
        for stem, start in chosen:
            mix += place(rng, read_stretch(stem, start, samples, self.sample_rate)) * decibels(rng.uniform(*self.gain))
        return mix

    def _equalise(self, rng: np.random.Generator, mix: Waveform) -> Waveform:
        """Shape the spectrum by a smooth random curve over `EQ_NODES_HZ`, and by a slope where it is to be dull."""
        curve = rng.uniform(-self.equalisation, self.equalisation, len(EQ_NODES_HZ)) * rng.random()
        size = fast_size(mix.shape[1])
        frequencies = np.maximum(np.fft.rfftfreq(size, 1 / self.sample_rate), 1.0)
        response = np.interp(np.log(frequencies), np.log(EQ_NODES_HZ), curve)
        if rng.random() < self.dull_probability:
            corner, slope = np.exp(rng.uniform(*np.log(DULL_FROM_HZ))), np.exp(rng.uniform(*np.log(DULL_SLOPE)))
            response -= slope * np.maximum(np.log2(frequencies / corner), 0.0)
        spectrum = np.fft.rfft(mix, size) * 10 ** (response / 20)
        shaped: Waveform = np.fft.irfft(spectrum, size)[:, : mix.shape[1]].astype(np.float32)
        return shaped


def fast_size(samples: int) -> int:
    """The least size from `samples` up whose only prime factors are 2, 3 and 5; others may take 15 times as long."""
    while True:
        rest = samples
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return samples
        samples += 1


def place(rng: np.random.Generator, stem: Waveform) -> Waveform:
    """Place a stem in the stereo field; `(1 or more, samples)` → `(2, samples)`.

    Mono is panned with constant power and, now and then, widened by a quieter, delayed copy on one side. Stereo keeps
    its picture with a random width, and is mirrored half the time.
    """
    if len(stem) > 1:
        middle, side = stem[0] + stem[1], (stem[0] - stem[1]) * rng.uniform(0.3, 1.3)
        pair = (0.5 * np.stack((middle + side, middle - side))).astype(np.float32)
        return pair[::-1] if rng.random() < 0.5 else pair
    angle = np.pi / 4 * (1 + rng.uniform(-0.8, 0.8) * (rng.random() < 0.7))
    pair = np.stack((np.cos(angle) * stem[0], np.sin(angle) * stem[0])).astype(np.float32)
    if rng.random() < 0.3:
        delay, side = int(rng.integers(20, 900)), int(rng.integers(2))
        pair[side, delay:] += decibels(rng.uniform(-12, -3)) * stem[0, :-delay]
    return pair


def decibels(gain: float) -> np.float32:
    """The factor that a gain in dB stands for."""
    return np.float32(10 ** (gain / 20))
