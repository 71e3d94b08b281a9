"""The block `trainer` → Lightning's trainer: what of it two networks that step in turn can use, and its loggers."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from string import Formatter
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.strategies import StrategyRegistry
from torch.optim.lr_scheduler import ReduceLROnPlateau

from apollo.errors import ConfigError, nearest, one_line
from apollo.nn.losses import SPECTRAL, GeneratorLoss
from apollo.training.loggers import CSVLogger, TensorBoardLogger
from apollo.training.recipe import Recipe
from apollo.training.saving import WholeCheckpoints
from apollo.training.system import ApolloSystem
from apollo.training.weights_and_biases import PATIENCE

log = logging.getLogger(__name__)

# `precision: bf16` and `16` in published configurations mean mixed precision.
PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
# Others shard the networks, and a gradient's norm is then not known where it is clipped.
STRATEGIES = ("auto", *(name for name in StrategyRegistry.available_strategies() if name.startswith("ddp")))
COUNTS = {"epoch": torch.tensor(0), "step": torch.tensor(0)}
EVERY_EPOCHS = "check_val_every_n_epoch"
LEVEL_BIAS = re.compile(r"valid/level_bias_[1-9]\d*k")  # of a bitrate, if the music to validate on has it
UNUSED = "_find_unused_parameters_"
# What only Python can give, and what does not suit two networks.
REFUSED = {
    "barebones": "is for measuring speed and keeps nothing that is learnt: leave it out",
    "callbacks": "is not for a file: checkpoint, early_stopping and ema are blocks of their own",
    "plugins": "is not for a file: leave it out",
    "gradient_clip_val": "is not for two networks: system.clip is the largest norm of a gradient",
    "gradient_clip_algorithm": "is not for two networks: system.clip is the largest norm of a gradient",
}


def build_trainer(
    recipe: Recipe,
    system: ApolloSystem,
    callbacks: list[Callback],
    saved: Callable[[], None] = lambda: None,
    here: bool = True,
) -> Trainer:
    """The Lightning trainer of a recipe, with its loggers; `saved` is called after each checkpoint.

    If it is not to train here, it is one for a CPU, to check the rest. Raises ConfigError if the block has values that
    no run can use (it names all), or the accelerator is missing.
    """
    settings = recipe["trainer"].arguments
    validates = settings.get("limit_val_batches") != 0
    faults = [*faults_of(recipe, system), *faults_of_steps(system), *faults_of_monitors(callbacks, system, validates)]
    if faults:
        raise ConfigError("; ".join(faults))
    precision = str(settings.get("precision") or 32)
    on_cpu = settings.get("accelerator") == "cpu" or not torch.cuda.is_available()
    options: dict[str, Any] = {
        "accumulate_grad_batches": 1,  # the system accumulates
        "precision": PRECISIONS.get(precision, precision),
        "strategy": strategy_of(settings, system),
        "callbacks": callbacks,
        "logger": settings.get("logger", True) is not False and build_loggers(recipe),
        "plugins": [WholeCheckpoints(saved)],
        "use_distributed_sampler": False,  # crops know by their number whose they are
    }
    if isinstance(settings.get("devices"), list) and on_cpu:
        # A list of GPUs, as configurations have it, is not one of CPUs: every process takes all of the machine's.
        options["devices"] = 1
    if not here:
        options |= {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
    elif settings.get("accelerator") in ("cuda", "gpu") and not torch.cuda.is_available():
        raise ConfigError("trainer.accelerator asks for CUDA, and there is none here: add trainer.accelerator=auto")
    trainer: Trainer = recipe["trainer"].with_arguments(**options).build()
    return trainer


def faults_of(recipe: Recipe, system: ApolloSystem) -> Iterator[str]:
    """Errors in the block `trainer`, and in what it is to train on, on whatever machine it runs."""
    settings = recipe["trainer"].arguments
    if (rate := recipe["datas"].arguments.get("sr", 44100)) != system.generator.sample_rate:
        yield f"model.sr is {system.generator.sample_rate} and datas.sr is {rate}: give both the same sample rate"
    seconds = recipe["datas"].arguments.get("segments", 3)
    for name, size in longest_windows(system).items():
        if size // 2 >= round(seconds * rate):
            yield f"{name} has {size} samples, twice a crop of datas.segments={seconds} s or more: give shorter ones"
    for key in ("val_check_interval", EVERY_EPOCHS):
        if (value := settings.get(key)) is not None and value <= 0:
            yield f"trainer.{key} must be above 0, not {value}"
    for key, least in (("log_every_n_steps", 0), ("num_sanity_val_steps", -1)):
        if (value := settings.get(key)) is not None and value < least:
            yield f"trainer.{key} must be a whole number from {least}, not {value}"
    for key, reason in REFUSED.items():
        value = settings.get(key)
        if value is not None and value is not False:
            yield f"trainer.{key} {reason}"
    if not isinstance(settings.get("logger", True), bool | None):
        yield "trainer.logger must be true or false: the block logger names loggers"
    for key, known in (("accelerator", ACCELERATORS), ("strategy", STRATEGIES)):
        if (value := settings.get(key, "auto")) not in known:
            yield f"trainer.{key} cannot be {value!r}: {nearest(str(value), known)}"
    if str(settings.get("strategy")).endswith(f"{UNUSED}false") and system.discriminator is not None:
        yield "trainer.strategy must let one network wait while the other learns: ddp does"
    if not is_devices(settings.get("devices", "auto")):
        yield f"trainer.devices must be auto, a number from 1, or a list of GPUs, not {settings['devices']!r}"
    if settings.get("num_nodes", 1) < 1:
        yield f"trainer.num_nodes must be a whole number from 1, not {settings['num_nodes']}"
    if str(settings.get("precision") or 32) not in PRECISIONS.keys() | PRECISIONS.values():
        yield f"trainer.precision must be 32, 16, bf16 or 64, not {settings['precision']}"
    interval, steps = settings.get("val_check_interval"), recipe["datas"].arguments.get("num_steps")
    if isinstance(interval, int) and steps is not None and interval > steps and settings.get(EVERY_EPOCHS, 1):
        yield f"trainer.val_check_interval={interval} is more than the datas.num_steps={steps} batches of an epoch"


def longest_windows(system: ApolloSystem) -> dict[str, int]:
    """The longest window in use by the key that gives it."""
    found = {}
    if isinstance(system.loss_g, GeneratorLoss) and SPECTRAL.keys() & system.loss_g.weights.keys():
        found["loss_g.windows"] = max(system.loss_g.windows)
    if system.discriminator is not None:
        found["discriminator.window"] = max(system.discriminator.windows)
    return found


def faults_of_steps(system: ApolloSystem) -> Iterator[str]:
    """What fails when optimisers and schedulers take a step: some values are first used there."""
    for side, make_optimizer, make_scheduler in zip("gd", system.make_optimizers, system.make_schedulers, strict=False):
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.ones(1)
        block = f"optimizer_{side}"
        try:
            optimizer = make_optimizer([weight])
            scheduler = make_scheduler(optimizer)
            optimizer.step()
            block = f"scheduler_{side}"
            scheduler.step(0.0) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
        except ConfigError as error:
            yield str(error)
            continue
        except Exception as error:
            yield f"{block} cannot take a step: {one_line(error)}"
            continue
        for rate in (float(group["lr"]) for group in optimizer.param_groups):
            if not 0 <= rate < math.inf:
                yield f"optimizer_{side} has a learning rate of {rate} after a step of scheduler_{side}: give others"


def faults_of_monitors(callbacks: list[Callback], system: ApolloSystem, validates: bool) -> Iterator[str]:
    """What callbacks cannot work with: most of all, metrics they monitor or put in names that no run logs."""
    known = system.logged
    for name, kind in (("checkpoint", ModelCheckpoint), ("early_stopping", EarlyStopping)):
        for callback in callbacks:
            monitor = callback.monitor if isinstance(callback, kind) else None
            if monitor and monitor not in known and not LEVEL_BIAS.fullmatch(monitor):
                yield f"{name}.monitor cannot be {monitor!r}: {nearest(monitor, known)}"
            elif monitor and monitor.startswith("val") and not validates:
                yield f"{name}.monitor={monitor} needs validation, which trainer.limit_val_batches=0 leaves out"
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and callback.patience < 0:
            yield f"early_stopping.patience must be a whole number from 0, not {callback.patience}"
        if isinstance(callback, ModelCheckpoint):
            yield from faults_of_name(callback, known | {"epoch", "step"})


def faults_of_name(callback: ModelCheckpoint, known: set[str]) -> Iterator[str]:
    """What is wrong with `checkpoint.filename`, which holds numbers such as `{val_loss:.4f}`."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(callback.filename or "") if field]
        ModelCheckpoint.format_checkpoint_name(callback, {**dict.fromkeys(fields, torch.tensor(0.0)), **COUNTS})
    except (ValueError, LookupError) as error:
        yield f"checkpoint.filename cannot be {callback.filename!r} ({error}): write it as '{{epoch}}-{{val_loss:.4f}}'"
        return
    for field in fields:
        if field not in known and not LEVEL_BIAS.fullmatch(field):
            yield f"checkpoint.filename cannot hold {field!r}: {nearest(field, known)}"


def is_devices(value: list[int] | str | int) -> bool:
    """Whether `trainer.devices` tells how many, or which."""
    if isinstance(value, list):
        return bool(value) and min(value) >= 0 and len(set(value)) == len(value)
    return (
        str(value) in ("auto", "-1") or re.fullmatch(r"0*[1-9]\d*|\d+(, *\d+)*,|\d+(, *\d+)+", str(value)) is not None
    )


def strategy_of(settings: Mapping[str, Any], system: ApolloSystem) -> str:
    """The strategy asked for, in the form that two networks need: each leaves the other without gradients."""
    asked: str = settings.get("strategy", "auto")
    if system.discriminator is None or UNUSED in asked:
        return asked
    return "auto" if processes(settings) == 1 else f"{'ddp' if asked == 'auto' else asked}{UNUSED}true"


def processes(settings: Mapping[str, Any]) -> int:
    """How many processes the block `trainer` asks for."""
    devices = settings.get("devices", "auto")
    if isinstance(devices, list):
        count = len(devices)
    elif str(devices) in ("auto", "-1"):
        count = max(1, torch.cuda.device_count()) if settings.get("accelerator") != "cpu" else 1
    else:
        count = len(str(devices).strip(",").split(",")) if "," in str(devices) else int(devices)
    return count * int(settings.get("num_nodes", 1))


def build_loggers(recipe: Recipe) -> list[Logger]:
    """The loggers of a recipe, and CSV always; TensorBoard where none is named."""
    loggers: list[Logger] = []
    for spec in recipe.loggers:
        if spec.made is not WandbLogger:
            loggers.append(spec.build())
        elif find_spec("wandb") is None:
            log.warning(
                "logger asks for Weights & Biases, which is not installed (pip install wandb): logged without it"
            )
        else:
            loggers.append(spec.build(settings={"init_timeout": PATIENCE}))
    if not loggers:
        loggers.append(TensorBoardLogger(recipe.run, name="tensorboard"))
    if not any(isinstance(logger, CSVLogger) for logger in loggers):
        loggers.append(CSVLogger(recipe.run, name="logs"))
    return loggers
