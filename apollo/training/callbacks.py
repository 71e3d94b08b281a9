"""What a run shows while it trains: its speed, and how its restorations sound and look."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch import callbacks as lightning
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from apollo.audio import write
from apollo.data.crops import Crop
from apollo.spectrograms.triptych import spectrogram_triptych
from apollo.training.saving import written
from apollo.training.system import ApolloSystem

CLIPS, CLIP_SECONDS = 3, 10  # how many items are written after a validation, and how much of each


class Speed(Callback):
    """Shows and logs how many seconds of audio are trained on in a second."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.before = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the time of validation."""
        self.before = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Crop, batch_idx: int
    ) -> None:
        """Log the speed of this batch, waiting for data included."""
        now = time.perf_counter()
        items, _, samples = batch["original"].shape
        seconds = trainer.world_size * items * samples / self.sample_rate
        pl_module.log("audio_seconds_per_second", seconds / (now - self.before), prog_bar=True, batch_size=items)
        self.before = now


class Clips(Callback):
    """After every validation, writes the beginnings of its first items as sound and spectrograms.

    The newest are in the run's folder as `clips/<number>/{damaged,restored,original}.flac` and `spectrograms.png`; the
    loggers that show sound and pictures get them all.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder = folder
        self.sample_rate = sample_rate

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Crop, batch_idx: int, *rest: Any
    ) -> None:
        """Write one item, if it is among the first."""
        if batch_idx >= CLIPS or trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, ApolloSystem)
        sides = {"damaged": batch["degraded"], "restored": outputs, "original": batch["original"]}
        clips = {
            name: side[0, :, : CLIP_SECONDS * self.sample_rate].float().cpu().numpy() for name, side in sides.items()
        }
        folder = self.folder / str(batch_idx)
        folder.mkdir(parents=True, exist_ok=True)
        loudest = max(1.0, *(float(np.abs(clip).max()) for clip in clips.values()))
        for name, clip in clips.items():
            write(folder / f"{name}.flac", clip / loudest, self.sample_rate)
        picture = folder / "spectrograms.png"
        with written(picture):
            spectrogram_triptych(clips["damaged"], clips["restored"], clips["original"], self.sample_rate, picture)
        self.show(trainer, batch_idx, {name: clip / loudest for name, clip in clips.items()}, picture)

    def show(self, trainer: Trainer, number: int, clips: dict[str, np.ndarray[Any, Any]], picture: Path) -> None:
        """Give clips and picture to the loggers that can show them."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                from PIL import Image

                pixels = np.asarray(Image.open(picture).convert("RGB"))
                step = trainer.global_step
                logger.experiment.add_image(f"clip {number}/spectrograms", pixels, step, dataformats="HWC")
                for name, clip in clips.items():
                    mono = clip.mean(0, keepdims=True)  # TensorBoard plays one channel
                    logger.experiment.add_audio(f"clip {number}/{name}", mono, step, self.sample_rate)
            elif isinstance(logger, WandbLogger):
                logger.log_image(f"clip {number}/spectrograms", [str(picture)])
                logger.log_audio(
                    f"clip {number}",
                    [clip.T for clip in clips.values()],
                    sample_rate=[self.sample_rate] * len(clips),
                    caption=list(clips),
                )


class EarlyStopping(lightning.EarlyStopping):
    """Lightning's, but a run that goes on has the patience of its configuration and not of its checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what was counted."""
        super().load_state_dict({**state_dict, "patience": self.patience})


def averaging(decay: float, warmup: bool = False) -> WeightAveraging:
    """An exponential moving average of all weights, validated and saved in their place.

    Args:
        decay: Share of the average that a step keeps.
        warmup: Whether it is `(1 + n) / (10 + n)` after `n` steps as long as that is less, so that what the run began
            with is soon forgotten.
    """
    if not 0 < decay < 1:
        raise ValueError(f"decay must lie between 0 and 1, not {decay}")
    if not warmup:
        return EMAWeightAveraging(decay=decay)

    def average(averages: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        for mean, weight in zip(averages, current, strict=True):
            mean.copy_(kept * mean + (1 - kept) * weight)

    return WeightAveraging(multi_avg_fn=average)
