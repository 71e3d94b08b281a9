"""Whatever a library throws over one file, the others are gone on with, and the file is named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio import AudioReader
from apollo.cli import main
from apollo.data import offline
from apollo.data.check import check
from apollo.data.folders import Problem, open_tracks
from apollo.nn import Apollo
from apollo.restoration import Output, Restorer, plan, restore_files

RATE = 44_100
FAULTS = [RuntimeError("psf_fseek()\nfailed"), ValueError(), MemoryError(), KeyError("layout")]


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Three files, the second of which no library can stand."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal((RATE, 1)), RATE)
    return folder


@pytest.fixture(params=FAULTS, ids=lambda fault: type(fault).__name__)
def broken(request, monkeypatch):
    whole = AudioReader.__init__

    def read(self, path, *more):
        if Path(path).name == "b.wav":
            raise request.param
        whole(self, path, *more)

    monkeypatch.setattr(AudioReader, "__init__", read)


@pytest.mark.usefixtures("broken")
def test_restoring_goes_on(shelf):
    restorer = Restorer(Apollo(feature_dim=16, layer=1, output="residual"), device="cpu")
    outcomes = list(restore_files(plan([shelf]), restorer, Output(), force=True))
    assert [outcome.status for outcome in outcomes] == ["restored", "failed", "restored"]
    assert str(shelf / "b.wav") in outcomes[1].message
    assert "\n" not in outcomes[1].message


@pytest.mark.usefixtures("broken")
def test_inspecting_goes_on(shelf, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["apollo", "inspect", str(shelf)])
    with pytest.raises(SystemExit) as left:
        main()
    result = subprocess.CompletedProcess(sys.argv, left.value.code, *capsys.readouterr())
    assert result.returncode == 1
    assert (result.stderr.count("\n"), result.stdout.count("Verdict")) == (1, 2)
    assert "b.wav" in result.stderr


@pytest.mark.usefixtures("broken")
def test_checking_and_scanning_go_on(shelf):
    assert [row.problem is None for row in check([shelf])] == [True, False, True]
    tracks, problems = open_tracks(sorted(shelf.iterdir()))
    assert [track.path.name for track in tracks] == ["a.wav", "c.wav"]
    assert "b.wav" in str(problems[0])


def test_degrading_goes_on(shelf, tmp_path, monkeypatch):
    whole = offline._pair

    def pair(job, path, sha256):
        if path.name == "b.wav":
            raise RuntimeError("nobody foresaw this")
        return whole(job, path, sha256)

    monkeypatch.setattr(offline, "_pair", pair)
    report = offline.degrade_folder(shelf, tmp_path / "pairs", options={"bitrate": [64_000]})
    assert report.made == 2
    assert [isinstance(failure, Problem) or "b.wav" in str(failure) for failure in report.failures] == [True]
