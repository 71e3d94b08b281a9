"""Checkpoints that a crash, a full disk or a signal cannot harm."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, loggers
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from apollo.atomic import replacing
from apollo.checkpoints.reading import read_file
from apollo.errors import StoppedError, TrainingError
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say in one sentence which file cannot be written, and why.

    Raises:
        TrainingError: If it cannot.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}): make room there, or set exp.dir to another folder"
        ) from error


class CSVLogger(loggers.CSVLogger):
    """Lightning's, but where `metrics.csv` cannot be written, the run ends with one sentence that names it."""

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged since the last time."""
        with written(Path(self.log_dir) / "metrics.csv"):
            super().save()


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them once they are on the disk; reads them as model files."""

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, whatever else is asked for.

        Raises:
            ModelFileError: If it is damaged, or reading it would run code.
        """
        return read_file(Path(path))[0]

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all.

        Raises:
            TrainingError: If it cannot be written; what was there before is untouched.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's own writer turns a full disk into a RuntimeError
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk may be full"
            raise TrainingError(
                f"the checkpoint {path} cannot be written ({reason}): make room and go on with -m from the newest one "
                f"in {path.parent}; those written before are whole"
            ) from None


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Handle signals afterwards as before, whatever a run has made of them and however it ends.

    Lightning gives back what it has taken before callbacks can, and after an error not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopOnSignal(Callback):
    """Ends a run on SIGTERM or Ctrl-C after the step at work, with a checkpoint; a second signal ends it at once.

    A signal at the end of an epoch waits for its validation, after which `Checkpoints` asks for what to do.

    Args:
        last: Where the checkpoint goes.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over, from Lightning too, which by now has and would end the run without saving."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self.receive)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember to stop; whoever asks again is served at once."""
        self.received = number
        log.warning("finishing the step at work and saving; a second signal ends the run at once")
        for other in SIGNALS:
            signal.signal(other, signal.default_int_handler if other == signal.SIGINT else signal.SIG_DFL)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where no gradients wait for their step."""
        assert isinstance(pl_module, ApolloSystem)
        # After the last batch of an epoch come validation and schedulers, which must not be left out.
        if not ((batch_idx + 1) % pl_module.accumulate or trainer.is_last_batch):
            self.stop_if_asked(trainer)

    def stop_if_asked(self, trainer: Trainer) -> None:
        """Save and stop, on all processes of a run together, if any of them was asked to.

        Raises:
            StoppedError: If so.
        """
        stop = self.received is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            checkpoint = trainer.checkpoint_callback
            if isinstance(checkpoint, ModelCheckpoint):  # else it takes the file for another run's and spares it
                checkpoint.last_model_path = str(self.last)
            trainer.save_checkpoint(self.last)
            raise StoppedError(
                f"stopped after {trainer.fit_loop.total_batch_idx + 1} batches, which are saved: go on with "
                f"-m {self.last}",
                128 + (self.received or signal.SIGTERM),
            )


class Checkpoints(ModelCheckpoint):
    """Lightning's checkpoints, but `save_last` saves after every validation, not only after one of the best.

    What is asked to stop by a signal stops at the end of an epoch too: nothing but checkpoints comes after its
    validation and its schedulers.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best few, and then the newest; stop if a signal asks for it and epochs are left."""
        super().on_train_epoch_end(trainer, pl_module)
        if self._should_save_on_train_epoch_end(trainer):
            self._save_newest(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StopOnSignal) and not trainer.fit_loop.done:
                callback.stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise, where an epoch is validated more than once or not every time."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._save_newest(trainer)

    def _save_newest(self, trainer: Trainer) -> None:
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


def last_checkpoint(callbacks: Sequence[Callback], run: Path) -> Path:
    """Where a run keeps its newest state: where its own checkpoints lie, else in its folder."""
    folders = [c.dirpath for c in callbacks if isinstance(c, ModelCheckpoint) and c.dirpath]
    return Path(folders[0] if folders else run) / "last.ckpt"
