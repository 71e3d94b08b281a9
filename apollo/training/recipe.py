"""YAML files and `key=value` overrides → what a training run is built from, checked before anything is."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import GrammarParseError, OmegaConfBaseException
from yaml import YAMLError

from apollo.errors import ApolloError, ConfigError, one_line, unknown_keys
from apollo.regular import refuse_special
from apollo.storage import at_home
from apollo.training.blocks import PLAIN, TARGETS, Spec, block, spec, taken
from apollo.training.converting import converted
from apollo.training.references import check_references, with_references
from apollo.training.types import fits
from apollo.yaml_file import parsing, read_yaml

log = logging.getLogger(__name__)

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
        """Raise all that has been noted as one ConfigError."""
        if self.told:
            raise ConfigError("; ".join(dict.fromkeys(self.told)))


@dataclass(frozen=True)
class Recipe:
    """A configuration, all of it checked."""

    specs: Mapping[str, Spec]  # by the name of their block; those that are empty are left out
    loggers: Sequence[Spec]  # those of the block `logger`, which may hold several
    seed: int  # of all randomness
    licence: str  # of the exported model
    yaml: str  # the whole with its interpolations filled in

    def __getitem__(self, name: str) -> Spec:
        """A block; raises ConfigError if there is none."""
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

        def there(text: str) -> str:
            return after + text.removeprefix(before) if text.startswith(before) else text

        specs = {name: replace(spec, arguments=in_texts(there, spec.arguments)) for name, spec in self.specs.items()}
        loggers = [replace(spec, arguments=in_texts(there, spec.arguments)) for spec in self.loggers]
        return replace(self, specs=specs, loggers=loggers)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the configuration's name before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(path: Path, overrides: Sequence[str] = (), foreign: bool = False) -> Recipe:
    """Read a YAML file, apply `key=value` overrides, and look at every block: target, keys, and kinds of values.

    A `foreign` file is one of another training code: it is converted, and what of it is passed over is logged.
    Overrides are in our keys. Raises ConfigError, which names the file, the block and the key, if anything cannot be
    used.
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
            raise ConfigError(plain(error)) from None
        return recipe(in_texts(at_home, held), yaml)


def in_texts(change: Callable[[str], str], value: Any) -> Any:
    """A value with every text in it changed."""
    if isinstance(value, Mapping):
        return {key: in_texts(change, part) for key, part in value.items()}
    if isinstance(value, list):
        return [in_texts(change, part) for part in value]
    return change(value) if isinstance(value, str) else value


def read_config(path: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Read a YAML file and apply `key=value` overrides.

    Raises ConfigError, which names the file, if it is missing or not YAML, an override is malformed, or there are
    references to anything but other keys.
    """
    refuse_special(path, ConfigError)
    if not path.is_file():
        raise ConfigError(f"there is no configuration {path}: give the path of a YAML file")
    try:
        with parsing(path):
            config = OmegaConf.create(read_yaml(path))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path} is not valid YAML: {plain(error)}") from None
    assert isinstance(config, DictConfig)
    with naming(path):
        for override in overrides:
            apply(config, override)
        check_references(OmegaConf.to_container(config, resolve=False))
    return config


def apply(config: DictConfig, override: str) -> None:
    """Put the value of a `key=value` into a configuration; raises ConfigError if it is malformed, or does not fit."""
    key, separator, value = override.partition("=")
    if not separator or not re.fullmatch(r"[^\s.\[\]]+(\.[^\s.\[\]]+)*", key):
        raise ConfigError(f"the override {override!r} is not key=value, such as datas.batch_size=4")
    try:
        config.merge_with_dotlist([override])
    except YAMLError:
        raise ConfigError(
            f"the override {override!r} has a value that is not YAML: put quotes around it that the shell leaves "
            f"""there, as in "{key}='{value}'\""""
        ) from None
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"the override {override!r} cannot be applied: {plain(error)}") from None


def plain(error: Exception) -> str:
    """What is wrong, in one line and without what OmegaConf adds for those who call it."""
    text = one_line(error).partition(" full_key:")[0]
    if missing := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{missing[1]} has no value: add {missing[1]}=VALUE"
    if isinstance(error, GrammarParseError):
        return "'${' begins a reference to another key, as ${exp.dir} is one"
    return text


def ours(config: DictConfig, path: Path) -> DictConfig:
    """Convert a configuration if it is one of another training code; raises ConfigError if a value cannot be used."""
    try:
        held: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(plain(error)) from None
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


def recipe(held: Mapping[str, Any], yaml: str) -> Recipe:
    """Look at every block; raises one ConfigError that names all that cannot be used."""
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
    if not fits(seed, int) or not 0 <= seed < 1 << 32:
        faults.told.append(f"seed must be a whole number from 0 to {(1 << 32) - 1}, not {seed!r}")
    licence = held.get("licence")
    if not fits(licence, str | None):
        faults.told.append(f"licence must be text, not {licence!r}")
    if len(unknown) > 2:
        unknown.append("--from-msst converts configurations of other codes")
    faults.told += unknown
    faults.tell()
    named = {each.name: each for each in specs if each.name != "logger"}
    loggers = [each for each in specs if each.name == "logger"]
    return Recipe(named, loggers, seed, licence or "not stated", yaml)
