"""Kinds of songs, by the names of their folders: how often each is drawn, and how it is mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from apollo.errors import nearest


@dataclass(frozen=True)
class Kind:
    """Songs of one kind, told by the names of their folders."""

    name: str
    folders: tuple[str, ...]  # patterns of names, such as `voice_*`; a song is of the first kind that fits
    weight: float  # how often it is drawn, against the weights of the others
    partners: tuple[str, ...]  # kinds that may be laid over a mix of this one
    master_probability: float  # share of mixes that are equalised towards the long-term spectrum of a master
    compression_probability: float  # share that is compressed and limited
    mash_up_probability: float  # share that has another mix laid over it

    def fits(self, folder: str) -> bool:
        """Whether a folder of this name holds a song of the kind."""
        return any(fnmatchcase(folder, pattern) for pattern in self.folders)


def kinds_of(blocks: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, float]) -> list[Kind]:
    """The kinds that the option `kinds` describes, each with its shares; raises ValueError if it describes none."""
    if not isinstance(blocks, Mapping) or not blocks:
        raise ValueError(f"kinds must be a block with one block for each kind, not {blocks!r}")
    kinds = []
    for name, block in blocks.items():
        key = f"kinds.{name}"
        if not isinstance(block, Mapping):
            raise ValueError(f"{key} must be a block such as {{folders: [voice_*], weight: 1}}, not {block!r}")
        known = ("folders", "weight", "partners", *defaults)
        if unknown := [option for option in block if option not in known]:
            raise ValueError(f"{key}.{unknown[0]} is not an option of a kind: {nearest(str(unknown[0]), known)}")
        patterns: Any = block.get("folders")
        partners: Any = block.get("partners", list(blocks))
        if not _names(patterns):
            raise ValueError(f"{key}.folders must be a list of names such as [voice_*], not {patterns!r}")
        if not _names(partners) or not set(partners) <= set(blocks):
            raise ValueError(f"{key}.partners must be a list of some of {', '.join(blocks)}, not {partners!r}")
        require_number(f"{key}.weight", block.get("weight"), 0, 1e6)
        shares = {option: block.get(option, default) for option, default in defaults.items()}
        for option, share in shares.items():
            require_number(f"{key}.{option}" if option in block else option, share, 0, 1)
        kinds.append(Kind(name, tuple(patterns), float(block["weight"]), tuple(partners), **shares))
    return kinds


def _names(value: Any) -> bool:
    """Whether a value is a list of text, and not empty."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(name, str) for name in value)


def require_number(name: str, value: Any, lowest: float, highest: float) -> float:
    """The value as a number; raises ValueError, whose message begins with the option's name, if it is out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a number from {lowest:g} to {highest:g}, not {value!r}")
    return float(value)
