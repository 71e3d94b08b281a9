"""Apollo: band-sequence modelling that undoes the damage of lossy audio compression."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apollo.checkpoints import load_model, save_model
    from apollo.nn import Apollo
    from apollo.restoration import Restorer, restore

__version__ = "0.1.0"
__all__ = ["Apollo", "Restorer", "load_model", "restore", "save_model"]

_HOMES = {
    "Apollo": "apollo.nn",
    "Restorer": "apollo.restoration",
    "load_model": "apollo.checkpoints",
    "restore": "apollo.restoration",
    "save_model": "apollo.checkpoints",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that `import apollo` does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'apollo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
