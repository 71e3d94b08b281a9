"""Decoding, restoring and encoding at the same time: threads with bounded queues between them.

Decoders, the network and encoders all leave Python's lock alone while they work. The order of things never changes, so
neither do the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

AHEAD = 16  # items that may wait
PATIENCE = 0.1  # seconds after which a thread looks whether it is still needed


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Draw items in a thread, ahead of their use; give them in order, and raise what drawing them raises.

    When the iterator that comes back is closed, the thread has ended.
    """
    waiting: Queue[tuple[Item] | BaseException | None] = Queue(AHEAD)
    stopped = Event()

    def offer(item: tuple[Item] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(Full):
                waiting.put(item, timeout=PATIENCE)
                return

    def draw() -> None:
        try:
            for item in items:
                offer((item,))
                if stopped.is_set():
                    return
            offer(None)
        except BaseException as error:
            offer(error)

    thread = Thread(target=draw, name="apollo-decoder", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        stopped.set()
        thread.join()


class Behind(Generic[Item]):
    """Calls a function in a thread with one item after another, in order.

    Leaving the `with` block waits for the last of them; leaving it by an exception drops what waits. What the function
    raises is raised by the next `put`, or at the end.
    """

    def __init__(self, function: Callable[[Item], None]) -> None:
        self._function = function
        self._waiting: Queue[Item] = Queue(AHEAD)
        self._error: BaseException | None = None
        self._ended, self._dropped = Event(), Event()
        self._thread = Thread(target=self._work, name="apollo-encoder", daemon=True)

    def put(self, item: Item) -> None:
        """Have the function called with an item; waits while too many wait already."""
        while self._error is None:
            with suppress(Full):
                self._waiting.put(item, timeout=PATIENCE)
                return
        raise self._error

    def __enter__(self) -> Behind[Item]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._dropped.set()
        self._ended.set()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._dropped.is_set():
                try:
                    item = self._waiting.get(timeout=PATIENCE)
                except Empty:
                    if self._ended.is_set() and self._waiting.empty():
                        return
                    continue
                self._function(item)
        except BaseException as error:
            self._error = error
