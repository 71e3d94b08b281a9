"""Every command in the guide does what it is there for."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import apollo.checkpoints
from apollo.audio import write
from apollo.cli import main
from apollo.nn import Apollo

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if "|" not in line]  # pipes need other programs


def test_every_command_of_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill = {"channels": 8, "dilations": [1]}
    network = Apollo(win=100, feature_dim=16, layer=1, output="residual", fill=fill).eval()
    monkeypatch.setattr(apollo.checkpoints, "load_model", lambda name: network)
    monkeypatch.chdir(tmp_path)
    noise = (0.1 * np.random.default_rng(0).standard_normal((2, 10_000))).astype(np.float32)
    Path("album/disc 2").mkdir(parents=True)
    for name in ("song.mp3", "album/a.mp3", "album/disc 2/b.m4a", "-live-.wav", "vinyl.flac"):
        write(Path(name), noise, 44100, bitrate=128_000)
    assert len(COMMANDS) > 15
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [program, *arguments] if program == "apollo" else arguments)
        script = str(ROOT / "inference.py")
        with pytest.raises(SystemExit) as left:
            main() if program == "apollo" else runpy.run_path(script, run_name="__main__")
        assert not left.value.code, command
    for name in ("song.restored.flac", "restored/disc 2/b.restored.flac", "portable/a.restored.opus", "cd.flac"):
        assert Path(name).is_file(), name
    assert not list(tmp_path.rglob("*.part"))


def test_every_option_is_in_the_guide(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["apollo", "restore", "--help"])
    with pytest.raises(SystemExit):
        main()
    for option in set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--output", "--model"}:
        assert option in GUIDE, option
