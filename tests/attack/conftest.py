"""A place to attack the command in: a process for each attack, whose time, memory and changes on disk are watched."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CPU_SECONDS, BYTES = 10.0, 1.5e9  # what an attack may take of processor and memory
HANG = 600.0  # seconds of any clock after which it counts as hung


def steers(letter: str) -> bool:
    """Tell whether a terminal may obey a letter, or a reader be misled by it; joiners only join."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in "\u200c\u200d"


@dataclass(frozen=True)
class Aftermath:
    """What an attack came to.

    Attributes:
        code: Exit code; negative for the signal that ended it.
        output: What it printed.
        errors: What it printed on standard error.
        seconds: Of processor time.
        peak: Most bytes of memory that it held.
    """

    code: int
    output: str
    errors: str
    seconds: float
    peak: float

    def faults(self) -> list[str]:
        """What of the promises it broke."""
        lines = [line for text in (self.output, self.errors) for line in text.split("\n")]
        found = [] if self.code in (0, 1, 2) else [f"ended with {self.code}"]
        found += [f"printed {line!r}" for line in lines if any(map(steers, line))]
        found += [f"said {line!r}" for line in lines if "Traceback" in line or "a bug in Apollo" in line]
        if self.code and not (self.output or self.errors):
            found.append("failed without a word")
        if self.seconds > CPU_SECONDS:
            found.append(f"took {self.seconds:.1f} s")
        if self.peak > BYTES:
            found.append(f"took {self.peak / 1e9:.2f} GB")
        return found


@pytest.fixture(scope="session")
def attack() -> Callable[[Sequence[str], Path, Path], Aftermath]:
    """What runs the command, watched."""
    return _attack


def _attack(words: Sequence[str], folder: Path, place: Path) -> Aftermath:
    """Run the command with some words in a process of its own that stands in a folder.

    Args:
        words: What is typed behind `apollo`.
        folder: Where the process stands.
        place: Where what it prints is kept.
    """
    # The child begins with the pages of this process, which other tests may have made large: they are not the attack's.
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    child = os.fork()
    if child == 0:
        _become(words, folder, place)
    deadline = time.monotonic() + HANG
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    texts = [(place / name).read_bytes().decode("utf-8", "surrogateescape") for name in ("output", "errors")]
    code = os.waitstatus_to_exitcode(status)
    return Aftermath(
        code, *texts, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0 - pages * os.sysconf("SC_PAGE_SIZE")
    )


def _become(words: Sequence[str], folder: Path, place: Path) -> None:
    code = 99
    try:
        os.chdir(folder)
        for name, number in (("output", 1), ("errors", 2)):
            os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, "r", closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
        sys.argv = ["apollo", *words]
        from apollo.cli import main

        try:
            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 98
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session")
def state() -> Callable[[Path], dict[str, str]]:
    """What tells the state of a folder."""
    return _state


def _state(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of what it holds, links with where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
