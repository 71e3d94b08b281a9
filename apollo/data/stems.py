"""Songs in stems, as a source of random mixes.

A folder holds one folder a song, and each of those one file a stem: `<song>/<class>[_n].flac`, all of a song aligned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from apollo.data.folders import Track, Waveform, as_stereo, find_tracks, first_sounding, read_stretch
from apollo.data.kinds import Kind, kinds_of, require_number
from apollo.data.mastering import compressed, curve, equalised, like_a_master, normalised
from apollo.data.stem_corpus import MIXTURE, OTHER, kind_of
from apollo.errors import DataError

EQ_NODES_HZ = (20.0, 100.0, 400.0, 1600.0, 6400.0, 12800.0, 20000.0)
DULL_FROM_HZ = (1000.0, 18000.0)
DULL_SLOPE = (6.0, 60.0)  # dB an octave
MASH_UP_GAIN = (-10.0, 6.0)  # dB


@dataclass(frozen=True)
class Song:
    """The stems of one song."""

    stems: tuple[Track, ...]  # aligned files
    seconds: float  # up to where crops of the song are drawn


def find_songs(root: Path) -> list[Song]:
    """The songs of a folder, in the order of their names; raises DataError if it holds none, or audio of its own."""
    songs: dict[Path, list[Track]] = {}
    for track in find_tracks(root):
        songs.setdefault(track.path.parent, []).append(track)
    if root in songs:
        raise DataError(f"{root} holds audio files itself: give a folder of songs with one folder of stems each")
    return [Song(tuple(stems), min(stem.seconds for stem in stems)) for stems in songs.values()]


class StemFiles:
    """Crops of stems and of whole songs, straight from the files; what `apollo.data.mixing.StemMixer` mixes.

    A stem is drawn by class, then file, both evenly; files of no known class count as `other`. A song is its
    `mixture.*` where it has one, else the sum of its stems. Other sample rates are resampled. Silence follows where a
    crop is longer than a file. Raises DataError if the folder holds no songs, or no stems but mixtures.
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


@dataclass(frozen=True)
class Mixing:
    """How songs in stems become mixes.

    Raises:
        ValueError: If an option is out of range; the message begins with its name.
    """

    coherent_probability: float = 0.5  # share of mixes made of one song
    max_stems: int = 5  # the most stems of different songs in one mix
    gain: Sequence[float] = (-10.0, 10.0)  # lowest and highest gain of a stem in dB
    saturation_probability: float = 0.15  # share of mixes driven into saturation
    equalisation: float = 8.0  # largest gain of the random equaliser in dB
    speed: float = 1.25  # fastest playback; only upwards, so that no mix ends below half the sample rate
    # Share of mixes that fall by 6 to 60 dB an octave from somewhere between 1 and 18 kHz on, as solo instruments and
    # old or band-limited recordings do.
    dull_probability: float = 0.0
    # Share of mixes that are equalised towards the long-term spectrum of a master, in place of the random equaliser
    # (see `apollo.data.mastering.like_a_master`).
    master_probability: float = 0.0
    compression_probability: float = 0.0  # share of mixes that are compressed and limited as a whole
    mash_up_probability: float = 0.0  # share of mixes that have another laid over them, 10 dB softer to 6 dB louder
    # What songs there are, by the names of their folders, and how often each kind is drawn: `{voices: {folders:
    # [voice_*, sung_*], weight: 0.2}}`. A kind may have a `master_probability`, `compression_probability` and
    # `mash_up_probability` of its own, and name the kinds that are laid over it as `partners`, by default any. Kinds
    # without songs are left out; without `kinds`, all songs are alike.
    kinds: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_stems, int) or self.max_stems < 1:
            raise ValueError(f"max_stems must be a whole number from 1, not {self.max_stems!r}")
        for name, lowest, highest in (
            ("coherent_probability", 0, 1),
            ("saturation_probability", 0, 1),
            ("dull_probability", 0, 1),
            ("equalisation", 0, 60),
            ("speed", 1, 4),
        ):
            require_number(name, getattr(self, name), lowest, highest)
        gains = list(self.gain) if isinstance(self.gain, Sequence) else []
        if len(gains) != 2 or not all(isinstance(g, int | float) for g in gains) or gains[0] > gains[1]:
            raise ValueError(f"gain must be the lowest and the highest gain in dB, not {self.gain!r}")
        self.kinds_of_songs()

    def kinds_of_songs(self) -> list[Kind]:
        """The kinds, each with its shares."""
        shares = ("master_probability", "compression_probability", "mash_up_probability")
        blocks = {"any": {"folders": ["*"], "weight": 1}} if self.kinds is None else self.kinds
        return kinds_of(blocks, {name: getattr(self, name) for name in shares})


class StemFolder:
    """Random mixes, as varied as a few stems allow.

    Some are stems of one song played together, the others stems of any songs of a kind, and of those nearly half a
    single one. Mono stems are placed in the stereo field and sometimes widened; levels, equalisation and pitch vary;
    some mixes are mastered, some dull, some driven into saturation. Raises DataError if the folder holds no songs, or
    one of no kind.
    """

    def __init__(self, root: Path, sample_rate: int, mixing: Mixing = Mixing()) -> None:
        self.sample_rate, self.mixing = sample_rate, mixing
        kinds = mixing.kinds_of_songs()
        self.songs = by_kind(find_songs(root), kinds, root)
        self.kinds = [kind for kind in kinds if kind.name in self.songs]

    def draw(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a mix `(2, samples)` with a peak of 1."""
        kind = self._kind(rng, self.kinds)
        speed = rng.uniform(1.0, self.mixing.speed) if rng.random() < 0.5 else 1.0
        length = int(np.ceil(samples * speed)) + 1
        mix = first_sounding(lambda: self._mixes(rng, kind, length), lambda mix: mix)
        if speed != 1.0:
            mix = soxr.resample(mix.T, self.sample_rate * speed, self.sample_rate, quality="HQ").T
        mix = self._equalise(rng, kind, mix[:, :samples])
        if kind.compression_probability and rng.random() < kind.compression_probability:
            mix = compressed(rng, mix, self.sample_rate)
        mix = normalised(mix)
        if rng.random() < self.mixing.saturation_probability:
            drive = 10 ** (rng.uniform(0, 12) / 20)
            mix = np.tanh(drive * mix) / np.tanh(drive)
        return mix.astype(np.float32)

    def _kind(self, rng: np.random.Generator, kinds: Sequence[Kind]) -> Kind:
        if len(kinds) == 1:
            return kinds[0]
        weights = np.array([kind.weight for kind in kinds])
        return kinds[rng.choice(len(kinds), p=weights / weights.sum())]

    def _mixes(self, rng: np.random.Generator, kind: Kind, samples: int) -> Waveform:
        """A mix, perhaps with another laid over it."""
        mix = self._mix(rng, kind, samples)
        partners = [other for other in self.kinds if other.name in kind.partners]
        if kind.mash_up_probability and rng.random() < kind.mash_up_probability and partners:
            other = self._mix(rng, self._kind(rng, partners), samples)
            alike = np.sqrt(np.square(mix).mean() / (np.square(other).mean() + 1e-12))
            mix += other * alike * decibels(rng.uniform(*MASH_UP_GAIN))
        return mix

    def _mix(self, rng: np.random.Generator, kind: Kind, samples: int) -> Waveform:
        seconds = samples / self.sample_rate
        songs = self.songs[kind.name]
        if rng.random() < self.mixing.coherent_probability:
            song = songs[rng.integers(len(songs))]
            start = rng.uniform(0, max(0.0, song.seconds - seconds))
            chosen = [(stem, start) for stem in song.stems if rng.random() < 0.85]
        else:
            chosen = []
            for _ in range(min(self.mixing.max_stems, rng.geometric(0.45))):
                song = songs[rng.integers(len(songs))]
                stem = song.stems[rng.integers(len(song.stems))]
                chosen.append((stem, rng.uniform(0, max(0.0, stem.seconds - seconds))))
        mix = np.zeros((2, samples), np.float32)
        low, high = self.mixing.gain
        for stem, start in chosen:
            placed = place(rng, read_stretch(stem, start, samples, self.sample_rate))
            mix += placed * decibels(rng.uniform(low, high))
        return mix

    def _equalise(self, rng: np.random.Generator, kind: Kind, mix: Waveform) -> Waveform:
        """Shape the spectrum as a master's or by a smooth random curve, and by a slope where it is to be dull."""
        if kind.master_probability and rng.random() < kind.master_probability:
            mix = like_a_master(rng, mix, self.sample_rate)
            gains = np.zeros(len(EQ_NODES_HZ))
        else:
            gains = rng.uniform(-self.mixing.equalisation, self.mixing.equalisation, len(EQ_NODES_HZ)) * rng.random()
        corner, slope = 1.0, 0.0
        if rng.random() < self.mixing.dull_probability:
            corner, slope = np.exp(rng.uniform(*np.log(DULL_FROM_HZ))), np.exp(rng.uniform(*np.log(DULL_SLOPE)))
        smooth = curve(EQ_NODES_HZ, gains)
        return equalised(mix, self.sample_rate, lambda f: smooth(f) - slope * np.maximum(np.log2(f / corner), 0.0))


def by_kind(songs: Sequence[Song], kinds: Sequence[Kind], root: Path) -> dict[str, list[Song]]:
    """Songs under the names of their kinds; kinds that would never be drawn are left out.

    Raises DataError if a song is of no kind, or none is left.
    """
    found: dict[str, list[Song]] = {}
    for song in songs:
        folder = song.stems[0].path.parent
        kind = next((kind for kind in kinds if kind.fits(folder.name)), None)
        if kind is None:
            raise DataError(f"{folder} fits no folders of datas.mixing.kinds: add a kind for it, such as one for '*'")
        if kind.weight:
            found.setdefault(kind.name, []).append(song)
    if not found:
        raise DataError(f"every kind of song in {root} has weight 0 in datas.mixing.kinds: give one a weight")
    return found


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
