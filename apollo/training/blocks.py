"""What the blocks of a configuration may describe, and the classes and functions that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from apollo.errors import ApolloError, ConfigError, nearest, one_line, unknown_keys
from apollo.training.types import described, misfits, parameters_of

# What configurations call our counterparts: those written for the published training code, and for Lightning.
COUNTERPARTS = {
    "look2hear.datas.DataModule": "apollo.data.DataModule",
    "look2hear.datas.MusdbMoisesdbDataModule": "apollo.data.StemStoreDataModule",
    "look2hear.models.apollo.Apollo": "apollo.nn.Apollo",
    "look2hear.discriminators.frequencydis.MultiFrequencyDiscriminator": "apollo.nn.MultiFrequencyDiscriminator",
    "look2hear.losses.gan_losses.MultiFrequencyGenLoss": "apollo.nn.losses.GeneratorLoss",
    "look2hear.losses.gan_losses.MultiFrequencyDisLoss": "apollo.nn.losses.DiscriminatorLoss",
    "look2hear.losses.MultiSrcNegSDR": "apollo.nn.losses.NegativeSDR",
    "look2hear.system.audio_litmodule.AudioLightningModule": "apollo.training.system.ApolloSystem",
    "lightning.pytorch.callbacks.EarlyStopping": "apollo.training.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.ModelCheckpoint": "apollo.training.saving.Checkpoints",
    "lightning.pytorch.loggers.CSVLogger": "apollo.training.loggers.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger": "apollo.training.loggers.TensorBoardLogger",
}


def _of(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


OPTIMIZERS = _of("torch.optim", "AdamW Adadelta Adafactor Adagrad Adam Adamax ASGD NAdam RAdam RMSprop Rprop SGD")
SCHEDULERS = _of(
    "torch.optim.lr_scheduler",
    "StepLR ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR "
    "OneCycleLR PolynomialLR ReduceLROnPlateau",
)
LOGGERS = [
    *_of("apollo.training.loggers", "TensorBoardLogger CSVLogger"),
    *_of("lightning.pytorch.loggers", "CometLogger MLFlowLogger NeptuneLogger WandbLogger"),
]
# What the `_target_` of each block may be. Nothing else is ever imported or called.
TARGETS = {
    "datas": _of("apollo.data", "DataModule ShardDataModule StemDataModule StemStoreDataModule"),
    "model": ["apollo.nn.Apollo"],
    "discriminator": ["apollo.nn.MultiFrequencyDiscriminator"],
    "optimizer_g": OPTIMIZERS,
    "optimizer_d": OPTIMIZERS,
    "scheduler_g": SCHEDULERS,
    "scheduler_d": SCHEDULERS,
    "loss_g": ["apollo.nn.losses.GeneratorLoss", "apollo.nn.level_loss.LevelLoss"],
    "loss_d": ["apollo.nn.losses.DiscriminatorLoss"],
    "metrics": ["apollo.nn.losses.NegativeSDR"],
    "system": ["apollo.training.system.ApolloSystem"],
    "early_stopping": ["apollo.training.callbacks.EarlyStopping"],
    "checkpoint": ["apollo.training.saving.Checkpoints"],
    "logger": LOGGERS,
    "trainer": ["lightning.pytorch.Trainer"],
}
# What blocks stand for that name no class.
PLAIN = {"exp": "apollo.training.blocks.run_folder", "ema": "apollo.training.callbacks.averaging"}


@dataclass(frozen=True)
class Spec:
    """What a block of a configuration describes."""

    name: str
    made: Callable[..., Any]  # what it builds: a class or a function
    arguments: Mapping[str, Any]  # what the block gives it

    def build(self, *first: Any, **extra: Any) -> Any:
        """Build the object; the block overrides `extra`. Raises ConfigError, whatever its class raises."""
        try:
            return self.made(*first, **{**extra, **self.arguments})
        except ApolloError:
            raise
        except Exception as error:
            if isinstance(error, TypeError) and "missing" in str(error):
                lacking = ", ".join(f"{self.name}.{key}" for key in re.findall(r"'(\w+)'", str(error)))
                raise ConfigError(f"{lacking} is missing: give it a value") from error
            raise ConfigError(f"{self.name} cannot be built: {one_line(error)}") from error

    def unknown(self) -> list[str]:
        """Say which arguments it does not take."""
        parameters, open_ended = parameters_of(self.made)
        known = [key for key, hint in parameters.items() if hint is Any or described(hint)]  # no file holds an object
        return [] if open_ended else unknown_keys(self.arguments, known, f"{self.name}.")

    def unfit(self) -> list[str]:
        """Say which arguments are of other kinds than it takes."""
        parameters, _ = parameters_of(self.made)
        return [
            told
            for key, value in self.arguments.items()
            if key in parameters and described(parameters[key])
            for told in misfits(value, parameters[key], f"{self.name}.{key}")
        ]

    def with_arguments(self, **arguments: Any) -> Spec:
        """The same with values that replace those of the block."""
        return replace(self, arguments={**self.arguments, **arguments})


def spec(given: Any, name: str) -> Spec:
    """What a block describes; raises ConfigError if it is no block, or its target is missing or not allowed."""
    arguments = block(given, name)
    made = found(PLAIN[name] if name in PLAIN else target(arguments.pop("_target_", None), name))
    return Spec(name, made, arguments)


def block(given: Any, name: str) -> dict[str, Any]:
    """What a block holds; raises ConfigError if it is none."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} must be a block of keys and values, not {given!r}")
    return {str(key): given[key] for key in given}


def target(path: Any, name: str) -> str:
    """The full name of what a `_target_` stands for; raises ConfigError if the block may not have it."""
    allowed = TARGETS[name]
    if not path:
        raise ConfigError(f"{name} lacks _target_: name the class to build, such as {allowed[0]}")
    full = str(path)
    if full.startswith("pytorch_lightning."):
        full = "lightning.pytorch." + full.removeprefix("pytorch_lightning.")
    full = COUNTERPARTS.get(full, full)
    if full not in allowed:
        raise ConfigError(f"{name}._target_ is {full}, which is not allowed there: {nearest(full, allowed)}")
    return full


def found(path: str) -> Callable[..., Any]:
    """Import what a full name stands for; raises ConfigError if the installed library has no such thing."""
    module, _, attribute = path.rpartition(".")
    try:
        made: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise ConfigError(f"{path} does not exist in the version of {path.split('.')[0]} that is installed") from None
    return made


def taken(name: str, path: str | None) -> set[str] | None:
    """The keys that a block takes, with the `_target_` given or its usual one; `None` if it cannot have that."""
    if name not in TARGETS and name not in PLAIN:
        return None
    try:
        made = found(PLAIN[name] if name in PLAIN else target(path or TARGETS[name][0], name))
    except ConfigError:
        return None
    return set(parameters_of(made)[0])


def run_folder(dir: str = "exps", name: str | float = "apollo") -> Path:  # noqa: A002 (as configurations call it)
    """What the block `exp` stands for."""
    return Path(dir) / str(name)
