import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def signals_are_given_back() -> Iterator[None]:
    """Training in a notebook must leave Ctrl+C and SIGTERM as they were, however it ended."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before
