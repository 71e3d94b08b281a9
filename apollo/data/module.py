"""From configuration to data loaders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from apollo.audio import MARGIN
from apollo.data.crops import Crop, Crops, CropSampler, FixedCrops
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder
from apollo.data.pairs import ValidationPairs
from apollo.data.stems import StemFolder
from apollo.errors import ConfigError


class CropModule(LightningDataModule):
    """Random crops for training, `batch_size` at a time, and something fixed to validate on.

    Args:
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.
    """

    def __init__(
        self,
        sr: int,
        segments: float,
        num_steps: int,
        batch_size: int,
        num_workers: int,
        pin_memory: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.sample_rate = sr
        self.samples = round(segments * sr)
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.seed = seed

    def training_crops(self) -> Crops:
        """The endless crops that training draws from."""
        raise NotImplementedError

    def validation_items(self) -> FixedCrops | ValidationPairs:
        """What the model is validated on."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Crop]:
        """Batches of `{original, degraded}`, each `(batch, 2, samples)`."""
        return DataLoader(
            self.training_crops(),
            sampler=CropSampler(self.num_steps * self.batch_size),
            batch_size=self.batch_size,
            **self._loading(),
        )

    def val_dataloader(self) -> DataLoader[Crop]:
        """Items of `{original, degraded}` one by one, each `(1, 2, samples)`."""
        return DataLoader(self.validation_items(), batch_size=1, **self._loading())

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.num_workers > 0,
            # A worker that started its own threads would take them from the network.
            "worker_init_fn": _one_thread,
        }


def _one_thread(worker: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"


class DataModule(CropModule):
    """Clean music in one folder, damaged on the fly; validation on pairs on disk.

    The keys are those of the published training code.

    Args:
        original_dir: Folder of clean music.
        valid_dir: Folder of validation songs, one folder each.
        valid_original: Name of the original in each.
        valid_codec: Name of the damaged version.
        codec: `enable` must be true; `options` are those of `RandomCodec`.
        codec_dir: Folder of damaged versions; read by a later version.
        codec_format: Their format; read by a later version.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.

    Raises:
        ConfigError: If the automatic codec is not enabled.
    """

    def __init__(
        self,
        original_dir: str,
        valid_dir: str,
        valid_original: str = "original.wav",
        valid_codec: str = "codec.wav",
        codec: dict[str, Any] | None = None,
        codec_dir: str | None = None,
        codec_format: str | None = None,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory, seed)
        if not (codec or {}).get("enable"):
            raise ConfigError("training on prepared pairs is not there yet: set datas.codec.enable=true to make them")
        self.codec = RandomCodec(sr, **((codec or {}).get("options") or {}))
        self.original_dir = Path(original_dir)
        self.validation = ValidationPairs(Path(valid_dir), valid_original, valid_codec, sr)

    def training_crops(self) -> Crops:
        """Crops of the music in `original_dir`."""
        music = MusicFolder(self.original_dir, self.sample_rate, (self.samples + 2 * MARGIN) / self.sample_rate)
        return Crops(music, self.codec, self.samples, self.seed)

    def validation_items(self) -> ValidationPairs:
        """The pairs in `valid_dir`."""
        return self.validation


class StemDataModule(CropModule):
    """Songs in stems, mixed and damaged on the fly, for training and for validation.

    Args:
        train_dir: Folder of songs: `<song>/<class>[_n].flac`.
        valid_dir: Another, for validation.
        mixing: Options of `StemFolder`.
        codec: Options of `RandomCodec`.
        peak: Lowest and highest peak of a crop in dBFS.
        mono: Share of crops whose two channels are two mono pieces.
        valid_crops: How many crops to validate on.
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.
    """

    def __init__(
        self,
        train_dir: str,
        valid_dir: str,
        mixing: dict[str, Any] | None = None,
        codec: dict[str, Any] | None = None,
        peak: Sequence[float] = (-12.0, 0.0),
        mono: float = 0.0,
        valid_crops: int = 24,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory, seed)
        self.train_dir, self.valid_dir = Path(train_dir), Path(valid_dir)
        self.mixing = mixing or {}
        self.codec = RandomCodec(sr, **(codec or {}))
        self.peak = (float(peak[0]), float(peak[1]))
        self.mono = mono
        self.valid_crops = valid_crops

    def training_crops(self) -> Crops:
        """Mixes of the songs in `train_dir`."""
        stems = StemFolder(self.train_dir, self.sample_rate, **self.mixing)
        return Crops(stems, self.codec, self.samples, self.seed, self.peak, self.mono)

    def validation_items(self) -> FixedCrops:
        """The same mixes of the songs in `valid_dir` every time."""
        stems = StemFolder(self.valid_dir, self.sample_rate, **self.mixing)
        return FixedCrops(Crops(stems, self.codec, self.samples, self.seed, self.peak, self.mono), self.valid_crops)
