"""The net under every verb: whatever happens, the command ends with one sentence and an exit code."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from apollo.cli.terminal import MANNER, STOPPED, complain, say, show_traceback, stoppable, warn
from apollo.errors import ApolloError, StoppedError, one_line
from apollo.foreign import shown

# Click's error about what was typed, wherever this version of Typer keeps it.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

# What messages of Click and of Typer end with, and the same as a part of one sentence.
ENDS = {
    r"(?:\. Did you mean| \(Possible options:) (.*)[?)]$": r" (did you mean \1?)",
    r"\. Choose from: (.*)$": r": choose from \1",
    r": Value error, (.*)$": r": \1",
    r"is not a valid integer(?: range)?$": "is not a whole number",
    r"is not a valid float(?: range)?$": "is not a number",
    r"Input should be a valid integer, .*$": "it must be a whole number",
    r"Input should be a valid number, .*$": "it must be a number",
    r"Input should be greater than or equal to (\S+)$": r"it must be \1 or more",
    r"Input should be less than or equal to (\S+)$": r"it must be \1 or less",
}


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command and leave with its exit code: 1 after an error, 2 after a typing error, 129, 130 or 143 if stopped.

    The command gives the exit code, or None for 0, as a Typer application does that does not stand alone.
    """
    catch_strays()
    code: object
    with stoppable():
        try:
            code = command() or 0
            if STOPPED.signal:  # Typer has turned the interrupt into a code
                complain("stopped before the end")
        except ClickException as error:
            code = tell_usage(error)
        except StoppedError as error:
            tell(error)
            code = error.code
        except ApolloError as error:
            code = tell(error)
        except Exception as error:  # an import that a signal cuts short may fail in any way
            code = tell(error, "stopped before the end" if STOPPED.signal else sentence(error))
        except BaseException as error:  # Ctrl-C, or Lightning's way to leave after one
            code = getattr(error, "code", 1)
            if STOPPED.signal:
                complain("stopped before the end")
    let_go_of_full_streams()
    sys.exit(128 + STOPPED.signal if STOPPED.signal else code)  # type: ignore[arg-type]


def tell(error: Exception, message: str | None = None) -> int:
    """Print an error, with its traceback where that is asked for; give the exit code."""
    if MANNER.debug:
        show_traceback(error)
    complain(error if message is None else message)
    return 1


def tell_usage(error: Any) -> int:
    """Print what is wrong with what was typed, which a shell may have made of the names in a folder."""
    if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the whole help
        say(*str(error.message).rstrip("\n").split("\n"), error=True)
    else:
        error.message = shown(error.message)
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        context = next((frame["ctx"] for frame in reversed(frames) if "ctx" in frame), None)  # the error may lack it
        complain(
            f"{as_one_sentence(error.format_message())}; see {context.command_path if context else 'apollo'} --help"
        )
    return int(error.exit_code)


def as_one_sentence(message: str) -> str:
    """What Click says about what was typed, without its capital, its full stop, its line breaks and names of types.

    Example:
        >>> as_one_sentence("No such command 'restor'. Did you mean 'restore'?")
        "no such command 'restor' (did you mean 'restore'?)"
    """
    told = " ".join(message.rstrip(".").split("\n\t")).replace("\n", " ")
    for end, plain in ENDS.items():
        told = re.sub(end, plain, told)
    return told[:1].lower() + told[1:]


def sentence(error: Exception) -> str:
    """Say in one sentence what no code of ours foresaw."""
    kind = type(error).__name__
    message = one_line(error)
    what = f"{kind}: {message[:300]}" if message else kind
    if isinstance(error, MemoryError) or "OutOfMemory" in kind:
        return "not enough memory: close other programs, or process less at once"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename} cannot be used" if error.filename else "a file cannot be read or written"
        return f"{place} ({error.strerror}): check the path, its permissions and free space, or add --debug to see more"
    if kind == "BrokenProcessPool":
        return "a worker process was killed, perhaps because memory ran out: try again with fewer --workers"
    return f"this is a bug in Apollo ({what}): add --debug to see where, and please report what it prints"


def let_go_of_full_streams() -> None:
    """Forget what streams do not take: Python would try once more when it ends, and replace the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def catch_strays() -> None:
    """Print errors in threads as one sentence too, and those that Python cannot raise only with --debug.

    For good: threads may outlive the command, and fail as the process ends.
    """

    def in_thread(stray: threading.ExceptHookArgs) -> None:
        error = stray.exc_value
        if error is None or isinstance(error, SystemExit):
            return
        if MANNER.debug:
            show_traceback(error)
        reason = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        warn(f"a background process ended early ({' '.join(reason.split())}): add --debug to see more")

    def unraisable(stray: sys.UnraisableHookArgs) -> None:
        if MANNER.debug and stray.exc_value is not None:
            show_traceback(stray.exc_value)

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
