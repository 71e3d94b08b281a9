"""The terminal as rich draws on it: bars and tables, in which foreign strings are only ever shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn, TextColumn
from rich.segment import Segment

from apollo.cli.terminal import outlet
from apollo.foreign import shown


class Screen(Console):
    """A console that shows text as it is: no markup, no codes for emoji, and nothing in it steers the terminal."""

    def __init__(self, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; raises ApolloError if standard output takes no more."""
        with outlet(self.stderr):
            super().print(*objects, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What to print; only rich's own segments hold codes."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(shown, segment.text.split("\n"))), segment.style)


def words(field: str) -> TextColumn:
    """A column of a bar that shows a field of its task, which may be a foreign string."""
    return TextColumn(f"{{task.fields[{field}]}}", markup=False)


_drawing: list[Screen] = []


@contextmanager
def bars(*columns: ProgressColumn, visible: bool = True) -> Iterator[Progress]:
    """Bars at the bottom of the terminal, if a person is watching; what `print_above` prints goes above them."""
    screen = Screen(stderr=True)
    watched = visible and screen.is_terminal
    with Progress(*columns, console=screen, transient=True, disable=not watched, redirect_stdout=False) as progress:
        if watched:
            _drawing.append(screen)
        try:
            yield progress
        finally:
            if watched:
                _drawing.remove(screen)


def print_above(line: str, error: bool) -> bool:
    """Print a line above the bars, if there are any on the terminal to which it is to go; tell whether that was so."""
    stream = sys.stderr if error else sys.stdout
    if not _drawing or not stream.isatty():
        return False
    _drawing[-1].print(line, soft_wrap=True)
    return True
