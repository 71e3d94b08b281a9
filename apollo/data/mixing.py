"""The paper's plain mixing: a few stems of any songs and classes at random levels, or a crop of a whole song.

As in "Apollo: Band-sequence Modeling for High-Quality Audio Restoration" (arXiv 2409.08514). For the richer mixing of
the default model see `apollo.data.stems.StemFolder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from apollo.data.folders import Waveform, first_sounding
from apollo.data.stem_corpus import CLASSES, MIXTURE
from apollo.data.stems import StemFiles, decibels
from apollo.data.store import SUFFIX, StemStore
from apollo.errors import ConfigError, DataError


class Stems(Protocol):
    """Where stems and songs come from: `StemStore` or `StemFiles`."""

    coherent: bool  # whether whole songs can be drawn

    def stem(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one stem, its class drawn evenly."""
        ...

    def mixture(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one song, all its stems together."""
        ...


class StemMixer:
    """Random mixes of stems.

    Args:
        stems: Where they come from.
        num_stems: The most stems in a mix; their number is drawn evenly from 1.
        snr_range: Lowest and highest gain of a stem in dB; whole numbers, drawn evenly.
        coherent_probability: Share of crops that are a song as it is.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If songs are asked for and there are none.
    """

    def __init__(
        self,
        stems: Stems,
        num_stems: int = 8,
        snr_range: Sequence[int] = (-10, 10),
        coherent_probability: float = 0.5,
    ) -> None:
        self.gains = gain_range(num_stems, snr_range)
        if not 0 <= coherent_probability <= 1:
            raise ConfigError(f"coherent_probability must be from 0 to 1, not {coherent_probability!r}")
        if coherent_probability > 0 and not stems.coherent:
            raise DataError("there are no mixtures to draw from: put them there, or set coherent_probability to 0")
        self.stems = stems
        self.num_stems = num_stems
        self.coherent_probability = coherent_probability

    def draw(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a mix `(2, samples)` at the level that comes of it; every silent part is drawn again a few times."""
        if rng.random() < self.coherent_probability:
            return first_sounding(lambda: self.stems.mixture(rng, samples), lambda crop: crop)
        mix = np.zeros((2, samples), np.float32)
        for _ in range(rng.integers(1, self.num_stems + 1)):
            stem = first_sounding(lambda: self.stems.stem(rng, samples), lambda crop: crop)
            mix += stem * decibels(int(rng.integers(self.gains[0], self.gains[1] + 1)))
        return mix


def gain_range(num_stems: int, snr_range: Sequence[int]) -> tuple[int, int]:
    """The lowest and the highest gain of a stem in dB; raises ConfigError if there are none, or no number of stems."""
    if not isinstance(num_stems, int) or num_stems < 1:
        raise ConfigError(f"num_stems must be a whole number from 1, not {num_stems!r}")
    gains = list(snr_range) if isinstance(snr_range, Sequence) else []
    if len(gains) != 2 or not all(isinstance(gain, int) for gain in gains) or gains[0] > gains[1]:
        raise ConfigError(f"snr_range must be the lowest and the highest gain in whole dB, not {snr_range!r}")
    return gains[0], gains[1]


def open_stems(
    root: Path,
    sample_rate: int,
    num_stems: int = 8,
    snr_range: Sequence[int] = (-10, 10),
    samples: int | None = None,
) -> StemMixer:
    """Mix, as `StemMixer` does, from a store where the folder is one, else from a folder of songs in stems.

    Where the length of the mixes is known, what a store cannot give is told at once. Raises ConfigError if an option is
    out of range, and DataError if there are no stems, or they do not fit.
    """
    stored = any(True for name in (*CLASSES, MIXTURE) for _ in (root / name).glob(f"*{SUFFIX}"))
    stems = StemStore(root, sample_rate, samples) if stored else StemFiles(root, sample_rate)
    return StemMixer(stems, num_stems, snr_range)
