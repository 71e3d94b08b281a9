"""Work in threads gives the same things in the same order, and leaves no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from apollo.restoration.overlap import AHEAD, ahead, behind


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_items_come_in_order() -> None:
    assert list(ahead(iter(range(1000)))) == list(range(1000))


def test_no_more_are_drawn_than_may_wait() -> None:
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            drawn.append(number)
            yield number

    with closing(ahead(numbers())) as items:
        assert next(items) == 0
        time.sleep(0.3)
        assert len(drawn) <= AHEAD + 3


def test_what_drawing_raises_is_raised_in_its_place() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    items = ahead(numbers())
    assert next(items) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(items)


def test_calls_are_made_in_order_to_the_last() -> None:
    called: list[int] = []
    with behind(called.append) as take:
        for number in range(1000):
            take(number)
    assert called == list(range(1000))


def test_what_a_call_raises_is_raised_and_ends_the_calls() -> None:
    def call(number: int) -> None:
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"), behind(call) as take:  # noqa: PT012
        for number in range(1000):
            take(number)
    with pytest.raises(ValueError, match="full"), behind(call) as take:
        take(1)


def test_an_exception_drops_what_waits() -> None:
    called: list[int] = []

    def call(number: int) -> None:
        time.sleep(0.05)
        called.append(number)

    with pytest.raises(KeyboardInterrupt), behind(call) as take:  # noqa: PT012
        for number in range(AHEAD):
            take(number)
        raise KeyboardInterrupt
    assert len(called) < AHEAD
