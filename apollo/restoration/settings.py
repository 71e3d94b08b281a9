"""With what a restorer works: what a report says of it, wherever it ran."""

from __future__ import annotations

from dataclasses import dataclass

from apollo.restoration.engine import Restorer
from apollo.restoration.provenance import fingerprint


@dataclass(frozen=True)
class Settings:
    """What a restorer was set to, and what it has chosen itself.

    Attributes:
        model_fingerprint: The same for the same network with the same weights.
        device: As PyTorch calls it.
        precision: `"32"`, `"bf16"` or `"16"`.
        chunk_seconds: Seconds restored at once.
        batch: Channels restored at once; None is all of them.
        compiled: Whether the network is.
        fill: Share of what is filled in.
        mix: Share of the restored.
        keep_below: Frequency in Hz below which the input's own sound is kept, if any.
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
        """Those of a restorer."""
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
