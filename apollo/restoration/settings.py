"""The settings of a restorer, for reports and workers."""

from __future__ import annotations

from dataclasses import dataclass

from apollo.restoration.engine import Restorer
from apollo.restoration.provenance import fingerprint


@dataclass(frozen=True)
class Settings:
    """What a restorer was given, and what it has chosen itself.

    Attributes:
        model_fingerprint: The same for the same network with the same weights.
        device: As PyTorch calls it.
        precision: `"32"`, `"bf16"` or `"16"`.
        chunk_seconds: Seconds restored at once.
        batch: Channels restored at once; None is all.
        compiled: Whether the network is compiled.
        fill: As for `Restorer`, like `mix` and `keep_below`.
    """

    model_fingerprint: str
    device: str
    precision: str
    chunk_seconds: float
    batch: int | None
    compiled: bool
    fill: float
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
