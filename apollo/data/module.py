"""From configuration to data loaders."""

from __future__ import annotations

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

    Who inherits sets `training` and `validation`, so that missing data are told before anything starts.

    Args:
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
    """

    training: Crops
    validation: FixedCrops | ValidationPairs

    def __init__(
        self,
        sr: int,
        segments: float,
        num_steps: int,
        batch_size: int,
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        super().__init__()
        for name, value, lowest in (
            ("sr", sr, 1),
            ("num_steps", num_steps, 1),
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
        ):
            if not isinstance(value, int) or value < lowest:
                raise ConfigError(f"datas.{name} must be a whole number from {lowest}, not {value!r}")
        if not isinstance(segments, int | float) or not 0.1 <= segments <= 600:
            raise ConfigError(f"datas.segments must be a number of seconds from 0.1 to 600, not {segments!r}")
        self.samples = round(segments * sr)
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    def train_dataloader(self) -> DataLoader[Crop]:
        """Batches of `{original, degraded}`, each `(batch, 2, samples)`."""
        return DataLoader(
            self.training,
            sampler=CropSampler(self.num_steps * self.batch_size),
            batch_size=self.batch_size,
            **self._loading(),
        )

    def val_dataloader(self) -> DataLoader[Crop]:
        """Items of `{original, degraded}` one by one, each `(1, 2, samples)`."""
        return DataLoader(self.validation, batch_size=1, **self._loading())

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.num_workers > 0,
        }


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
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory)
        if not (codec or {}).get("enable"):
            raise ConfigError("training on prepared pairs is not there yet: set datas.codec.enable=true to make them")
        options = RandomCodec(sr, **((codec or {}).get("options") or {}))
        music = MusicFolder(Path(original_dir), sr, (self.samples + 2 * MARGIN) / sr)
        self.training = Crops(music, options, self.samples, seed)
        self.validation = ValidationPairs(Path(valid_dir), valid_original, valid_codec, sr)


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
        super().__init__(sr, segments, num_steps, batch_size, num_workers, pin_memory)
        levels = (float(peak[0]), float(peak[-1]))

        def crops(folder: str) -> Crops:
            stems = StemFolder(Path(folder), sr, **(mixing or {}))
            return Crops(stems, RandomCodec(sr, **(codec or {})), self.samples, seed, levels, mono)

        self.training = crops(train_dir)
        self.validation = FixedCrops(crops(valid_dir), valid_crops)
