"""Processes at work end with the one that asked for them, or when they are told to, and leave nothing half-written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import os, sys, time
from pathlib import Path
from apollo.atomic import replacing
from apollo import work
from apollo.cli.net import run

def hold(path):
    with replacing(Path(path)) as temporary:
        temporary.write_text("half")
        os.write(1, b"ready\\n")  # in one piece: two processes write to one pipe
        time.sleep(600)

if __name__ == "__main__":
    run(lambda: list(work.run(hold, sys.argv[1:], 2)) and 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to processes")
def test_a_signal_to_all_processes_leaves_nothing_behind(tmp_path: Path, start_python: Callable[..., Any]) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "out"
    program.write_text(PROGRAM)
    folder.mkdir()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = start_python(program, folder / "a", folder / "b", **streams, start_new_session=True)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "ready\n"]
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert re.fullmatch(r"Error: [^\n]+\n", errors), errors
    assert not list(folder.iterdir())
