"""Restore music as the predecessors' commands do.

    python inference.py --in_wav=damaged.wav --out_wav=restored.wav
    python inference.py -m MODEL -i IN -o OUT

All other options are those of `apollo restore`. What shows no damage is restored too, and results are replaced.
"""

import sys

from apollo.cli import main

NAMES = {"--in_wav": "-i", "--in-wav": "-i", "--input": "-i", "--out_wav": "-o", "--out-wav": "-o", "--ckpt": "-m"}


def translated(arguments: list[str]) -> list[str]:
    """The arguments of `apollo` for those of `inference.py`."""
    words: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        words += [NAMES[name], *([value] if equals else [])] if name in NAMES else [argument]
    inputs: list[str] = []
    while "-i" in words[:-1]:
        place = words.index("-i")
        inputs.append(words[place + 1])
        del words[place : place + 2]
    return ["restore", "--force", "--overwrite", *words, *(["--", *inputs] if inputs else [])]


if __name__ == "__main__":
    sys.argv[1:] = translated(sys.argv[1:])
    main()
