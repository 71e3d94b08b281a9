"""Pairs on disk: originals beside versions that a codec has damaged, laid sample on sample.

A pair made outside carries the delay of its encoder and is longer or shorter by some padding. Every pair is measured
before anything starts; its lag is then undone wherever it is read, and what has no partner in time is left out: nothing
is filled in, nothing rolled around.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from apollo.data.crops import Crop, on_one_level
from apollo.data.folders import (
    SHORTEST,
    Problem,
    Track,
    Waveform,
    as_stereo,
    first_sounding,
    read_from,
    side_by_side,
    try_track,
    warn_of,
)
from apollo.data.layouts import Found
from apollo.data.relations import relation_of
from apollo.errors import ApolloError, DataError, one_file

log = logging.getLogger(__name__)

NEGLIGIBLE = 0.02  # samples of lag: the estimate is no better
LONGEST = 600.0  # seconds that are validated on at once


@dataclass(frozen=True)
class Pair:
    """An original and its damaged version, and how they lie to each other."""

    original: Track
    codec: Track  # the damaged version; rate and number of channels may differ
    lag: float = 0.0  # by how many seconds the damaged version is late

    @property
    def begin(self) -> float:
        """Where both have begun, in seconds of the original."""
        return max(0.0, -self.lag)

    @property
    def seconds(self) -> float:
        """For how long both last from there."""
        return min(self.original.seconds, self.codec.seconds - self.lag) - self.begin


def open_pairs(found: Found[Path]) -> list[Pair]:
    """Open and measure pairs, several at a time; raises DataError if none can be used.

    Lags that will be corrected are logged once for every file. Files that cannot be read, drift, or are not the same
    music are named in one warning, with whatever the search had found wrong, and left out.
    """
    opened = side_by_side(try_pair, found.pairs)
    pairs = [pair for pair in opened if isinstance(pair, Pair)]
    problems = [*found.problems, *(problem for problem in opened if isinstance(problem, Problem))]
    for pair in pairs:
        if pair.lag:
            log.info("%s is %.2f ms late; corrected", pair.codec.path, 1000 * pair.lag)
    warn_of(problems, len(pairs) + len(problems))
    if not pairs:
        first = f"; the first: {problems[0]}" if problems else ""
        raise DataError(f"{found.place} holds no usable pair of original and damaged version{first}")
    return pairs


def try_pair(paths: tuple[Path, Path]) -> Pair | Problem:
    """Open and measure a pair, or say why it cannot be used."""
    tracks = []
    for path in paths:
        track = try_track(path)
        if isinstance(track, Problem):
            return track
        tracks.append(track)
    original, codec = tracks
    try:
        with one_file(codec.path):
            relation = relation_of(original.path, codec.path)
    except ApolloError as error:
        return Problem(codec.path, str(error))
    if relation.problem is not None:
        return Problem(codec.path, f"{relation.problem} (against {original.path})")
    pair = Pair(original, codec, relation.lag / original.sample_rate if abs(relation.lag) > NEGLIGIBLE else 0.0)
    if pair.seconds < SHORTEST:
        return Problem(codec.path, f"it shares less than {SHORTEST} s with {original.path}")
    return pair


def read_pair(pair: Pair, start: float, samples: int, sample_rate: int) -> tuple[Waveform, Waveform]:
    """Read both sides of a pair from `start` seconds after both have begun; `(2, samples)` each.

    What lies beyond the end of either is silent on both sides.
    """
    first = round((pair.begin + start) * pair.original.sample_rate)
    position = (first / pair.original.sample_rate + pair.lag) * pair.codec.sample_rate
    if abs(position - round(position)) < NEGLIGIBLE:
        position = round(position)
    original = as_stereo(read_from(pair.original, first, samples, sample_rate))
    codec = as_stereo(read_from(pair.codec, position, samples, sample_rate))
    end = max(0, round((pair.begin + pair.seconds) * sample_rate - first / pair.original.sample_rate * sample_rate))
    original[:, end:] = codec[:, end:] = 0
    return original, codec


def as_crop(original: Waveform, degraded: Waveform) -> Crop:
    """Bring both sides to one level and hand them to torch."""
    original, degraded = on_one_level(original, degraded)
    return Crop(original=torch.from_numpy(original), degraded=torch.from_numpy(degraded))


class PairCrops(Dataset[Crop]):
    """Random crops of pairs by number, drawn by their length; crop `n` depends on `(seed, n)` alone.

    Other sample rates are resampled. What is shorter than a crop is followed by silence.
    """

    def __init__(self, pairs: Sequence[Pair], samples: int, sample_rate: int, seed: int) -> None:
        self.pairs = list(pairs)
        self.samples = samples
        self.sample_rate = sample_rate
        self.seed = seed
        lengths = np.array([pair.seconds for pair in self.pairs])
        self.shares = lengths / lengths.sum()

    def __getitem__(self, number: int) -> Crop:
        """Make crop `number`; silence, and what has become unreadable, is drawn again a few times."""
        rng = np.random.default_rng((self.seed, number))

        def attempt() -> tuple[Waveform, Waveform]:
            pair = self.pairs[rng.choice(len(self.pairs), p=self.shares)]
            start = rng.uniform(0, max(0.0, pair.seconds - self.samples / self.sample_rate))
            return read_pair(pair, start, self.samples, self.sample_rate)

        return as_crop(*first_sounding(attempt, lambda sides: sides[0]))


class WholePairs(Dataset[Crop]):
    """Whole songs beside their damaged versions, read one at a time: what a run is validated on.

    What lasts longer than `LONGEST` is divided into equal parts, so that memory does not depend on the length of files.
    """

    def __init__(self, pairs: Iterable[Pair], sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.parts: list[tuple[Pair, float, int]] = []  # pair, start in seconds, samples
        for pair in pairs:
            count = math.ceil(pair.seconds / LONGEST)
            samples = int(pair.seconds / count * sample_rate)
            self.parts.extend((pair, part * samples / sample_rate, samples) for part in range(count))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Crop:
        """Read part `number`, as long as both sides last."""
        return as_crop(*read_pair(*self.parts[number], self.sample_rate))
