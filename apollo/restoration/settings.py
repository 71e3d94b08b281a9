"""The settings of a restorer, for reports and workers."""

from __future__ import annotations

from dataclasses import dataclass

from apollo.restoration.engine import Restorer
from apollo.restoration.provenance import fingerprint


@dataclass(frozen=True)
class Settings:
    """What a restorer was given, and what it has chosen itself."""

    model_fingerprint: str  # the same for the same network with the same weights
    device: str  # as PyTorch calls it
    precision: str  # `"32"`, `"bf16"` or `"16"`
    chunk_seconds: float  # seconds restored at once
    batch: int | None  # channels restored at once; None is all
    compiled: bool  # whether the network is compiled
    fill: float  # as for `Restorer`, like `mix` and `keep_below`
    mix: float
    keep_below: float | None

    @classmethod
    def of(cls, restorer: Restorer) -> Settings:
        """The settings of a restorer."""
        return cls(
            fingerprint(restorer.model),
            str(restorer.device),
            restorer.precision,
            restorer.chunk_seconds,
            restorer.batch,
            restorer.compiled,
            restorer.fill,
            restorer.blend.mix,
            restorer.blend.keep_below,
        )
