"""Means over the items of a validation, however many each process had, and whichever scores an item has."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch


class Means:
    """Means of scores by name; those that are NaN do not count."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}

    def add(self, scores: Mapping[str, float | torch.Tensor]) -> None:
        """Take the scores of an item."""
        for name, value in scores.items():
            self.values.setdefault(name, []).append(float(value))

    def of_all(self, processes: int) -> dict[str, float]:
        """The mean of each score over all items of all processes, which all must ask."""
        shares: list[dict[str, list[float]]] = [self.values] * processes
        if processes > 1:
            torch.distributed.all_gather_object(shares, self.values)
        found = {}
        for name in sorted({name for share in shares for name in share}):
            values = [value for share in shares for value in share.get(name, ()) if not math.isnan(value)]
            if values:
                found[name] = sum(values) / len(values)
        return found
