"""Weights & Biases online where it can be reached, offline where not: no run fails because of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger, WandbLogger

from apollo.errors import one_line
from apollo.training.blocks import Spec

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds until the service is taken for out of reach; its own 90 come before the first step


def begin(loggers: Sequence[Logger], specs: Sequence[Spec]) -> list[Logger]:
    """Begin the run at Weights & Biases, offline where it has no key or no answer comes.

    Gives the loggers, that of Weights & Biases perhaps another; `specs` are what they were built from.
    """
    asked = [spec for spec in specs if spec.made is WandbLogger]
    return [begun(each, asked.pop(0)) if isinstance(each, WandbLogger) else each for each in loggers]


def begun(logger: WandbLogger, spec: Spec) -> WandbLogger:
    """Begin the run of one logger."""
    import wandb

    try:
        if not is_offline(spec) and not wandb.login(prompt=False):
            raise wandb.errors.UsageError("no API key is set")
        _ = logger.experiment
        return logger
    except (wandb.errors.Error, ValueError) as error:
        if is_offline(spec):
            raise
        reason = one_line(error).rstrip(".")
    # Or the next beginning would be another try of the first. Without a network, it now and then never ends.
    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(PATIENCE)
    instead: WandbLogger = spec.with_arguments(offline=True, log_model=False).build()
    folder = Path(str(instead.experiment.dir)).parent
    log.warning(
        "Weights & Biases cannot be used (%s): the run continues offline; upload it later with wandb sync %s",
        reason[:300],
        folder,
    )
    return instead


def is_offline(spec: Spec) -> bool:
    """Whether a configuration or the environment asks for offline mode."""
    import wandb

    return bool(spec.arguments.get("offline")) or wandb.setup().settings.mode != "online"


def finish(loggers: Sequence[Logger], failed: bool) -> None:
    """End the run at Weights & Biases, which else takes the next run of this process for the same."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=int(failed))
