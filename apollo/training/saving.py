"""Checkpoints that a crash, a full disk or a signal cannot harm."""

from __future__ import annotations

import logging
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from apollo.atomic import replacing
from apollo.checkpoints.reading import read_file
from apollo.errors import ConfigError, ModelFileError, StoppedError, TrainingError, stop_signals
from apollo.foreign import silenced
from apollo.storage import here
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Say in a TrainingError of one sentence which file cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written ({error.strerror or error}): check its permissions and free space, or set "
            "exp.dir to another folder"
        ) from error


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their target and renames them once they are on the disk; reads them as model files.

    `written` is called after each.
    """

    def __init__(self, written: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.written = written

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, whatever else is asked for; raises ModelFileError as `read_file` does."""
        return read_file(Path(path))[0]

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file; folders are never written here."""
        path = Path(path)
        if path.is_file():
            path.unlink()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole, or raise TrainingError and leave what was there before."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's own writer turns a full disk into a RuntimeError
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "the disk may be full"
            raise TrainingError(
                f"the checkpoint {path} cannot be written ({reason}): free some space and resume with -m from the "
                f"newest one in {path.parent}; those written before are complete"
            ) from None
        self.written()


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Restore the signal handlers afterwards, however the run ends.

    Lightning restores its own before callbacks can, and after an error not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopOnSignal(Callback):
    """Ends a run on a signal that asks to, after the step at work and with a checkpoint; a second one ends it at once.

    A signal at the end of an epoch waits for its validation, after which `Checkpoints` asks for what to do.
    """

    def __init__(self, last: Path) -> None:
        self.last = last
        self.received: int | None = None
        self.interrupt = signal.getsignal(signal.SIGINT)  # before Lightning changes it

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals from Lightning, which would end the run without saving."""
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                signal.signal(number, self.receive)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Stop after this step; a second signal has its usual effect."""
        self.received = number
        log.warning("finishing the current step and saving; a second signal ends the run at once")
        for other in stop_signals():
            signal.signal(other, self.interrupt if other == signal.SIGINT else signal.SIG_DFL)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop only after a whole step, not between accumulated batches."""
        assert isinstance(pl_module, ApolloSystem)
        # After the last batch of an epoch come validation and schedulers, which must not be left out.
        if not ((batch_idx + 1) % pl_module.accumulate or trainer.is_last_batch):
            self.stop_if_asked(trainer)

    def stop_if_asked(self, trainer: Trainer) -> None:
        """Save and raise StoppedError, on all processes of a run together, if any of them was asked to stop."""
        stop = self.received is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            checkpoint = trainer.checkpoint_callback
            last = checkpoint.newest(trainer) if isinstance(checkpoint, Checkpoints) else self.last
            trainer.save_checkpoint(last, weights_only=False)
            raise StoppedError(
                f"stopped after {trainer.fit_loop.total_batch_idx + 1} batches, which are saved: resume with -m {last}",
                128 + (self.received or signal.SIGTERM),
            )


class Checkpoints(ModelCheckpoint):
    """Lightning's checkpoints, but `save_last` saves after every epoch and validation, not only after one of the best.

    What is asked to stop by a signal stops at the end of an epoch too: nothing but checkpoints comes after its
    validation and its schedulers.

    A checkpoint may come from anywhere and cannot be trusted. So its state holds no paths, only names within this
    callback's own folder, and a run that resumes accepts only those whose files belong to the same run: no other file
    is ever replaced or deleted.
    """

    run = ""
    saved = False  # since the last epoch or validation ended
    ever_saved = False  # since this process began to train
    told = ""  # of where the newest state goes
    goes_on = False  # from the newest state of the run, and not from an earlier one

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the folder, and give the run a random number that nobody can guess."""
        super().setup(trainer, pl_module, stage)
        self.run = secrets.token_hex(16)

    def state_dict(self) -> dict[str, Any]:
        """The run, and which of its files is which."""
        scores = {self._name(path): float(score) for path, score in self.best_k_models.items()}
        return {
            "run": self.run,
            "last": self._name(self.last_model_path),
            "best": self._name(self.best_model_path),
            "scores": scores,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Accept the listed files that exist and belong to the same run."""
        if not isinstance(state_dict.get("run"), str):
            return
        self.run = state_dict["run"]
        scores = state_dict.get("scores")
        for name, score in scores.items() if isinstance(scores, dict) else ():
            if isinstance(score, float) and (path := self._own(name)):
                self.best_k_models[path] = torch.tensor(score)
        worst, best = (max, min) if self.mode == "min" else (min, max)
        # Lightning removes one for each that it adds: of more than are wanted, it would keep every one.
        while len(self.best_k_models) > self.save_top_k >= 0:
            del self.best_k_models[worst(self.best_k_models, key=self.best_k_models.__getitem__)]
        if self.best_k_models:
            self.kth_best_model_path = worst(self.best_k_models, key=self.best_k_models.__getitem__)
            self.kth_value = self.best_k_models[self.kth_best_model_path]
            self.best_model_path = best(self.best_k_models, key=self.best_k_models.__getitem__)
            self.best_model_score = self.best_k_models[self.best_model_path]
        else:
            self.best_model_path = self._own(state_dict.get("best")) or ""
        self.last_model_path = self._own(state_dict.get("last")) or ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See whether the run goes on from its newest state."""
        super().on_train_start(trainer, pl_module)
        self.ever_saved = False
        resumed, newest = trainer.ckpt_path, self.last_model_path
        self.goes_on = resumed is not None and newest != "" and Path(resumed).samefile(newest)

    def file_exists(self, filepath: str | Path, trainer: Trainer) -> bool:
        """As Lightning, but what a killed run wrote after its newest state is written again, not beside it."""
        if not super().file_exists(filepath, trainer):
            return False
        again = trainer.is_global_zero and self.goes_on and _step(filepath) == trainer.global_step
        again = again and self._own(self._name(str(filepath))) is not None
        return not trainer.strategy.reduce_boolean_decision(again, all=False)

    def format_checkpoint_name(self, *arguments: Any, **options: Any) -> str:
        """As Lightning, within the folder; raises ConfigError if `filename` leads out of it."""
        path = super().format_checkpoint_name(*arguments, **options)
        if not is_within(Path(path), Path(str(self.dirpath))):
            raise ConfigError(f"checkpoint.filename leads out of the folder {self.dirpath}: give a name in it")
        return path

    def _name(self, path: str) -> str:
        return Path(path).relative_to(str(self.dirpath)).as_posix() if path else ""

    def _own(self, name: Any) -> str | None:
        """The path of a file in the callback's folder, if it is a checkpoint of the same run."""
        if not isinstance(name, str) or not name.endswith(self.FILE_EXTENSION) or "\0" in name:
            return None
        folder = Path(str(self.dirpath))
        path = folder / name
        # Neither the name nor a link may lead out of the folder.
        if not is_within(path, folder) or path.is_symlink() or not path.is_file():
            return None
        try:
            callbacks = read_file(path)[0].get("callbacks")
        except ModelFileError:
            return None
        state = callbacks.get(self.state_key) if isinstance(callbacks, dict) else None
        return str(path) if isinstance(state, dict) and state.get("run") == self.run else None

    def newest(self, trainer: Trainer) -> Path:
        """Where the newest state goes: to `last.ckpt`, and beside one of another run."""
        path, number = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST), self.STARTING_VERSION
        while path != self.last_model_path and self.file_exists(path, trainer):
            path, number = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST, ver=number), number + 1
        self.last_model_path = path  # it is part of the state that is saved there
        return Path(path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note that a checkpoint is written, and tell once where the newest goes, if not to where all look for it."""
        self.saved = self.ever_saved = True
        newest = self.last_model_path  # Lightning writes it beside each of the best
        if newest != self.told and Path(newest).stem != self.CHECKPOINT_NAME_LAST and trainer.is_global_zero:
            log.warning("the newest state goes to %s, beside that of another run or of a later step", newest)
            self.told = newest

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best few, and then the newest; stop if a signal asks for it and epochs are left."""
        self.saved = False
        super().on_train_epoch_end(trainer, pl_module)
        self.save_newest(trainer)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StopOnSignal) and not is_done(trainer):
                callback.stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise, where an epoch is validated before its end."""
        self.saved = False
        super().on_validation_end(trainer, pl_module)
        if not trainer.is_last_batch and not trainer.sanity_checking:
            self.save_newest(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the newest state if the run has saved nothing: what was learnt must not be lost."""
        if not self.ever_saved and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.newest(trainer), weights_only=False)

    def save_newest(self, trainer: Trainer) -> None:
        """Save the newest state, where it is wanted and not saved yet."""
        if self.save_last and not self.saved and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.newest(trainer), weights_only=False)


def _step(path: str | Path) -> int | None:
    """The step at which a checkpoint was written, if it is one."""
    try:
        step = read_file(Path(path))[0].get("global_step")
    except ModelFileError:
        return None
    return step if isinstance(step, int) else None


def is_done(trainer: Trainer) -> bool:
    """Whether no epochs are left; Lightning says so itself, once, when it ends."""
    with silenced("lightning.pytorch.utilities.rank_zero"):
        return bool(trainer.fit_loop.done)


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is inside a folder, after dots and links are resolved."""
    return folder.resolve() in path.resolve().parents


def last_checkpoint(callbacks: Sequence[Callback], run: Path) -> Path:
    """Where a run keeps its newest state: beside its checkpoints, else in its folder."""
    folders = [c.dirpath for c in callbacks if isinstance(c, ModelCheckpoint) and c.dirpath]
    return here(str(folders[0] if folders else run)) / "last.ckpt"
