"""Options that several verbs have, which mean the same in each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write everything to FILE as JSON; - is standard output."),
]


class OptionalValue(TyperCommand):
    """A command with options that may stand without their value: what follows them may be a recording.

    Attributes:
        optional: For each such option, what its value looks like, and the value that stands for none.
    """

    optional: ClassVar[Mapping[str, tuple[re.Pattern[str], str]]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give an option its value where the next word is none."""
        return super().parse_args(ctx, self.completed(args))

    @classmethod
    def completed(cls, words: list[str]) -> list[str]:
        """The words of a command, with the values that were left out."""
        made: list[str] = []
        for place, word in enumerate(words):
            if word == "--":
                return made + words[place:]
            pattern, value = cls.optional.get(word, (None, ""))
            alone = pattern is not None and not pattern.fullmatch("".join(words[place + 1 : place + 2]))
            made.append(f"{word}={value}" if alone else word)
        return made


class JsonAlone(OptionalValue):
    """A verb whose `--json` had no value once: alone, it is `--json -`."""

    optional: ClassVar[Mapping[str, tuple[re.Pattern[str], str]]] = {"--json": (re.compile(r"-|.*\.json", re.I), "-")}
