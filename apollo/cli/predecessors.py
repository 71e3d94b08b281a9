"""The commands of the published codes, as their users type them, in words of ours.

What means the same here is renamed; what is not needed here is left out, and said in one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from apollo.cli.terminal import note


@dataclass(frozen=True)
class Dialect:
    """The options of one command."""

    renamed: Mapping[str, str]  # those that we call otherwise
    # Those that have a value and no meaning here, and why; `_` and `-` are alike in both tables.
    needless: Mapping[str, str] = field(default_factory=dict)

    def translated(self, arguments: Sequence[str]) -> list[str]:
        """Arguments in our words; what is left out is told."""
        words: list[str] = []
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*words, word, *rest]
            name, equals, value = word.partition("=")
            spelled = name.replace("_", "-") if name.startswith("--") else name
            if spelled in self.needless:
                if not equals and rest and not rest[0].startswith("-"):
                    value = rest.pop(0)
                note(f"{' '.join(filter(None, (name, value)))} is ignored: {self.needless[spelled]}", error=True)
            elif spelled in self.renamed:
                words += [self.renamed[spelled], *([value] if equals else [])]
            else:
                words.append(word)
        return words


WHOLE = "chunks give exactly the samples of the whole recording, so they need no overlap"

RESTORE = Dialect(
    renamed={
        **dict.fromkeys(("--in-wav", "--in-dir", "--input"), "-i"),
        **dict.fromkeys(("--out-wav", "--out-dir"), "-o"),
        **dict.fromkeys(("--ckpt", "--checkpoint"), "-m"),
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
TRAIN = Dialect(renamed={"--init-from": "--init-from", "--resume-from": "-m"})


def restore_words(arguments: Sequence[str]) -> list[str]:
    """`inference.py`: `apollo restore`, which restores and replaces whatever it meets."""
    words = RESTORE.translated(arguments)
    inputs: list[str] = []
    while "-i" in words[:-1]:
        place = words.index("-i")
        inputs.append(words[place + 1])
        del words[place : place + 2]
    return ["restore", "--force", "--overwrite", *words, *(["--", *inputs] if inputs else [])]


def train_words(arguments: Sequence[str]) -> list[str]:
    """`train.py`: `apollo train`, by default with `configs/apollo.yaml`."""
    words = TRAIN.translated(arguments)
    stated = ("-c", "--config", "--conf_dir", "--from-msst", "-h", "--help")
    if not any(word.partition("=")[0] in stated for word in words):
        words = ["-c", "configs/apollo.yaml", *words]
    return ["train", *words]


def export_words(arguments: Sequence[str]) -> list[str]:
    """`generate_msst.py`: `apollo export msst`, which replaces what it wrote before."""
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word != "-d":
            words.append(word)
        elif rest and not rest[0].startswith("-") and "-o" not in arguments:
            folder = rest.pop(0)
            note(f"-d {folder} is read as -o {folder}, the folder for both files", error=True)
            words += ["-o", folder]
        else:
            value = [rest.pop(0)] if rest and not rest[0].startswith("-") else []
            note(
                f"{' '.join(('-d', *value))} is ignored: MSST's files contain only weights and network",
                error=True,
            )
    return ["export", "msst", "--overwrite", *words]
