"""The page as a process of its own, as a user starts it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Server:
    """A page that is being served.

    Attributes:
        address: Where.
        temporary: The folder in which it keeps temporary files.
        process: What serves it.
    """

    address: str
    temporary: Path
    process: subprocess.Popen[str]

    def stop(self) -> int:
        """End it as Ctrl-C does, and give its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(600)


def start(temporary: Path, *options: str, **environment: str) -> Server:
    """Serve a page on a free port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "apollo", "web", "--no-browser", "--device", "cpu", *options],
        stdout=subprocess.PIPE,
        stderr=(temporary.parent / "errors.txt").open("w"),
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", **environment},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+", line):
            return Server(found[0].rstrip("/"), temporary, process)
    raise AssertionError((temporary.parent / "errors.txt").read_text())


def left_behind(temporary: Path) -> list[Path]:
    """What is still there; PyTorch makes an empty folder of its own."""
    return [path for path in temporary.rglob("*") if not path.name.startswith("torchinductor_")]


@pytest.fixture(scope="session")
def example() -> Path:
    """The song that comes with Apollo."""
    return Path(__file__).parents[2] / "examples" / "dodgems-beat.mp3"


@pytest.fixture
def start_server() -> Callable[..., Server]:
    return start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    temporary = tmp_path_factory.mktemp("server") / "temporary"
    temporary.mkdir()
    server = start(temporary)
    yield server
    assert server.stop() == 0
    assert left_behind(temporary) == []


@pytest.fixture(scope="session")
def restored(example: Path, tmp_path_factory: pytest.TempPathFactory, run_fork: Callable[..., Any]) -> Path:
    """The example as `apollo restore` restores it."""
    folder = tmp_path_factory.mktemp("restored")
    song = folder / example.name
    shutil.copy(example, song)
    assert run_fork("-m", "apollo", "restore", song, "--device", "cpu").returncode == 0
    return folder / "dodgems-beat.restored.flac"
