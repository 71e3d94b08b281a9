"""The commands of the published codes, as their users type them, in words of ours.

What means the same here is renamed; what is not needed here is left out, and said in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apollo.cli.terminal import note


@dataclass(frozen=True)
class Dialect:
    """The options of one command; in all of them, `_` and `-` are alike."""

    renamed: Mapping[str, str]  # those that we call otherwise
    # Those that have a value and no meaning here, and why.
    needless: Mapping[str, str] = field(default_factory=dict)

    def translated(self, arguments: Sequence[str]) -> list[str]:
        """Arguments in our words, each value a word of its own or behind `=`; what is left out is told."""
        words: list[str] = []
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*words, word, *rest]
            name, equals, value = self._parts(word)
            if name in self.needless:
                if not equals and rest and not rest[0].startswith("-"):
                    value = rest.pop(0)
                typed = word if equals else " ".join(filter(None, (word, value)))
                note(f"{typed} is ignored: {self.needless[name]}", error=True)
            elif name in self.renamed:
                words += [self.renamed[name], *([value] if equals else [])]
            else:
                words.append(f"{name}{equals}{value}")
        return words

    def _parts(self, word: str) -> tuple[str, str, str]:
        """An option, whether a value is part of its word ("=" or ""), and that value; other words as they are."""
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            return name.replace("_", "-"), equals, value
        if len(word) > 2 and word[:2] in {*self.renamed, *self.needless}:  # such as -ia.mp3
            return word[:2], "=", word[2:].removeprefix("=")
        return word, "", ""


WHOLE = "chunks give exactly the samples of the whole recording, so they need no overlap"

RESTORE = Dialect(
    renamed={
        **dict.fromkeys(("-i", "--in-wav", "--in-dir", "--input"), "-i"),
        **dict.fromkeys(("-o", "--out-wav", "--out-dir", "--output"), "-o"),
        **dict.fromkeys(("-m", "--ckpt", "--checkpoint", "--model"), "-m"),
        **dict.fromkeys(("--segments", "--chunk-seconds"), "--chunk"),
        **dict.fromkeys(("--batch-size", "--chunk-batch-size"), "--batch"),
        "--crossover": "--keep-below",
        "--dry-wet": "--mix",
    },
    needless={
        **dict.fromkeys(("--overlap", "--overlap-seconds"), WHOLE),
        **dict.fromkeys(("-c", "--config"), "a model file states the sizes of its network"),
    },
)
TRAIN = Dialect(
    {
        **dict.fromkeys(("-c", "--config", "--conf-dir"), "-c"),
        **dict.fromkeys(("-m", "--model", "--resume-from"), "-m"),
    }
)
EXPORT = Dialect({"-c": "-c", "-m": "-m", "-d": "-d", **dict.fromkeys(("-o", "--output"), "-o")})


def restore_words(arguments: Sequence[str]) -> list[str]:
    """`inference.py`: `apollo restore`, which restores and replaces whatever it meets."""
    words = RESTORE.translated(arguments)
    inputs: list[str] = []
    while "-i" in words[:-1]:
        place = words.index("-i")
        inputs.append(words[place + 1])
        del words[place : place + 2]
    return ["restore", "--force", "--overwrite", *words, *(["--", *inputs] if inputs else [])]


def train_words(arguments: Sequence[str], folder: Path = Path()) -> list[str]:
    """`train.py` in a folder: `apollo train`, by default with `configs/apollo.yaml` beside it."""
    words = TRAIN.translated(arguments)
    stated = ("-c", "--from-msst", "-h", "--help")
    if not any(word.partition("=")[0] in stated for word in words):
        words = ["-c", str(folder / "configs" / "apollo.yaml"), *words]
    return ["train", *words]


def export_words(arguments: Sequence[str]) -> list[str]:
    """`generate_msst.py`: `apollo export msst`, which replaces what it wrote before."""
    rest = EXPORT.translated(arguments)
    stated = "-o" in rest
    words: list[str] = []
    while rest:
        word = rest.pop(0)
        if word != "-d":
            words.append(word)
            continue
        value = [rest.pop(0)] if rest and not rest[0].startswith("-") else []
        if value and not stated:
            note(f"-d {value[0]} is read as -o {value[0]}, the folder for both files", error=True)
            words += ["-o", *value]
        else:
            note(f"{' '.join(('-d', *value))} is ignored: MSST's files contain only weights and network", error=True)
    return ["export", "msst", "--overwrite", *words]
