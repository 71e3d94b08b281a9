"""References within a configuration: `${exp.dir}` stands for the value of another key, and nothing else is allowed."""

from __future__ import annotations

import re
from typing import Any

from apollo.errors import ConfigError

REFERENCE = re.compile(r"\$\{([^{}$]*)\}")
KEY = re.compile(r"\w+(\.\w+|\[\d+\])*")
CHARACTERS = 1 << 18
STEPS = 16


def check_references(values: Any) -> None:
    """Raise ConfigError unless all references of a configuration are to other keys, and end at a moderate size.

    OmegaConf's resolvers, such as `${oc.env:…}`, would copy what is not the configuration's into it, and so into all
    that is saved and logged of a run.
    """
    sizes: dict[str, int] = {}

    def size(value: Any, name: str, above: tuple[str, ...] = ()) -> int:
        if isinstance(value, dict):
            total = sum(size(item, f"{name}.{key}".lstrip("."), above) for key, item in value.items())
        elif isinstance(value, list):
            total = sum(size(item, f"{name}[{number}]", above) for number, item in enumerate(value))
        elif isinstance(value, str) and "${" in value:
            if "${" in REFERENCE.sub("", value):
                raise ConfigError(f"{value!r} holds a reference in a reference: refer to one key, as in ${{exp.dir}}")
            total = len(value) + sum(referred(key, name, above) for key in REFERENCE.findall(value))
        else:
            total = len(value) if isinstance(value, str) else 1
        if total > CHARACTERS:
            raise ConfigError("its references stand for more than a configuration may hold")
        return total

    def referred(key: str, name: str, above: tuple[str, ...]) -> int:
        if not KEY.fullmatch(key):
            raise ConfigError(
                f"${{{key}}} is no reference to another key, as ${{exp.dir}} is: give the value itself, with key=value"
            )
        if key in above or len(above) >= STEPS:
            raise ConfigError(f"${{{key}}} refers to itself, or to others without end")
        if key not in sizes:
            try:
                value = chosen(values, key)
            except LookupError:
                raise ConfigError(
                    f"{name} refers to ${{{key}}}, and the configuration has no {key}: give that, or {name}, a value"
                ) from None
            sizes[key] = size(value, key, (*above, key))
        return sizes[key]

    size(values, "")


def chosen(values: Any, key: str) -> Any:
    """The value of a dotted key; `None` if a part of it is a reference itself.

    Raises LookupError if there is no such key, and ConfigError if what should hold it is no block.
    """
    for part in re.finditer(r"\w+", key):
        if isinstance(values, str) and "${" in values:
            return None
        if isinstance(values, list) and part[0].isdecimal():
            values = values[int(part[0])]
        elif isinstance(values, dict):
            values = values[part[0]] if part[0] in values or not part[0].isdecimal() else values[int(part[0])]
        elif values is None:
            raise LookupError(key)
        else:
            above = key[: part.start() - 1]
            raise ConfigError(f"{above} must be a block of keys and values, not {values!r}, to have {key}")
    return values


def with_references(values: Any, raw: Any, start: str) -> Any:
    """Values with references filled in, but for those to keys that begin with `start`, such as `"exp."`.

    Their texts are taken from `raw`, the same configuration with its references as they stand.
    """
    if isinstance(values, dict):
        return {key: with_references(value, raw[key], start) for key, value in values.items()}
    references = REFERENCE.findall(raw) if isinstance(raw, str) else []
    return raw if references and all(each.startswith(start) for each in references) else values
