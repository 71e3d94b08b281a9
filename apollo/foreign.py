"""Strings from outside are data: names, tags, keys, and messages of libraries that quote them.

They reach a terminal, a page or a table through these functions, which make them harmless: no character can move the
cursor, change colours, write to the clipboard, reorder the text around it, start a new line or become a formula.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Control, format, surrogate, line and paragraph separator. Format includes marks that reorder text or are invisible,
# and the joiners, which Persian, Hindi and many emoji need.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: object) -> str:
    r"""A foreign string as one harmless line: control characters become escape codes.

    A byte of a name that is not valid text becomes its own code.

    Example:
        >>> print(shown("a\nb\x1b[2Jc\udcff"))
        a\nb\x1b[2Jc\xff
        >>> shown("Ünïcode, 日本語, 👩‍🚀") == "Ünïcode, 日本語, 👩‍🚀"
        True
    """
    return _replaced(str(text), lambda letter: _SHORT.get(letter) or _code(letter))


def shown_in_csv(text: object) -> str:
    """A foreign string as a cell of a table that no spreadsheet takes for a formula.

    Example:
        >>> shown_in_csv("=HYPERLINK(1)"), shown_in_csv("a-b")
        ("'=HYPERLINK(1)", 'a-b')
    """
    line = shown(text)
    # Spreadsheets skip spaces, and take full-width signs, as from Japanese keyboards, for plain ones.
    first = unicodedata.normalize("NFKC", line.lstrip()[:1])
    return f"'{line}" if first in ("=", "+", "-", "@") else line


def shown_in_json(content: object, indent: int | None = None) -> str:
    r"""Content as JSON that is safe to show: what controls a terminal is escaped, and nothing is lost.

    Example:
        >>> print(shown_in_json({"é": "\u202e\x9b"}))
        {"é": "\u202e\u009b"}
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    return "\n".join(_replaced(line, lambda letter: json.dumps(letter)[1:-1]) for line in text.split("\n"))


@contextmanager
def silenced(library: str) -> Iterator[None]:
    """Keep from users what the logger of a library, and Python's warnings, say below an error while the block runs."""
    log = logging.getLogger(library)
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


@contextmanager
def unsaid(library: str, pattern: str) -> Iterator[None]:
    """Keep from users what the logger of a library, and Python's warnings, say that holds a pattern, while it runs."""

    def is_to_be_said(record: logging.LogRecord) -> bool:
        return re.search(pattern, record.getMessage()) is None

    log = logging.getLogger(library)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".*(?:{pattern})")
        log.addFilter(is_to_be_said)
        try:
            yield
        finally:
            log.removeFilter(is_to_be_said)


def _replaced(text: str, replacement: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(
        replacement(letter) if unicodedata.category(letter) in _STEERING and letter not in _JOINERS else letter
        for letter in text
    )


def _code(letter: str) -> str:
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:  # how Python holds a byte that is no text
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
