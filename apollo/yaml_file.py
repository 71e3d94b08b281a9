"""YAML files from anywhere: measured before their values are made, which may be far larger than the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from apollo.errors import ConfigError, one_line
from apollo.regular import refuse_special

# A configuration has a few kilobytes, a hundred values, and blocks in blocks three deep.
BYTES = 1 << 18
VALUES = 20_000
DEPTH = 30
CHARACTERS = 4096
DIGITS = 100


def read_yaml(path: Path) -> str:
    """Give the text of a YAML file of keys and values, no more than a configuration may have.

    Raises:
        ConfigError: If there is no such file, it is not YAML, or it is too large.
    """
    refuse_special(path, ConfigError)
    try:
        with path.open("rb") as file:
            content = file.read(BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from None
    if len(content) > BYTES:
        raise ConfigError(f"{path} is larger than any configuration: give a YAML file")
    with parsing(path):
        text = content.decode("utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        measure(root, {}, ())
    if not isinstance(root, MappingNode):
        raise ConfigError(f"{path} must hold keys and values, not a list or a single value")
    return text


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Say in one sentence why a file is not valid YAML; invalid dates and endless digits count.

    Raises:
        ConfigError: If it is not valid.
    """
    try:
        yield
    except RecursionError:
        raise ConfigError(f"{path} is not valid YAML: its blocks are nested too deeply") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text in UTF-8: save it as that, or give a YAML file") from None
    except (yaml.YAMLError, ValueError, AttributeError) as error:  # AttributeError: a !!timestamp without a date
        reason = one_line(error).replace(' in "<unicode string>", ', " at ")
        raise ConfigError(f"{path} is not valid YAML: {reason[:400]}") from None


def measure(node: Node | None, sizes: dict[Node, int], above: tuple[Node, ...]) -> int:
    """The number of values in a node once its aliases are resolved.

    Raises:
        ValueError: If there are too many, one is too long, or one contains itself.
    """
    if node in above:
        raise ValueError("an alias refers to what it is part of")
    if len(above) > DEPTH:
        raise ValueError("its blocks are nested too deeply")
    if node is None:
        return 0
    if node not in sizes:
        parts: list[Node] = []
        if isinstance(node, MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            parts = node.value
        elif isinstance(node, ScalarNode):
            most = DIGITS if node.tag == "tag:yaml.org,2002:int" else CHARACTERS
            if len(node.value) > most:
                raise ValueError(f"a value has {len(node.value)} characters, and {most} are allowed")
        sizes[node] = 1 + sum(measure(part, sizes, (*above, node)) for part in parts)
    if sizes[node] > VALUES:
        raise ValueError(f"it stands for more than {VALUES} values")
    return sizes[node]
