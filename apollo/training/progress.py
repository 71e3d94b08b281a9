"""Progress of a run as lines of text, for log files and narrow terminals."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

log = logging.getLogger(__name__)

COLUMNS = 80
WIDE = 160  # columns that Lightning's bar takes with all its names
PATIENCE = 60.0  # seconds after which a line is logged even between steps


def shows_bars() -> bool:
    """Whether a person watches a terminal that is wide enough for a bar with all names."""
    return sys.stdout.isatty() and sys.stderr.isatty() and shutil.get_terminal_size().columns >= WIDE


class Lines(ProgressBar):
    """Logs the progress of a run: every `log_every_n_steps` batches, every minute, and after every validation."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True
        self.told = time.monotonic()

    def disable(self) -> None:
        """Be quiet: only one process of a run logs."""
        self.enabled = False

    def enable(self) -> None:
        """Log again."""
        self.enabled = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the progress of training."""
        done, count = batch_idx + 1, self.total_train_batches
        late = time.monotonic() > self.told + PATIENCE
        if late or done % max(1, trainer.log_every_n_steps) == 0 or done == count:  # type: ignore[attr-defined]
            names = self._named(trainer, pl_module, validated=False)
            self._tell(f"epoch {trainer.current_epoch}, batch {done}/{count}", names)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores of a validation."""
        if not trainer.sanity_checking:
            names = self._named(trainer, pl_module, validated=True)
            self._tell(f"epoch {trainer.current_epoch}, validated", names)

    def _named(self, trainer: Trainer, pl_module: LightningModule, validated: bool) -> dict[str, Any]:
        metrics = self.get_metrics(trainer, pl_module)
        return {n: v for n, v in metrics.items() if n != "v_num" and n.startswith("val_") == validated}

    def _tell(self, place: str, numbers: Mapping[str, Any]) -> None:
        self.told = time.monotonic()
        if self.enabled:
            log.info("%s", wrapped(place, [f"{name} {float(value):.4g}" for name, value in numbers.items()]))


def wrapped(place: str, parts: list[str]) -> str:
    """Lines of at most `COLUMNS`, of whole parts."""
    lines = [f"{place}:"]
    for part in parts:
        lines[-1] += "," if lines[-1][-1] != ":" else ""
        if len(lines[-1]) + len(part) + 2 > COLUMNS:
            lines.append("   ")
        lines[-1] += f" {part}"
    return "\n".join(lines)
