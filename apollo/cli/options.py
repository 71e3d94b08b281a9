"""Options that several verbs have, which mean the same in each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand

from apollo.cli.terminal import DEVICE, MODEL
from apollo.shards import Shard

Model = Annotated[
    str, typer.Option("-m", "--model", metavar="MODEL", envvar=MODEL, help="Model file, name or Hugging Face id.")
]
Models = Annotated[
    list[str] | None,
    typer.Option("-m", "--model", metavar="MODEL", help="Model, by default 'default'; can be repeated."),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", envvar=DEVICE, help="auto, cpu, cuda or mps.")]
Workers = Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; by default one per core.")]
Share = Annotated[
    Shard | None,
    typer.Option(
        "--shard", parser=Shard.parse, metavar="NUMBER/COUNT", help="Do only one share of the work, such as 3/16."
    ),
]
Track = Annotated[
    int | None, typer.Option(metavar="N", help="Audio track to read if there are several; default: the default track.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those in CONFIG.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
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
