"""A training run from a configuration to a model file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from apollo.atomic import replacing
from apollo.checkpoints import load_model, save_model
from apollo.errors import ConfigError, DataError
from apollo.nn import Apollo
from apollo.nn.losses import GeneratorLoss
from apollo.training.config import build, construct, factory, load_config, one_line, section
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)

# `precision: bf16` and `16` in published configurations mean mixed precision.
MIXED = {"bf16": "bf16-mixed", "16": "16-mixed", "32": "32-true"}


def train(config_path: Path, overrides: Sequence[str] = (), resume: Path | None = None) -> Path | None:
    """Train as a configuration says.

    Args:
        config_path: YAML file.
        overrides: `key=value` each, applied over the file.
        resume: Checkpoint to go on from.

    Returns:
        The best model as a `.safetensors` file, or `None` if no checkpoint was written.

    Raises:
        ApolloError: If the configuration or the data cannot be used.
    """
    if resume is not None and not resume.is_file():
        raise ConfigError(f"there is no checkpoint {resume} to go on from")
    try:
        return fit(load_config(config_path, overrides), resume)
    except ConfigError as error:
        raise ConfigError(f"{config_path}: {error}") from error
    except DataError as error:
        # From a worker process it comes wrapped in the worker's traceback, whose last line is the message.
        raise DataError(str(error).strip().splitlines()[-1].removeprefix("apollo.errors.DataError: ")) from error
    except MisconfigurationException as error:
        raise ConfigError(f"{config_path}: {one_line(error)}") from error


def fit(config: DictConfig, resume: Path | None) -> Path | None:
    """Build everything that a configuration names, train, and export the best model."""
    seed = config.get("seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"seed must be a whole number, not {seed!r}")
    seed_everything(seed, workers=True, verbose=False)
    run = run_folder(config)
    system = build_system(config)
    data: LightningDataModule = build(config, "datas", seed=seed)
    trainer = build_trainer(config, run)
    run.mkdir(parents=True, exist_ok=True)
    with replacing(run / "config.yaml") as temporary:
        OmegaConf.save(config, temporary)
    trainer.fit(system, datamodule=data, ckpt_path=str(resume) if resume else None, weights_only=True)
    return export_best(trainer, run, str(config.get("licence", "not stated")))


def run_folder(config: DictConfig) -> Path:
    """Where everything that a run writes goes: `exp.dir/exp.name`."""
    experiment = section(config, "exp")
    return Path(str(experiment.get("dir", "exps"))) / str(experiment.get("name", "apollo"))


def build_system(config: DictConfig) -> ApolloSystem:
    """The networks, losses and optimisers of a configuration; those of a discriminator only if the loss asks it."""
    generator: Apollo = build(config, "model")
    loss_g: GeneratorLoss = build(config, "loss_g", sample_rate=generator.sample_rate)
    sides = ("g", "d") if loss_g.needs_discriminator else ("g",)
    system: ApolloSystem = build(
        config,
        "system",
        generator=generator,
        discriminator=build(config, "discriminator") if "d" in sides else None,
        loss_g=loss_g,
        loss_d=build(config, "loss_d") if "d" in sides else None,
        metrics=build(config, "metrics"),
        optimizers=[factory(config, f"optimizer_{side}") for side in sides],
        schedulers=[factory(config, f"scheduler_{side}") for side in sides],
    )
    return system


def build_trainer(config: DictConfig, run: Path) -> Trainer:
    """The Lightning trainer of a configuration, with its callbacks and loggers.

    Raises:
        ConfigError: If the accelerator asked for is not there.
    """
    options: dict[str, Any] = {}
    settings = section(config, "trainer")
    if settings.get("accelerator") in ("cuda", "gpu") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator asks for CUDA, and there is none here: add trainer.accelerator=auto")
    if settings.get("accelerator") in ("auto", "cpu") and not torch.cuda.is_available():
        # A list of device numbers, as GPU configurations have it, means as many processes on a CPU.
        options["devices"] = 1
    precision = str(settings.get("precision", "32"))
    options["precision"] = MIXED.get(precision, precision)
    callbacks: list[Callback] = [build(config, name) for name in ("checkpoint", "early_stopping") if config.get(name)]
    if config.get("ema"):
        callbacks.append(construct("ema", averaging, **section(config, "ema")))
    if config.get("logger"):
        log.warning("the block 'logger' is not used yet: logs go to CSV and TensorBoard in %s", run)
    loggers: list[Logger] = [CSVLogger(run, name="logs"), TensorBoardLogger(run, name="tensorboard")]
    config = config.copy()
    for name, value in options.items():
        OmegaConf.update(config, f"trainer.{name}", value)
    trainer: Trainer = build(config, "trainer", callbacks=callbacks, logger=loggers)
    return trainer


def averaging(decay: float) -> EMAWeightAveraging:
    """An exponential moving average of all weights, validated and saved in their place."""
    if not 0 < decay < 1:
        raise ValueError(f"decay must lie between 0 and 1, not {decay}")
    return EMAWeightAveraging(decay=decay)


def export_best(trainer: Trainer, run: Path, licence: str) -> Path | None:
    """Write the best checkpoint's generator as `best_model.safetensors` into the run's folder."""
    checkpoint = trainer.checkpoint_callback
    best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
    if not trainer.is_global_zero or not best:
        return None
    target = run / "best_model.safetensors"
    save_model(load_model(best), target, licence=licence)
    log.info("best model: %s", target)
    return target
