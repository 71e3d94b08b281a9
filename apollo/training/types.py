"""Whether a value from a YAML file has the type of a parameter, and what that type is in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}


def parameters_of(made: Callable[..., Any]) -> tuple[dict[str, Any], bool]:
    """The keywords that a function or a class takes, with their types, and whether it takes any others.

    A class that passes keywords on takes those of its base too.
    """
    classes = made.__mro__ if isinstance(made, type) else (None,)
    found: dict[str, Any] = {}
    for each in classes:
        init = made if each is None else vars(each).get("__init__")
        if init is None:
            continue
        try:
            hints = get_type_hints(init)
        except (NameError, TypeError):  # of what is imported for type checkers only
            hints = {}
        parameters = signature(init).parameters.values()
        for parameter in list(parameters)[each is not None :]:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, hints.get(parameter.name, Any))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return found, False
    return found, True


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of a YAML file may stand where a type is asked for; what YAML cannot hold is not judged."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if hint in (bool, str) or hint is type(None):
        return isinstance(value, hint)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # NaN is none
    if isinstance(hint, type) and issubclass(hint, Path):
        return isinstance(value, str)
    kind = origin or hint
    if is_typeddict(hint):
        fields = get_type_hints(hint)
        return isinstance(value, Mapping) and all(fits(value[key], fields[key]) for key in value if key in fields)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(fits(item, arguments[1]) for item in value.values() if arguments)
    if isinstance(kind, type) and issubclass(kind, Sequence):
        if isinstance(value, str) or not isinstance(value, Sequence):
            return False
        return not arguments or all(fits(item, arguments[0]) for item in value)
    return hint is object or not isinstance(hint, type)  # no value of a YAML file is an object of some other class


def described(hint: Any) -> str:
    """What a type asks for, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        parts = [described(argument) for argument in arguments]
        return " or ".join(dict.fromkeys(part for part in parts if part))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if hint in NAMES:
        return NAMES[hint]
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Path):
        return "a path"
    if is_typeddict(hint) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        return "a block of keys and values"
    if isinstance(kind, type) and issubclass(kind, Sequence):
        inner = (
            f" of {described(arguments[0]).removeprefix('a ')}s" if arguments and arguments[0] in (int, float) else ""
        )
        return f"a list{inner}"
    return ""


def misfits(value: Any, hint: Any, name: str) -> list[str]:
    """Say what does not fit a type, each value of a block under its own name."""
    if fits(value, hint):
        return []
    if isinstance(value, Mapping):
        for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]:
            inner = items_of(part, value)
            if inner is not None:
                return [told for key, item in value.items() for told in misfits(item, inner[key], f"{name}.{key}")]
    return [f"{name} must be {described(hint)}, not {value!r}"]


def items_of(hint: Any, value: Mapping[Any, Any]) -> dict[Any, Any] | None:
    """The types that the values of a block are to have; `None` where a type asks for no block."""
    if is_typeddict(hint):
        fields = get_type_hints(hint)
        return {key: fields.get(key, Any) for key in value}
    kind, arguments = get_origin(hint), get_args(hint)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return dict.fromkeys(value, arguments[1])
    return None
