"""Lightning's loggers, but what they cannot use or write is told in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only

from apollo.training.saving import written


class CSVLogger(loggers.CSVLogger):
    """Lightning's, but where `metrics.csv` cannot be written, the run ends with one sentence that names it.

    Raises ValueError if it is to write every 0 steps or fewer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self._flush_logs_every_n_steps < 1:
            raise ValueError(f"flush_logs_every_n_steps must be at least 1, not {self._flush_logs_every_n_steps}")

    @rank_zero_only
    def save(self) -> None:
        """Write what has been logged since the last time."""
        with written(Path(self.log_dir) / "metrics.csv"):
            super().save()


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's, but it names what its writer takes, which is made only when the run has begun."""

    def __init__(
        self,
        save_dir: str | Path,
        name: str | None = "lightning_logs",
        version: int | str | None = None,
        log_graph: bool = False,
        default_hp_metric: bool = True,
        prefix: str = "",
        sub_dir: str | Path | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        super().__init__(
            save_dir,
            name,
            version,
            log_graph,
            default_hp_metric,
            prefix,
            sub_dir,
            comment=comment,
            purge_step=purge_step,
            max_queue=max_queue,
            flush_secs=flush_secs,
            filename_suffix=filename_suffix,
        )
