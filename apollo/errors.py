"""Errors that a user can cause.

Each is an `ApolloError` whose message is one sentence that says what is wrong, where, and what to do. The command line
prints it and exits with a code other than 0. Any other exception is a bug; the command line says so, and prints the
traceback with `--debug`.
"""

from __future__ import annotations

import difflib
import logging
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


def nearest(key: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown key: what may have been meant, or what is known."""
    near = near_misses(key, known)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


def near_misses(key: str, known: Iterable[str]) -> list[str]:
    """The known key that an unknown one may be a typing error of, if there is one."""
    # Two swapped letters are a large share of a short key; longer keys must agree more.
    return difflib.get_close_matches(key, sorted(known), 1, cutoff=0.65 if len(key) < 6 else 0.78)


def some_of(words: Sequence[str], most: int, rest: str = "more") -> str:
    """The first words of a list that may be long: `a, b and 2 more`."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} {rest}" if len(words) > most else "")


def one_line(error: BaseException) -> str:
    """The message of a library's error without its line breaks."""
    return " ".join(str(error).split())


class ApolloError(Exception):
    """An input or an option cannot be used; the message says what is wrong, where, and what to do."""


class AudioFileError(ApolloError):
    """An audio file cannot be read or written."""


class WaveformError(ApolloError, ValueError):
    """An array or a tensor is not a waveform."""


class ModelFileError(ApolloError):
    """A model file cannot be read, is not an Apollo model, or is not safe to read."""


class ConfigError(ApolloError):
    """A configuration file or an override cannot be used."""


class DataError(ApolloError):
    """Training or evaluation data are missing, unreadable, or do not fit together."""


class TrainingError(ApolloError):
    """A training run cannot go on; what it has saved is kept."""


class StoppedError(ApolloError):
    """A signal has ended a run, which has saved everything; the process is to end with an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a run to stop: Ctrl-C, SIGTERM, and a closed terminal, unless `nohup` has it ignored."""
    closed = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
    return [signal.SIGINT, signal.SIGTERM, *(each for each in closed if signal.getsignal(each) != signal.SIG_IGN)]


def refuse_unknown(block: Mapping[Any, Any], known: Iterable[str], prefix: str = "") -> None:
    """Raise ConfigError, which names them and the nearest known ones, if a block holds unknown keys.

    `prefix` is what its keys begin with in messages, such as `"datas.codec."`.
    """
    if unknown := unknown_keys(block, known, prefix):
        raise ConfigError("; ".join(unknown))


def unknown_keys(block: Mapping[Any, Any], known: Iterable[str], prefix: str = "") -> list[str]:
    """Say which keys of a block are not among the known ones, as `refuse_unknown` does."""
    known = list(known)
    unknown = [key for key in map(str, block) if key not in known]
    guesses = {key: near_misses(key, known) for key in unknown}
    told = [f"{prefix}{key} is not known: did you mean {near[0]!r}?" for key, near in guesses.items() if near]
    if far := [f"{prefix}{key}" for key, near in guesses.items() if not near]:
        told.append(
            f"{', '.join(far)} {'is' if len(far) == 1 else 'are'} not known: known are {', '.join(sorted(known))}"
        )
    return told


@contextmanager
def one_file(path: object) -> Iterator[None]:
    """Turn any error with one file of many into one that names it, so that work on the others can go on.

    Raises:
        ApolloError: As raised in the block, or `unexpected` in place of any other exception.
    """
    try:
        yield
    except ApolloError:
        raise
    except Exception as error:
        raise unexpected(path, error) from error


def unexpected(path: object, error: Exception) -> AudioFileError:
    """An error that names a file, in place of one from a library; the log holds the original."""
    log.debug("%s failed", path, exc_info=error)
    if isinstance(error, MemoryError):
        return AudioFileError(f"{path} needs more memory than is available: close other programs")
    reason = one_line(error)[:200]
    return AudioFileError(
        f"{path} cannot be processed: an unexpected error ({type(error).__name__}{': ' * bool(reason)}{reason}); "
        "please report it; --debug shows where it happens"
    )
