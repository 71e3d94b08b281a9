"""Shares of a list for machines that do not know of each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from apollo.errors import ApolloError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """One of several shares, about equally large, that together hold every item once.

    Only an item's name decides which share it is in, so that changes of the list move no other item.
    """

    number: int  # from 1
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse `3/16`, the third of sixteen; raises ApolloError if it is not a share."""
        found = re.fullmatch(r"0*([0-9]{1,9})/0*([0-9]{1,9})", text, re.ASCII)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise ApolloError(f"--shard is NUMBER/COUNT, such as 3/16 for the third of sixteen, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def holds(self, name: str) -> bool:
        """Whether the item of a name is in this share."""
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def of(self, items: Iterable[Item], name: Callable[[Item], str]) -> list[Item]:
        """The items in this share, in their order."""
        return [item for item in items if self.holds(name(item))]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
