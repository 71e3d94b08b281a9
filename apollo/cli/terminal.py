"""What every verb says to the terminal, and how."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument

from apollo.errors import ApolloError, stop_signals
from apollo.foreign import shown
from apollo.storage import Place, naming_objects

Value = TypeVar("Value", int, float, str)

SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

# Help tells what an argument is; of its type in Python, which new versions of Typer put beside it, no user knows.
TyperArgument.display_type_rich = lambda self, ctx: None  # type: ignore[method-assign]

MODEL, DEVICE = "APOLLO_MODEL", "APOLLO_DEVICE"  # environment variables with the user's own defaults

PATIENCE = 60.0  # seconds between the lines that stand for a bar in a log file
LONGEST = 4000  # characters of a line; a name may be a megabyte


@dataclass
class Manner:
    """How much is told; what every verb shares."""

    debug: bool = False  # whether errors come with their tracebacks
    quiet: bool = False  # whether results and errors are all that is told
    only_json: bool = False  # whether standard output is for JSON alone, and all that is told goes to standard error


MANNER = Manner()


def say(*lines: object, error: bool = False) -> None:
    """Print lines, in which foreign strings are shown harmlessly, above the bars if there are any."""
    error = error or MANNER.only_json
    screen = sys.modules.get("apollo.cli.screen")  # where nothing was drawn, there is nothing above which to print
    for line in lines:
        text = shown(line)
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
        with outlet(error):
            if screen is None or not screen.print_above(text, error):
                typer.echo(text, err=error)


@contextmanager
def outlet(error: bool = False) -> Iterator[None]:
    """Say in an ApolloError that standard output takes no more; of standard error, nobody can be told.

    A reader that wants no more, such as `head`, is no error: BrokenPipeError passes.
    """
    try:
        yield
    except OSError as reason:
        if error:
            return
        if isinstance(reason, BrokenPipeError):
            raise
        raise ApolloError(
            f"standard output takes no more ({reason.strerror}): free some space, or send it elsewhere"
        ) from None


def note(*lines: object, error: bool = False) -> None:
    """Print lines, unless --quiet was given."""
    if not MANNER.quiet:
        say(*lines, error=error)


def complain(error: object) -> None:
    """Print an error as one sentence on standard error."""
    say(f"Error: {error}", error=True)


def warn(message: object) -> None:
    """Print what went wrong without ending the work."""
    say(f"Warning: {message}", error=True)


def show_traceback(error: BaseException) -> None:
    """Print where an error comes from."""
    say(*"".join(traceback.format_exception(error)).rstrip("\n").split("\n"), error=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for work that is counted, with the time left; give it how many are done, of how many, and a name.

    In a log file it is a line every minute.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    from apollo.cli.screen import bars, words

    columns = (words("what"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), words("name"))
    began = told = time.monotonic()
    before: int | None = None  # how many an earlier run had finished

    def in_lines(done: int, total: int, name: str) -> None:
        nonlocal told, before
        before = done if before is None else before
        now = time.monotonic()
        if before < done < total and now >= told + PATIENCE:
            told = now
            left = (now - began) * (total - done) / (done - before)
            note(f"{what}: {done} of {total}, {clock(left)} left", error=True)

    with bars(*columns, visible=not MANNER.quiet) as bar:
        row = bar.add_task("", total=None, what=shown(what), name="")
        if bar.disable:
            yield in_lines
        else:
            yield lambda done, total, name: bar.update(row, completed=done, total=total, name=shown(name))


@dataclass
class Stopped:
    """Which signal asked the command to stop; 0 while none has."""

    signal: int = 0


STOPPED = Stopped()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let all `stop_signals` raise KeyboardInterrupt, once: a second one asks for what is under way."""
    STOPPED.signal = 0
    if threading.current_thread() is not threading.main_thread():  # where signals do not arrive
        yield
        return

    def stop(number: int, frame: object) -> None:
        if not STOPPED.signal:
            STOPPED.signal = number
            raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in stop_signals()}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Log(logging.Handler):
    """Shows what the package logs, line by line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        lines = naming_objects(self.format(record)).split("\n")
        if record.levelno >= logging.WARNING:
            lines[0] = f"Warning: {lines[0]}"
        say(*lines, error=True)


def show_log(level: int) -> None:
    """Show what the package logs from this level on: notes of what was corrected, warnings of what was left out."""
    log = logging.getLogger("apollo")
    log.setLevel(level)
    log.handlers = [Log()]


def usual_model() -> str:
    """The model that is used where none is named."""
    return os.environ.get(MODEL) or "default"


def require(extra: str, *packages: str) -> None:
    """Refuse to begin when packages are missing that only an extra of ours installs."""
    for package in packages:
        if find_spec(package) is None:
            raise ApolloError(
                f"this needs {package}, which is not installed: in Apollo's source folder, run "
                f"pip install -c constraints.txt '.[{extra}]'"
            )


def passed_over(others: int) -> str:
    """Say how many files in folders were not looked at."""
    return f"Skipped: {others} file{'s' * (others > 1)} of other kinds."


def clock(seconds: float, digits: int = 0) -> str:
    """Hours if there are any, minutes, and seconds with so many decimals.

    >>> clock(7_325), clock(59.96, 1)
    ('2:02:05', '1:00.0')
    """
    unit = 10**digits
    minutes, rest = divmod(round(seconds * unit), 60 * unit)
    hours, minutes = divmod(minutes, 60)
    ending = f"{rest // unit:02}{f'.{rest % unit}' if digits else ''}"
    return f"{hours}:{minutes:02}:{ending}" if hours else f"{minutes}:{ending}"


def without_middle(text: str, columns: int) -> str:
    """A text that takes so many columns of a terminal at most: what is too long loses its middle."""
    from rich.cells import cell_len

    if cell_len(text) <= columns:
        return text
    letters = (columns - 1) // 2
    while cell_len(text[:letters]) + cell_len(text[-letters:]) > columns - 1:  # letters that are two columns wide
        letters -= 1
    return f"{text[:letters]}…{text[-letters:]}"


def check_suffix(path: Place, suffix: str, option: str) -> None:
    """Refuse to write to a file that is called otherwise: with its own name forgotten, an option takes a song's."""
    if path.suffix.lower() != suffix:
        raise ApolloError(f"{option} writes a separate file: name one that ends in {suffix}, not {path}")


def parse(text: str, kind: Callable[[str], Value], option: str, what: str, example: str) -> list[Value]:
    """Read values with commas between them."""
    try:
        return [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        raise ApolloError(f"{option} takes {what} separated by commas, such as {example}, not {text!r}") from None


RATE = r"\d{1,9}k?"


def parse_bitrates(text: str) -> list[int]:
    """Read bitrates with commas between them: `64k`, `64` or `64000`, all in bit/s."""
    rates = []
    for part in text.split(","):
        if not re.fullmatch(RATE, part.strip()):
            raise ApolloError(
                f"--bitrates takes numbers of kbit/s separated by commas, such as 24k,64k or 24,64, not {text!r}"
            )
        number = int(part.strip().rstrip("k"))
        rates.append(number if number >= 1000 and "k" not in part else 1000 * number)
    return rates
