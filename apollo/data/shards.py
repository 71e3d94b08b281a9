"""Crops made once and kept: files of at most 60 MiB, each crop one channel of an original and its degraded version.

Making a crop takes a codec's time, training a small network on it far less. Samples are 16-bit integers, as fine as
most music comes; both sides of a crop are scaled by one factor, so that the louder peak is full scale. What a crop went
through is written beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch.utils.data import Dataset

from apollo.atomic import clear_unfinished, replacing
from apollo.data.crops import Crop, Crops, bitrate_of, on_one_level
from apollo.data.folders import side_by_side
from apollo.errors import DataError
from apollo.storage import Place, Url, at_hand, beginning_of, between, inside
from apollo.work import Progress, resumable, run

MANIFEST = "shards.json"
SUFFIX = ".safetensors"
SHARD_BYTES = (60 << 20) - (1 << 18)  # of samples; the rest is for what is told of them
LONGEST_HEADER = 1 << 20  # bytes; what is told of a shard's crops is far shorter
FULL_SCALE = 32767
SIDES = ("original", "degraded")


@dataclass(frozen=True)
class Contents:
    """What a folder of shards holds."""

    sample_rate: int  # of all crops, in Hz
    samples: int  # of each crop
    crops: int
    recipe: Mapping[str, Any]  # what they were made by

    @property
    def a_shard(self) -> int:
        """Crops in a shard; the last may hold fewer."""
        return max(1, SHARD_BYTES // (len(SIDES) * 2 * self.samples))

    @property
    def shards(self) -> list[range]:
        """The numbers of the crops in each shard."""
        return [range(first, min(first + self.a_shard, self.crops)) for first in range(0, self.crops, self.a_shard)]


@dataclass(frozen=True)
class Prepared:
    """What a folder of shards holds after a run."""

    crops: int
    shards: int  # files that hold them
    kept: int  # of these, those that an earlier run had finished


@dataclass(frozen=True)
class _Job:
    crops: Crops
    numbers: range
    path: Path


def prepare(
    crops: Crops,
    target: Path,
    count: int,
    sample_rate: int,
    recipe: Mapping[str, Any],
    workers: int = 1,
    progress: Progress | None = None,
) -> Prepared:
    """Write the first `count` crops to a folder, or go on where an earlier run was ended; every file appears whole.

    A folder may be asked for more crops than it was made for. `recipe` is what the crops are made by, in what JSON
    knows. Raises DataError if the folder holds crops of another recipe or anything else, is in use or cannot be
    written, or a process was killed.
    """
    contents = Contents(sample_rate, crops.samples, count, json.loads(json.dumps(recipe)))
    manifest = target / MANIFEST
    with resumable(target, "shards", MANIFEST):
        if manifest.exists():
            refuse_other_recipe(target, read_manifest(target), contents)
        clear_unfinished(target)
        jobs = [_Job(crops, numbers, target / f"{n:05d}{SUFFIX}") for n, numbers in enumerate(contents.shards)]
        missing = [job for job in jobs if not finished(job, contents)]
        with replacing(manifest) as temporary:
            temporary.write_text(json.dumps(asdict(contents), indent=1), encoding="utf-8")
        for _ in run(write_shard, missing, workers, progress, lambda job: job.path.name, len(jobs) - len(missing)):
            pass
    return Prepared(contents.crops, len(jobs), len(jobs) - len(missing))


def refuse_other_recipe(target: Path, there: Contents, wanted: Contents) -> None:
    """Raise DataError, which names what differs, if the crops of a folder cannot be continued."""
    before, now = ({**asdict(c), **c.recipe} for c in (there, wanted))
    different = [key for key in (before.keys() | now.keys()) - {"crops", "recipe"} if before.get(key) != now.get(key)]
    if different:
        raise DataError(
            f"{target} contains crops made with other settings ({', '.join(sorted(different))} "
            f"differ{'s' * (len(different) == 1)}): give another folder, or remove it"
        )
    if wanted.crops < there.crops:
        raise DataError(f"{target} was made for {there.crops} crops: ask for at least as many, or give another folder")


def finished(job: _Job, contents: Contents) -> bool:
    """Whether a shard is there and holds what it should."""
    try:
        return len(Shard.open(job.path, contents.samples).bitrates) == len(job.numbers)
    except DataError:
        return False


def write_shard(job: _Job) -> None:
    """Make the crops of a shard and write them."""
    shape = (len(job.numbers), job.crops.samples)
    sides = {side: np.zeros(shape, np.int16) for side in SIDES}
    degradations = []
    for row, number in enumerate(job.numbers):
        channel = job.crops.channel(number)
        for side, waveform in zip(SIDES, on_one_level(channel.original, channel.degraded), strict=True):
            sides[side][row] = np.rint(waveform[0] * FULL_SCALE).astype(np.int16)
        degradations.append(channel.degradation.as_dict())
    with replacing(job.path) as temporary:
        temporary.write_bytes(save(sides, {"degradations": json.dumps(degradations)}))  # OSError as other files


def read_manifest(folder: Place) -> Contents:
    """The manifest of a folder; raises DataError if it is no folder of shards."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder} holds no {MANIFEST}: give a folder made by 'apollo data prepare'")
    try:
        with at_hand(path) as file:
            contents = Contents(**json.loads(file.read_text(encoding="utf-8")))
        numbers = (contents.sample_rate, contents.samples, contents.crops)
        good = all(type(n) is int and 0 < n < 1 << 40 for n in numbers) and isinstance(contents.recipe, dict)
    except (OSError, ValueError, TypeError, RecursionError):
        good = False
    if not good:
        raise DataError(f"{path} is damaged: remove its folder, and make that again with 'apollo data prepare'")
    return contents


@dataclass(frozen=True)
class Shard:
    """A file of crops, here or in a store, of which only the samples that are asked for are read."""

    place: Place
    samples: int  # of each crop
    bitrates: list[int]  # of the crops, as `bitrate_of` gives them
    begins: Mapping[str, int]  # at which byte the samples of each side begin

    @classmethod
    def open(cls, place: Place, samples: int) -> Shard:
        """Look at a shard; raises DataError if it is missing, or not what `write_shard` writes."""
        try:
            header = 8 + int.from_bytes(between(place, 0, 8), "little")
            if not 8 < header <= LONGEST_HEADER:
                raise SafetensorError("it does not begin as one")
            with beginning_of(place, header) as path, safe_open(path, framework="np") as file:
                slices = {side: file.get_slice(side) for side in file.offset_keys()}
                degradations = json.loads((file.metadata() or {})["degradations"])
            shapes = [tuple(part.get_shape()) for part in slices.values()]
            good = sorted(slices) == sorted(SIDES) and shapes == 2 * [(len(degradations), samples)]
            if good and all(part.get_dtype() == "I16" for part in slices.values()):
                size = 2 * len(degradations) * samples
                begins = {side: header + number * size for number, side in enumerate(slices)}
                return cls(place, samples, [bitrate_of(degradation) for degradation in degradations], begins)
            reason = "its crops do not belong to the folder"
        except (OSError, SafetensorError) as error:
            reason = str(error)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            reason = "what it says of its crops cannot be read"
        raise DataError(f"{place} is not a complete shard of crops ({reason}): run 'apollo data prepare' again")

    def read(self, side: str, row: int, start: int, samples: int) -> npt.NDArray[np.int16]:
        """A stretch of one side of a crop, `(1, samples)`; raises DataError if the file has changed."""
        first = self.begins[side] + 2 * (row * self.samples + start)
        try:
            content = between(self.place, first, first + 2 * samples)
        except OSError as error:
            raise DataError(f"{self.place} cannot be read any more ({error}): make it again") from None
        if len(content) != 2 * samples:
            raise DataError(f"{self.place} has changed since the run began: make it again")
        return np.frombuffer(content, "<i2")[None]


class Shards(Dataset[Crop]):
    """All crops of a folder made by `prepare`, whole and at full scale, each read on its own.

    Files are opened for every crop, so that this may be handed to other processes by any means. Raises DataError if a
    shard is missing or damaged, or the sample rate is another.
    """

    def __init__(self, folder: Place, sample_rate: int) -> None:
        contents = read_manifest(folder)
        if contents.sample_rate != sample_rate:
            raise DataError(f"{folder} holds crops at {contents.sample_rate} Hz: set datas.sr to that, or make others")
        self.samples = contents.samples
        # What is there bounds the work, whatever the manifest claims.
        files: Iterable[Place] = folder.files() if isinstance(folder, Url) else folder.iterdir()
        names = [file for file in files if fnmatchcase(inside(file, folder).as_posix(), f"[0-9]*{SUFFIX}")]
        self.shards = side_by_side(lambda name: Shard.open(name, self.samples), sorted(names, key=str))
        self.bitrates = [bitrate for shard in self.shards for bitrate in shard.bitrates]
        self.places = [(shard, row) for shard in self.shards for row in range(len(shard.bitrates))]
        if len(self.places) > contents.crops:
            raise DataError(
                f"{folder} holds {len(self.places)} crops, and {contents.crops} in its {MANIFEST}: remove the files "
                "that come from elsewhere"
            )
        if len(self.places) < contents.crops:
            raise DataError(
                f"{folder} holds {len(self.places)} of {contents.crops} crops: run 'apollo data prepare' again, it "
                "makes what is missing"
            )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Crop:
        """Read crop `number`; both sides are `(1, samples)`, and the louder peak is 1."""
        return self.read(number, 0, self.samples)

    def read(self, number: int, start: int, samples: int, gain: float = 1.0) -> Crop:
        """A stretch of crop `number`, brought from full scale to a gain; raises DataError if its file has changed."""
        shard, row = self.places[number]
        original, degraded = (
            torch.from_numpy(side.astype(np.float32) / np.float32(FULL_SCALE) * np.float32(gain))
            for side in (shard.read(side, row, start, samples) for side in SIDES)
        )
        return Crop(original=original, degraded=degraded, bitrate=torch.tensor(self.bitrates[number]))


class ShardCrops(Dataset[Crop]):
    """Random stretches of stored crops by number; stretch `n` depends on `(seed, n)` alone.

    Full scale is brought to a level between the two of `peak` in dBFS, drawn evenly. Raises DataError if a stretch is
    to be longer than the crops.
    """

    def __init__(self, shards: Shards, samples: int, seed: int, peak: tuple[float, float]) -> None:
        if samples > shards.samples:
            raise DataError(f"the shards hold crops of {shards.samples} samples, not {samples}: lower datas.segments")
        self.shards = shards
        self.samples = samples
        self.seed = seed
        self.peak = peak

    def __getitem__(self, number: int) -> Crop:
        """Read stretch `number`; both sides are `(1, samples)`."""
        rng = np.random.default_rng((self.seed, number))
        crop = int(rng.integers(len(self.shards)))
        start = int(rng.integers(self.shards.samples - self.samples + 1))
        gain = 10 ** (rng.uniform(*self.peak) / 20)
        return self.shards.read(crop, start, self.samples, gain)
