"""From crops to data loaders, whatever the crops are made from."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Subset

from apollo.data.crops import Crop, CropBatches, Crops, Place
from apollo.data.pairs import PairCrops, WholePairs
from apollo.data.shards import ShardCrops
from apollo.errors import ConfigError, DataError
from apollo.work import leave_signals_to_parent


class CropModule(LightningDataModule):
    """Random crops for training, `batch_size` at a time, and something fixed to validate on.

    Who inherits checks its options, and then calls `open`, which sets `training` and `validation`, so that missing data
    are told before anything starts.

    Args:
        sr: Sample rate in Hz.
        segments: Length of a crop in seconds.
        num_steps: Batches in an epoch.
        batch_size: Crops in a batch.
        num_workers: Processes that make crops.
        pin_memory: Whether batches are put where a GPU can fetch them.
        seed: Of all randomness.

    Raises:
        ConfigError: If one of them is out of range.
    """

    training: Crops | PairCrops | ShardCrops
    validation: Subset[Crop] | WholePairs
    streams = False  # whether crops come from a store; the threads of its driver must not be forked

    def __init__(
        self,
        sr: int = 44100,
        segments: float = 3,
        num_steps: int = 1000,
        batch_size: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, lowest, highest in (
            ("sr", sr, 1, 768_000),
            ("num_steps", num_steps, 1, 10**9),
            ("batch_size", batch_size, 1, 1 << 16),
            ("num_workers", num_workers, 0, 1 << 10),
        ):
            if not isinstance(value, int) or not lowest <= value <= highest:
                raise ConfigError(f"datas.{name} must be a whole number from {lowest} to {highest}, not {value!r}")
        if not isinstance(segments, int | float) or not 0.1 <= segments <= 600:
            raise ConfigError(f"datas.segments must be a number of seconds from 0.1 to 600, not {segments!r}")
        self.sample_rate = sr
        self.samples = round(segments * sr)
        self.seed = seed
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory

    @classmethod
    def check(cls, **arguments: Any) -> None:
        """Raise ConfigError if options describe no data, without opening any."""
        type(cls.__name__, (cls,), {"open": lambda self: None})(**arguments)

    def open(self) -> None:
        """Find the data and set `training` and `validation`; raises DataError if they are missing or cannot be used."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader[Crop]:
        """Batches of `{original, degraded}`, each `(batch, 2, samples)`, from where the run stands."""
        batches = CropBatches(self.num_steps, self.batch_size, self._place)
        return CropLoader(self.training, batch_sampler=batches, **self._loading())

    def val_dataloader(self) -> DataLoader[Crop]:
        """This process's share of the items of `{original, degraded}`, one by one, each `(1, 2, samples)`."""
        place = self._place()
        share = Subset(self.validation, range(place.rank, len(self.validation), place.processes))
        # An item may be a whole song: each worker holds one ready, not two.
        return DataLoader(share, batch_size=1, prefetch_factor=1 if self.num_workers else None, **self._loading())

    def transfer_batch_to_device(self, batch: Crop, device: torch.device, dataloader_idx: int) -> Crop:
        """Leave whole songs on the CPU, where they are scored: a GPU holds the chunk that is being restored."""
        if self.trainer is not None and not self.trainer.training:
            return batch
        return cast(Crop, super().transfer_batch_to_device(batch, device, dataloader_idx))

    def check_shares(self, processes: int) -> None:
        """Raise DataError if there are fewer items to validate on than processes."""
        items = len(self.validation)
        if items < processes:
            raise DataError(
                f"each of {processes} processes needs an item to validate on, and datas gives {items} in all: give "
                "more of them, or lower trainer.devices"
            )

    def _place(self) -> Place:
        trainer = self.trainer
        if trainer is None:
            return Place()
        return Place(trainer.fit_loop.epoch_loop.batch_progress.total.ready, trainer.global_rank, trainer.world_size)

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.num_workers > 0,
            "multiprocessing_context": "spawn" if self.streams and self.num_workers else None,
            "worker_init_fn": leave_signals_to_parent,
        }


class CropLoader(DataLoader[Crop]):
    """A loader that goes on where a run was interrupted; `CropBatches` asks the run itself where that is."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the trainer's own state has it all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do."""
