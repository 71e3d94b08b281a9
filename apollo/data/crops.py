"""Endless training crops: every crop is a function of one seed and its number, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from apollo.audio import MARGIN
from apollo.data.degradation import Degradation, RandomCodec, Waveform


class Sides(TypedDict):
    """Two versions of a piece of music, aligned, float32, at the data's sample rate: `(channels, samples)` each."""

    original: Tensor
    degraded: Tensor


class Crop(Sides, total=False):
    """One training example; a batch has the batch dimension in front."""

    bitrate: Tensor  # what it was coded at, where that is known; see `bitrate_of`


@dataclass(frozen=True)
class Pair:
    """Two versions of a piece of music, `(channels, samples)` each, and what lies between them."""

    original: Waveform
    degraded: Waveform
    degradation: Degradation


def bitrate_of(degradation: Mapping[str, Any]) -> int:
    """The bitrate in bit/s of what `Degradation.as_dict` gives, or 0 for anything but MP3 of one constant bitrate."""
    if len(degradation["encodings"]) != 1:
        return 0
    (encoding,) = degradation["encodings"]
    return int(encoding["bitrate"]) if encoding["codec"] == "mp3" and "bitrate" in encoding else 0


class Source(Protocol):
    """Something that clean stereo crops can be drawn from."""

    def draw(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop of `(2, samples)`."""
        ...


class Crops(Dataset[Crop]):
    """Crops by number: drawn from a source, degraded with a margin on both sides, brought to a common level.

    Args:
        source: Where clean crops come from.
        codec: What damages them.
        samples: Length of a crop.
        seed: Crop `n` depends on `(seed, n)` alone, so neither workers nor interruptions change it.
        peak: Lowest and highest peak in dBFS, drawn evenly; `None` divides both sides by the larger of their peaks.
        mono: Share of crops whose two channels are two pieces of their own, each coded as a mono file: at the same
            bitrate a codec does far less damage to one channel than to two.
    """

    def __init__(
        self,
        source: Source,
        codec: RandomCodec,
        samples: int,
        seed: int,
        peak: tuple[float, float] | None = None,
        mono: float = 0.0,
    ) -> None:
        self.source = source
        self.codec = codec
        self.samples = samples
        self.seed = seed
        self.peak = peak
        self.mono = mono

    def __getitem__(self, number: int) -> Crop:
        """Make crop `number`."""
        rng = np.random.default_rng((self.seed, number))
        mono = rng.random() < self.mono
        pieces = [self._pair(rng, channels=1) for _ in range(2)] if mono else [self._pair(rng, channels=2)]
        return Crop(
            original=torch.from_numpy(np.concatenate([piece.original for piece in pieces])),
            degraded=torch.from_numpy(np.concatenate([piece.degraded for piece in pieces])),
        )

    def channel(self, number: int) -> Pair:
        """Make one channel of crop `number`: a mono piece, or either side of a stereo one."""
        rng = np.random.default_rng((self.seed, number))
        mono = rng.random() < self.mono
        pair = self._pair(rng, channels=1 if mono else 2)
        side = 0 if mono else int(rng.integers(2))
        return Pair(pair.original[side : side + 1], pair.degraded[side : side + 1], pair.degradation)

    def _pair(self, rng: np.random.Generator, channels: int) -> Pair:
        # The codec sees true music on both sides of the crop, as it does in a whole file.
        original = self.source.draw(rng, self.samples + 2 * MARGIN)[:channels]
        if self.peak is not None:
            original = original * np.float32(10 ** (rng.uniform(*self.peak) / 20) / (np.abs(original).max() + 1e-9))
        degradation = self.codec.choose(rng, len(original))
        kept = slice(MARGIN, MARGIN + self.samples)
        sides = original[:, kept], self.codec.apply(original, degradation)[:, kept]
        return Pair(*(sides if self.peak is not None else on_one_level(*sides)), degradation)


def on_one_level(original: Waveform, degraded: Waveform) -> tuple[Waveform, Waveform]:
    """Divide both sides by the larger of their two peaks."""
    level = np.float32(max(np.abs(original).max(initial=1e-9), np.abs(degraded).max(initial=1e-9)))
    return original / level, degraded / level


@dataclass(frozen=True)
class Place:
    """Where a run stands."""

    batches: int = 0  # how many batches this process has trained on since the run began, in all its parts
    rank: int = 0  # which of the processes this is
    processes: int = 1


class CropBatches(Sampler[list[int]]):
    """Numbers of the crops in the batches to come; none comes twice in a run, whatever interrupts it.

    Several processes share the numbers out as one would have drawn them in batches so many times as large.

    Args:
        batches: Batches in an epoch, and how many are given. A run that was interrupted in an epoch, or is limited,
            takes fewer, and the next epoch begins with the first batch that was not taken.
        batch_size: Crops in a batch of one process.
        place: Tells where the run stands whenever an epoch begins or continues.
    """

    def __init__(self, batches: int, batch_size: int, place: Callable[[], Place] = Place) -> None:
        self.batches = batches
        self.batch_size = batch_size
        self.place = place

    def __iter__(self) -> Iterator[list[int]]:
        place = self.place()
        for batch in range(place.batches, place.batches + self.batches):
            first = (batch * place.processes + place.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))

    def __len__(self) -> int:
        return self.batches
