"""A training run from a configuration to a model file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from apollo.atomic import alone, replacing
from apollo.checkpoints import load_model, save_model
from apollo.data.loading import CropModule
from apollo.errors import ApolloError, ConfigError, TrainingError
from apollo.nn import Apollo
from apollo.nn.level_loss import LevelLoss
from apollo.nn.losses import GeneratorLoss
from apollo.nn.memory import keep_freed_memory
from apollo.training.callbacks import Clips, Speed
from apollo.training.config import (
    blocks,
    build,
    build_block,
    check,
    construct,
    factory,
    load_config,
    naming,
    one_line,
    resolved,
    section,
)
from apollo.training.saving import (
    CSVLogger,
    StopOnSignal,
    WholeCheckpoints,
    last_checkpoint,
    signals_given_back,
    written,
)
from apollo.training.starting import check_checkpoint, going_on, refuse_to_overwrite, start_from
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)

# `precision: bf16` and `16` in published configurations mean mixed precision.
PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}


def train(
    config_path: Path,
    overrides: Sequence[str] = (),
    resume: Path | None = None,
    init: Path | str | None = None,
) -> Path | None:
    """Train as a configuration says.

    Args:
        config_path: YAML file.
        overrides: `key=value` each, applied over the file.
        resume: Checkpoint to go on from, as if the run had never ended.
        init: Model file to start a new run from.

    Returns:
        The best model as a `.safetensors` file, or `None` if no checkpoint was written.

    Raises:
        ApolloError: If the configuration or the data cannot be used.
    """
    if resume is not None and init is not None:
        raise ConfigError("-m goes on with a run and --init-from starts a new one: give one of them")
    if resume is not None and not resume.is_file():
        raise ConfigError(f"there is no checkpoint {resume} to go on from")
    config = load_config(config_path, overrides)
    try:
        with naming(config_path):
            return fit(config, resume, init)
    except ApolloError as error:
        *traceback, last = str(error).strip().splitlines()
        if not traceback:
            raise
        # From a worker process it comes wrapped in the worker's traceback, whose last line is the message.
        raise type(error)(last.removeprefix(f"apollo.errors.{type(error).__name__}: ")) from error
    except MisconfigurationException as error:
        raise ConfigError(f"{config_path}: {one_line(error)}") from error
    except OSError as error:
        place = error.filename or f"a file in {run_folder(config)}"
        raise TrainingError(
            f"{place} cannot be read or written ({error.strerror or one_line(error)}): mend that, and go on with -m "
            "from the newest checkpoint, or begin again"
        ) from error
    except Exception as error:
        if "DataLoader worker" in str(error):
            raise TrainingError(
                "a process that loads data was killed, perhaps for want of memory: go on with -m from the newest "
                f"checkpoint in {run_folder(config)}, with fewer datas.num_workers"
            ) from error
        if not type(error).__module__.startswith("wandb."):
            raise
        raise ConfigError(
            f"{config_path}: Weights & Biases cannot begin ({one_line(error)}): set WANDB_API_KEY, or "
            "logger.offline=true"
        ) from error


def fit(config: DictConfig, resume: Path | None = None, init: Path | str | None = None) -> Path | None:
    """Build everything that a configuration names, train, and export the best model."""
    check(config)
    seed = config.get("seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"seed must be a whole number, not {seed!r}")
    seed_everything(seed, workers=True, verbose=False)
    run = run_folder(config)
    system = build_system(config)
    callbacks = build_callbacks(config, run, system.generator.sample_rate)
    if resume is not None:
        check_checkpoint(system, resume)
    refuse_to_overwrite(run, last_checkpoint(callbacks, run), resume)
    if init is not None:
        start_from(system, init)
    trainer = build_trainer(config, run, system, callbacks)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    data: CropModule = build(config, "datas", seed=seed)
    data.check_shares(trainer.world_size)
    with ExitStack() as stack:
        if trainer.is_global_zero:
            with written(run):
                run.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(run))
            with written(run / "config.yaml"), replacing(run / "config.yaml") as temporary:
                temporary.write_text(resolved(config), encoding="utf-8")
        try:
            with signals_given_back(), going_on(resume, system):
                trainer.fit(system, datamodule=data, ckpt_path=str(resume) if resume else None, weights_only=True)
        except BaseException:
            finish(trainer.loggers, failed=True)
            raise
        finish(trainer.loggers, failed=False)
        return export_best(trainer, run, str(config.get("licence", "not stated")))


def run_folder(config: DictConfig) -> Path:
    """Where everything that a run writes goes: `exp.dir/exp.name`."""
    experiment = section(config, "exp")
    return Path(str(experiment.get("dir", "exps"))) / str(experiment.get("name", "apollo"))


def build_system(config: DictConfig) -> ApolloSystem:
    """The networks, losses and optimisers of a configuration; those of a discriminator only if the loss asks it."""
    generator: Apollo = build(config, "model")
    loss_g: GeneratorLoss | LevelLoss = build(config, "loss_g", sample_rate=generator.sample_rate)
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
        # Lightning leaves accumulation to those who optimise by hand, and refuses its own key.
        accumulate=section(config, "trainer").get("accumulate_grad_batches", 1),
    )
    return system


def build_callbacks(config: DictConfig, run: Path, sample_rate: int) -> list[Callback]:
    """What a configuration has done beside the training steps, and what every run does."""
    callbacks: list[Callback] = [build(config, name) for name in ("checkpoint", "early_stopping") if config.get(name)]
    if config.get("ema"):
        callbacks.append(construct("ema", averaging, **section(config, "ema")))
    last = last_checkpoint(callbacks, run)
    return [*callbacks, Speed(sample_rate), Clips(run / "clips", sample_rate), StopOnSignal(last)]


def build_trainer(config: DictConfig, run: Path, system: ApolloSystem, callbacks: list[Callback]) -> Trainer:
    """The Lightning trainer of a configuration, with its loggers.

    Raises:
        ConfigError: If the accelerator asked for is not there.
    """
    options: dict[str, Any] = {}
    settings = section(config, "trainer")
    if settings.get("accelerator") in ("cuda", "gpu") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator asks for CUDA, and there is none here: add trainer.accelerator=auto")
    on_cpu = settings.get("accelerator") == "cpu" or not torch.cuda.is_available()
    if isinstance(settings.get("devices"), list) and on_cpu:
        # A list of device numbers, as configurations for GPUs have it, means nothing to a CPU.
        options["devices"] = len(settings["devices"])
    precision = str(settings.get("precision", "32"))
    options["precision"] = PRECISIONS.get(precision, precision)
    if options["precision"] not in PRECISIONS.values():
        raise ConfigError(f"trainer.precision must be 32, 16, bf16 or 64, not {precision}")
    if system.discriminator is not None and settings.get("strategy", "auto") in ("auto", "ddp"):
        # Each of the two networks leaves the other without gradients.
        options["strategy"] = "ddp_find_unused_parameters_true" if processes(settings) > 1 else "auto"
    config = config.copy()
    for name, value in options.items():
        OmegaConf.update(config, f"trainer.{name}", value)
    OmegaConf.update(config, "trainer.accumulate_grad_batches", 1)
    trainer: Trainer = build(
        config,
        "trainer",
        callbacks=callbacks,
        logger=build_loggers(config, run),
        plugins=[WholeCheckpoints()],
        use_distributed_sampler=False,  # crops know by their number whose they are
    )
    return trainer


def processes(settings: Mapping[str, Any]) -> int:
    """How many processes the block `trainer` asks for."""
    devices = settings.get("devices", "auto")
    if isinstance(devices, list):
        count = len(devices)
    elif str(devices) in ("auto", "-1"):
        count = max(1, torch.cuda.device_count()) if settings.get("accelerator") != "cpu" else 1
    else:
        count = len(str(devices).split(",")) if "," in str(devices) else int(devices)
    return count * int(settings.get("num_nodes", 1))


def build_loggers(config: DictConfig, run: Path) -> list[Logger]:
    """The loggers of the block `logger`, one or a list, and CSV always; TensorBoard where none is named."""
    loggers: list[Logger] = []
    for block in blocks(config, "logger"):
        if str(block.get("_target_", "")).endswith(".WandbLogger") and find_spec("wandb") is None:
            log.warning(
                "logger asks for Weights & Biases, which is not installed (pip install wandb): logged without it"
            )
            continue
        loggers.append(build_block(block, "logger"))
    if not loggers:
        loggers.append(TensorBoardLogger(run, name="tensorboard"))
    if not any(isinstance(logger, CSVLogger) for logger in loggers):
        loggers.append(CSVLogger(run, name="logs"))
    return loggers


def finish(loggers: Sequence[Logger], failed: bool) -> None:
    """End the run at Weights & Biases, which else takes the next run of this process for the same."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=int(failed))


def averaging(decay: float) -> EMAWeightAveraging:
    """An exponential moving average of all weights, validated and saved in their place."""
    if not 0 < decay < 1:
        raise ValueError(f"decay must lie between 0 and 1, not {decay}")
    return EMAWeightAveraging(decay=decay)


def export_best(trainer: Trainer, run: Path, licence: str) -> Path | None:
    """Write the best checkpoint's generator as `best_model.safetensors`, and the scores of the best few beside it."""
    checkpoint = trainer.checkpoint_callback
    if not trainer.is_global_zero or not isinstance(checkpoint, ModelCheckpoint) or not checkpoint.best_model_path:
        return None
    scores = {path: float(score) for path, score in checkpoint.best_k_models.items()}
    with written(run / "best_k_models.json"), replacing(run / "best_k_models.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=1))
    target = run / "best_model.safetensors"
    save_model(load_model(checkpoint.best_model_path), target, licence=licence)
    return target
