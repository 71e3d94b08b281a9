"""YAML files and `key=value` overrides → the objects of a training run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from apollo.errors import ApolloError, ConfigError, refuse_unknown
from apollo.regular import refuse_special
from apollo.training.references import check_references
from apollo.training.types import described, fits, hints_of
from apollo.yaml_file import parsing, read_yaml

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
    "lightning.pytorch.callbacks.ModelCheckpoint": "apollo.training.saving.Checkpoints",
    "lightning.pytorch.loggers.CSVLogger": "apollo.training.saving.CSVLogger",
}
ALLOWED = ("apollo.", "torch.optim.", "lightning.pytorch.")

NETWORKS = ("model", "discriminator", "optimizer_g", "optimizer_d", "scheduler_g", "scheduler_d", "loss_g", "loss_d")
RUN = ("exp", "datas", "metrics", "system", "early_stopping", "checkpoint", "logger", "trainer")
# What we add to the published keys: the seed of all randomness, averaging of weights, and the licence of the result.
KEYS = (*NETWORKS, *RUN, "seed", "ema", "licence")
# Blocks that stand for no class, and what they may hold.
PLAIN: dict[str, dict[str, Any]] = {"exp": {"dir": object, "name": object}, "ema": {"decay": float}}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the configuration's name before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def load_config(path: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Read a YAML file and apply `key=value` overrides.

    Raises:
        ConfigError: If the file is missing or not YAML, or an override is malformed; it names the file.
    """
    refuse_special(path, ConfigError)
    if not path.is_file():
        raise ConfigError(f"there is no configuration {path}: give the path of a YAML file")
    try:
        with parsing(path):
            config = OmegaConf.create(read_yaml(path))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}") from None
    assert isinstance(config, DictConfig)
    with naming(path):
        for override in overrides:
            apply(config, override)
        check_references(OmegaConf.to_container(config, resolve=False))
        refuse_unknown(config, KEYS)
    return config


def apply(config: DictConfig, override: str) -> None:
    """Put the value of a `key=value` into a configuration.

    Raises:
        ConfigError: If it is malformed, or does not fit there.
    """
    key, separator, _ = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"the override {override!r} is not key=value, such as datas.batch_size=4")
    try:
        config.merge_with_dotlist([override])
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"the override {override!r} cannot be applied: {one_line(error)}") from None


def resolved(config: DictConfig) -> str:
    """A configuration as YAML, its interpolations filled in.

    Raises:
        ConfigError: If one refers to a key that is missing.
    """
    try:
        return OmegaConf.to_yaml(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from None


def one_line(error: Exception) -> str:
    """The message of a library's error without its line breaks."""
    return " ".join(str(error).split())


def section(config: DictConfig, name: str) -> dict[str, Any]:
    """One block of a configuration, its interpolations resolved.

    Raises:
        ConfigError: If the block is missing, or refers to a key that is.
    """
    if config.get(name) is None:
        raise ConfigError(f"the configuration lacks the block {name!r}")
    return contents(config[name], name)


def contents(block: Any, name: str) -> dict[str, Any]:
    """What a block holds, its interpolations resolved.

    Raises:
        ConfigError: If it is no block, or refers to a key that is missing.
    """
    if not isinstance(block, DictConfig):
        raise ConfigError(f"{name} must be a block of keys and values, not {block!r}")
    try:
        held = OmegaConf.to_container(block, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}: {one_line(error)}") from None
    assert isinstance(held, dict)
    return {str(key): value for key, value in held.items()}


def target(block: Mapping[str, Any], name: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What the `_target_` of a block stands for, and the arguments beside it.

    Args:
        block: One block of a configuration.
        name: Its name, for messages.

    Raises:
        ConfigError: If the target is missing, not allowed or unknown, or does not take one of the arguments.
    """
    arguments = dict(block)
    path = str(arguments.pop("_target_", ""))
    if not path:
        raise ConfigError(f"{name} lacks _target_: name the class to build, such as apollo.nn.Apollo")
    if path.startswith("pytorch_lightning."):
        path = "lightning.pytorch." + path.removeprefix("pytorch_lightning.")
    path = COUNTERPARTS.get(path, path)
    if not path.startswith(ALLOWED):
        raise ConfigError(
            f"{name}._target_ is {path}, which is not allowed: only {', '.join(ALLOWED)} and their kin are"
        )
    module, _, attribute = path.rpartition(".")
    try:
        made = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise ConfigError(f"{name}._target_ is {path}, which does not exist") from None
    # What a module merely imports is not its own: an allowed module must not be the way to any other.
    if not (inspect.isclass(made) and f"{made.__module__}.".startswith(ALLOWED)):
        raise ConfigError(f"{name}._target_ is {path}, which is no class of {', '.join(ALLOWED)}")
    parameters = inspect.signature(made).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        refuse_unknown(arguments, parameters, f"{name}.")
    refuse_other_kinds(arguments, hints_of(made), name)
    return made, arguments


def refuse_other_kinds(block: Mapping[str, Any], kinds: Mapping[str, Any], name: str) -> None:
    """Make sure that the values of a block are of the kinds asked for.

    Raises:
        ConfigError: If one is not.
    """
    for key, value in block.items():
        if key in kinds and not fits(value, kinds[key]):
            raise ConfigError(f"{name}.{key} must be {described(kinds[key])}, not {value!r}")


def check(config: DictConfig) -> None:
    """Look at every block before anything is built or read: targets, keys, and kinds of values.

    Raises:
        ConfigError: If one of them cannot be used; it names the block and the key.
    """
    # First the blocks that others refer to, lest these be blamed for what is wrong there.
    for name in sorted(map(str, config), key=lambda name: name not in PLAIN):
        if name in ("seed", "licence"):
            continue
        for block in blocks(config, name):
            if name in PLAIN:
                refuse_unknown(block, PLAIN[name], f"{name}.")
                refuse_other_kinds(block, PLAIN[name], name)
            elif "_target_" in block:
                target(block, name)
    resolved(config)


def blocks(config: DictConfig, name: str) -> list[dict[str, Any]]:
    """What a key holds where it may hold one block or, as `logger` does, a list of them; empty ones are left out.

    Raises:
        ConfigError: If it holds anything else.
    """
    try:
        given = config.get(name)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{name}: {one_line(error)}") from None
    several = list(given) if isinstance(given, ListConfig) and name == "logger" else [given]
    return [contents(block, name) for block in several if block]


def build(config: DictConfig, name: str, /, **extra: Any) -> Any:
    """Build the object that a block describes; what `extra` gives, the block may give otherwise.

    Raises:
        ConfigError: If the block cannot be built.
    """
    return build_block(section(config, name), name, **extra)


def build_block(block: Mapping[str, Any], name: str, /, **extra: Any) -> Any:
    """The same for what a block holds, wherever it is from.

    Raises:
        ConfigError: If the block cannot be built.
    """
    made, arguments = target(block, name)
    return construct(name, made, **{**extra, **arguments})


def factory(config: DictConfig, name: str) -> Callable[[Any], Any]:
    """A function that builds the object of a block from one more argument, put first."""
    made, arguments = target(section(config, name), name)

    def make(first: Any) -> Any:
        return construct(name, made, first, **arguments)

    return make


def construct(name: str, made: Callable[..., Any], /, *positional: Any, **named: Any) -> Any:
    """Call a class for a block; whatever it raises is about what the block says.

    Raises:
        ConfigError: If the object cannot be built.
    """
    try:
        return made(*positional, **named)
    except ApolloError:
        raise
    except Exception as error:
        raise ConfigError(f"{name} cannot be built: {one_line(error)}") from error
