"""What is drawn on a terminal: bars stay at the bottom, errors stand whole above them, and names are only shown."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.table import Table
from rich.text import Text

from apollo.audio import write
from apollo.checkpoints import save_model
from apollo.cli.screen import Screen
from apollo.cli.terminal import counting
from apollo.nn import Apollo

HOSTILE = "{task.x}{0}[bold red]:heart:\x1b]0;pwned\x07\x9b2J\u202e"


def test_whatever_is_printed_steers_nothing() -> None:
    screen = Screen(file=io.StringIO(), width=60, force_terminal=True, color_system="standard")
    grid = Table("a", HOSTILE, title=HOSTILE)
    grid.add_row(HOSTILE, Text(f"{HOSTILE}\n{HOSTILE}", style="red"))
    for what in (HOSTILE, grid, Text(HOSTILE)):
        screen.print(what)
    screen.print(HOSTILE, soft_wrap=True)
    assert isinstance(screen.file, io.StringIO)
    shown = screen.file.getvalue()
    assert re.sub(r"\x1b\[[\d;]*m|\n", "", shown).isprintable()
    assert "[bold red]:heart:\\x1b]0;pwned" in shown


def test_a_log_file_gets_a_line_every_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    now = 0.0
    monkeypatch.setattr("apollo.cli.terminal.time.monotonic", lambda: now)
    with counting("Preparing") as progress:
        for done in range(10, 21):  # half was finished before
            progress(done, 20, "a name")
            now += 30
    told, left = capsys.readouterr().err.splitlines(), {12: "4:00", 14: "3:00", 16: "2:00", 18: "1:00"}
    assert told == [f"Preparing: {done} of 20, {time} left" for done, time in left.items()]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_errors_stand_above_the_bars_at_60_columns(tmp_path: Path, start_fork: Callable[..., Any]) -> None:
    import pty

    folder = tmp_path / ("a folder of a long name " * 3)
    folder.mkdir()
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), tmp_path / "model.safetensors")
    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 44_100)).astype(np.float32)
    for name in ("a.wav", f"b{HOSTILE}.wav", "d.wav"):
        write(folder / name, sound, 44_100)
    (folder / f"c{HOSTILE}.mp3").write_bytes(b"ID3 no sound" * 50)
    screen, terminal = pty.openpty()
    command = ("-m", "apollo", "restore", "--force", "-m", tmp_path / "model.safetensors", folder)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "60"}
    process = start_fork(*command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    drawn = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while block := os.read(screen, 1 << 16):
            drawn += block
    os.close(screen)
    assert process.wait() == 1
    # Only what rich itself draws with: colours, and moves between the lines of the bars.
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn.decode())
    assert re.sub(r"[\r\n]", "", plain).isprintable()
    lines = re.split(r"[\r\n]+", plain)
    for whole in (f"Error: {folder}/c", "Restored 3 of 4 files."):
        assert any(line.startswith(whole) for line in lines), whole
    # The middle of a result's paths is left out, so that both fit into a line.
    assert [line for line in lines if "…" in line and "a.wav → " in line and "estored.flac: " in line]
    assert not [line for line in lines if "━" in line and str(folder) in line]
