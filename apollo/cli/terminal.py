"""What every verb says to the terminal, and how."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import typer

from apollo.errors import ApolloError

Value = TypeVar("Value", int, float, str)

SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for work that is counted, with the time left; give it how many are done, of how many, and a name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("", total=None)
        yield lambda done, total, name: bar.update(row, completed=done, total=total, description=name)


@dataclass
class Stopped:
    """Which signal asked to stop; 0 while none has."""

    signal: int = 0


@contextmanager
def stoppable() -> Iterator[Stopped]:
    """Let SIGINT (Ctrl-C) and SIGTERM alike raise KeyboardInterrupt, once: a second one asks for what is under way."""
    stopped = Stopped()
    known = {signal.SIGINT, signal.SIGTERM}

    def stop(number: int, frame: object) -> None:
        if not stopped.signal:
            stopped.signal = number
            raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in known}
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def show_log() -> None:
    """Show what the package logs, from notes of what was corrected to warnings of what was left out."""
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True, highlight=False), show_time=False, show_path=False)
    log = logging.getLogger("apollo")
    log.setLevel(logging.INFO)
    log.handlers = [handler]


def require(extra: str, *packages: str) -> None:
    """Refuse to begin when packages are missing that only an extra of ours installs."""
    for package in packages:
        if find_spec(package) is None:
            raise ApolloError(
                f"this needs {package}, which is not installed: in Apollo's source folder, run "
                f"pip install -c constraints.txt '.[{extra}]'"
            )


def complain(error: Exception) -> None:
    """Print an error as one sentence on standard error."""
    typer.echo(f"Error: {error}", err=True)


def passed_over(others: int) -> str:
    """Say how many files in folders were not looked at."""
    return f"Passed over: {others} file{'s' * (others > 1)} of other kinds."


def check_suffix(path: Path, suffix: str, option: str) -> None:
    """Refuse to write to a file that is called otherwise: with its own name forgotten, an option takes a song's."""
    if path.suffix.lower() != suffix:
        raise ApolloError(f"{option} writes a file of its own: name one that ends in {suffix}, not {path}")


def parse(text: str, kind: Callable[[str], Value], option: str, what: str, example: str) -> list[Value]:
    """Read values with commas between them."""
    try:
        return [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        raise ApolloError(f"{option} takes {what} with commas, such as {example}, not {text!r}") from None
