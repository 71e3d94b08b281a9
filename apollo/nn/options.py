"""The options that a network can have."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

# From what the network can work with to far beyond any that restores music: a file may state anything, and so ask for
# any time and memory.
SIZES = {
    "sr": (1000, 768_000),
    "win": (1, 1000),
    "feature_dim": (1, 1 << 14),
    "layer": (1, 100),
    "expansion": (1, 64),
    "heads": (1, 1 << 10),
    "kernel_size": (1, 255),
    "dilations": (1, 255),
}
MOST_CONVOLUTIONS = 16
OUTPUTS = ("direct", "residual")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError for options of `Apollo` that no network has; those of the fill are `Fill`'s to check."""
    for name in (name for name in SIZES if name in options):
        _check_size(name, options[name], fills=options.get("fill") is not None)
    output = options.get("output", "residual")
    if output not in OUTPUTS:
        raise ValueError(f"output must be 'direct' or 'residual', not {reprlib.repr(output)}")
    if options.get("kernel_size", 1) % 2 == 0:
        raise ValueError(f"kernel_size must be odd, not {options['kernel_size']}")
    if options.get("fill") is not None and output != "residual":
        raise ValueError("fill needs output='residual', because it is added to the input")


def _check_size(name: str, size: Any, fills: bool) -> None:
    values = size if name == "dilations" else [size]
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= MOST_CONVOLUTIONS:
        raise ValueError(f"{name} must be 1 to {MOST_CONVOLUTIONS} numbers, not {reprlib.repr(values)}")
    least, most = SIZES[name]
    if name == "layer" and fills:
        least = 0  # a fill needs no blocks
    for value in values:
        if type(value) is not int and (name != "win" or type(value) is not float):
            raise ValueError(f"{name} must be a {'whole ' * (name != 'win')}number, not {reprlib.repr(value)}")
        if not value >= least:  # so that NaN is none
            raise ValueError(f"{name} must be at least {least}, not {value}")
        if value > most:
            raise ValueError(f"{name} must be at most {most}, not {value}")
