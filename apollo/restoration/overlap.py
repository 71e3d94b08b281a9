"""Decoding, restoring and encoding at the same time, each in its own thread.

Decoders, the network and encoders release Python's lock while they work. The order of blocks never changes, and so the
samples do not either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

Item = TypeVar("Item")

AHEAD = 16  # items that may wait
_END = object()


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Take items from an iterator in a thread, ahead of their use; the order and any error are kept.

    The thread has ended when the returned iterator is closed.
    """
    with ThreadPoolExecutor(1, "apollo-decoder") as thread:
        waiting = deque(thread.submit(next, items, _END) for _ in range(AHEAD))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, items, _END))
                yield cast(Item, item)
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def behind(function: Callable[[Item], None]) -> Iterator[Callable[[Item], None]]:
    """Call a function in a thread, with one item after another, in order.

    Yields what takes the next item. It waits while too many items are queued, and raises what the function has raised.
    The end of the `with` block waits for the last item; an exception drops the queued ones.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "apollo-encoder") as thread:

        def take(item: Item) -> None:
            while waiting and (waiting[0].done() or len(waiting) >= AHEAD):
                waiting.popleft().result()
            waiting.append(thread.submit(function, item))

        try:
            yield take
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
