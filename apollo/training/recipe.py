"""YAML files and `key=value` overrides → what a training run is built from, checked before anything is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from apollo.errors import ApolloError, ConfigError, nearest, one_line, unknown_keys
from apollo.regular import refuse_special
from apollo.training.converting import converted
from apollo.training.references import check_references, with_references
from apollo.training.types import described, fits, parameters_of
from apollo.yaml_file import parsing, read_yaml

log = logging.getLogger(__name__)

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


def _of(module: str, names: str) -> list[str]:
    return [f"{module}.{name}" for name in names.split()]


OPTIMIZERS = _of("torch.optim", "AdamW Adadelta Adafactor Adagrad Adam Adamax ASGD NAdam RAdam RMSprop Rprop SGD")
SCHEDULERS = _of(
    "torch.optim.lr_scheduler",
    "StepLR ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR "
    "OneCycleLR PolynomialLR ReduceLROnPlateau",
)
LOGGERS = _of("lightning.pytorch.loggers", "TensorBoardLogger CometLogger MLFlowLogger NeptuneLogger WandbLogger")
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
    "early_stopping": ["lightning.pytorch.callbacks.EarlyStopping"],
    "checkpoint": ["apollo.training.saving.Checkpoints"],
    "logger": [*LOGGERS, "apollo.training.saving.CSVLogger"],
    "trainer": ["lightning.pytorch.Trainer"],
}
# What blocks stand for that name no class.
PLAIN = {"exp": "apollo.training.recipe.run_folder", "ema": "apollo.training.callbacks.averaging"}
# The seed of all randomness, and the licence of the result.
VALUES = ("seed", "licence")
# What configurations of MSST hold, and ours do not.
OF_MSST = {"audio", "training"}


class Faults:
    """All errors in a configuration, gathered so that they are reported at once."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep the message of an error raised within, and continue."""
        try:
            yield
        except ApolloError as error:
            self.told.append(str(error))

    def tell(self) -> None:
        """Raise all that has been noted as one error.

        Raises:
            ConfigError: If anything has.
        """
        if self.told:
            raise ConfigError("; ".join(dict.fromkeys(self.told)))


@dataclass(frozen=True)
class Spec:
    """What a block of a configuration describes.

    Attributes:
        name: The block's.
        made: What it builds: a class or a function.
        arguments: What the block gives it.
    """

    name: str
    made: Callable[..., Any]
    arguments: Mapping[str, Any]

    def build(self, *first: Any, **extra: Any) -> Any:
        """Build the object; what `extra` gives, the block may give otherwise.

        Raises:
            ConfigError: If it cannot be built, whatever its class raises.
        """
        try:
            return self.made(*first, **{**extra, **self.arguments})
        except ApolloError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.name} cannot be built: {one_line(error)}") from error

    def unknown(self) -> list[str]:
        """Say which arguments it does not take."""
        parameters, open_ended = parameters_of(self.made)
        return [] if open_ended else unknown_keys(self.arguments, parameters, f"{self.name}.")

    def unfit(self) -> list[str]:
        """Say which arguments are of other kinds than it takes."""
        parameters, _ = parameters_of(self.made)
        return [
            f"{self.name}.{key} must be {described(parameters[key])}, not {value!r}"
            for key, value in self.arguments.items()
            if key in parameters and not fits(value, parameters[key])
        ]

    def with_arguments(self, **arguments: Any) -> Spec:
        """The same with values that replace those of the block."""
        return replace(self, arguments={**self.arguments, **arguments})


@dataclass(frozen=True)
class Recipe:
    """A configuration, all of it checked.

    Attributes:
        specs: By the name of their block; those that are empty are left out.
        loggers: Those of the block `logger`, which may hold several.
        seed: Of all randomness.
        licence: Of the exported model.
        yaml: The whole with its interpolations filled in.
    """

    specs: Mapping[str, Spec]
    loggers: Sequence[Spec]
    seed: int
    licence: str
    yaml: str

    def __getitem__(self, name: str) -> Spec:
        """A block.

        Raises:
            ConfigError: If there is none.
        """
        if name not in self.specs:
            raise ConfigError(f"the configuration lacks the block {name!r}")
        return self.specs[name]

    @property
    def run(self) -> Path:
        """Where everything that a run writes goes: `exp.dir/exp.name`."""
        folder: Path = self["exp"].build()
        return folder

    def moved(self, before: str, after: str) -> Recipe:
        """The same with everything that lies below one folder below another; its `yaml` stays as it is."""

        def there(value: Any) -> Any:
            if isinstance(value, str) and value.startswith(before):
                return after + value.removeprefix(before)
            if isinstance(value, Mapping):
                return {key: there(item) for key, item in value.items()}
            return [there(item) for item in value] if isinstance(value, list) else value

        specs = {name: replace(spec, arguments=there(spec.arguments)) for name, spec in self.specs.items()}
        loggers = [replace(spec, arguments=there(spec.arguments)) for spec in self.loggers]
        return replace(self, specs=specs, loggers=loggers)


def run_folder(dir: object = "exps", name: object = "apollo") -> Path:  # noqa: A002 (as configurations call it)
    """What the block `exp` stands for."""
    return Path(str(dir)) / str(name)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the configuration's name before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(path: Path, overrides: Sequence[str] = (), foreign: bool = False) -> Recipe:
    """Read a YAML file, apply `key=value` overrides, and look at every block: target, keys, and kinds of values.

    Args:
        path: The file.
        overrides: In our keys.
        foreign: Whether the file is one of another training code and to be converted; what of it is passed over is
            logged.

    Raises:
        ConfigError: If anything in the file or in an override cannot be used; it names the file, the block and the key.
    """
    config = read_config(path, () if foreign else overrides)
    with naming(path):
        if foreign:
            config = ours(config, path)
            for override in overrides:
                apply(config, override)
            check_references(OmegaConf.to_container(config, resolve=False))
        try:
            for name in PLAIN:  # first, or blocks that refer to these would be blamed
                block(config.get(name) or {}, name)
            held: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            yaml = OmegaConf.to_yaml(config, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(one_line(error)) from None
        return recipe(held, yaml)


def read_config(path: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Read a YAML file and apply `key=value` overrides.

    Raises:
        ConfigError: If the file is missing or not YAML, an override is malformed, or there are references to anything
            but other keys; it names the file.
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


def ours(config: DictConfig, path: Path) -> DictConfig:
    """Convert a configuration of another training code, if it is one.

    Raises:
        ConfigError: If a value in it cannot be used.
    """
    try:
        held: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from None
    with suppress(ConfigError):
        recipe(held, "")
        return config
    # What refers to the run's folder goes on to, whatever overrides make of that.
    raw = OmegaConf.to_container(config, resolve=False)
    conversion = converted(with_references(held, raw, "exp."), taken)
    if lines := conversion.lines():
        log.warning("%s was converted; ignored are\n  %s", path, "\n  ".join(lines))
    converted_config = OmegaConf.create(conversion.config)
    assert isinstance(converted_config, DictConfig)
    return converted_config


def taken(name: str, path: str | None) -> set[str] | None:
    """The keys that a block takes, with the `_target_` given or its usual one; `None` if it cannot have that."""
    if name not in TARGETS and name not in PLAIN:
        return None
    try:
        made = found(PLAIN[name] if name in PLAIN else target(path or TARGETS[name][0], name))
    except ConfigError:
        return None
    return set(parameters_of(made)[0])


def recipe(held: Mapping[str, Any], yaml: str) -> Recipe:
    """Look at every block.

    Raises:
        ConfigError: If any of them cannot be used; it names all that cannot.
    """
    if held.keys() >= OF_MSST:
        raise ConfigError("this is a configuration of MSST: give it with --from-msst")
    faults, unknown = Faults(), unknown_keys(held, (*PLAIN, *TARGETS, *VALUES))
    loggers = held.get("logger") or []
    blocks = [(name, held.get(name)) for name in (*PLAIN, *TARGETS) if name != "logger"]
    blocks += [("logger", each) for each in (loggers if isinstance(loggers, list) else [loggers])]
    specs: list[Spec] = []
    for name, given in blocks:
        if given:
            with faults.noted():
                specs.append(spec(given, name))
                unknown += specs[-1].unknown()
                faults.told += specs[-1].unfit()
    seed = held.get("seed", 0)
    if not fits(seed, int):
        faults.told.append(f"seed must be a whole number, not {seed!r}")
    if len(unknown) > 2:
        unknown.append("--from-msst converts configurations of other codes")
    faults.told += unknown
    faults.tell()
    named = {each.name: each for each in specs if each.name != "logger"}
    loggers = [each for each in specs if each.name == "logger"]
    return Recipe(named, loggers, seed, str(held.get("licence", "not stated")), yaml)


def spec(given: Any, name: str) -> Spec:
    """What a block describes.

    Raises:
        ConfigError: If it is no block, or its target is missing or not allowed.
    """
    arguments = block(given, name)
    made = found(PLAIN[name] if name in PLAIN else target(arguments.pop("_target_", None), name))
    return Spec(name, made, arguments)


def block(given: Any, name: str) -> dict[str, Any]:
    """What a block holds.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} must be a block of keys and values, not {given!r}")
    return {str(key): given[key] for key in given}


def target(path: Any, name: str) -> str:
    """The full name of what a `_target_` stands for.

    Raises:
        ConfigError: If it is missing, or not one of those that the block may have.
    """
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
    """Import what a full name stands for.

    Raises:
        ConfigError: If the installed version of its library has no such thing.
    """
    module, _, attribute = path.rpartition(".")
    try:
        made: Callable[..., Any] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        raise ConfigError(f"{path} does not exist in the version of {path.split('.')[0]} that is installed") from None
    return made
