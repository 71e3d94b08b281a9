"""From folders of music to batches of `{original, degraded}`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apollo.data.module import DataModule, ShardDataModule, StemDataModule, StemStoreDataModule

__all__ = ["DataModule", "ShardDataModule", "StemDataModule", "StemStoreDataModule"]


def __getattr__(name: str) -> Any:
    """Import the modules that train when they are asked for: who checks or makes data does not wait for Lightning."""
    if name not in __all__:
        raise AttributeError(f"module 'apollo.data' has no attribute {name!r}")
    return getattr(import_module("apollo.data.module"), name)
