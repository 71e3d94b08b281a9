"""`apollo inspect`: one block a file, readable at 80 columns; one sentence a bad file."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from apollo.audio import Cover, read, write
from apollo.cli import main

RATE = 44_100
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole recording, an MP3 of it, a FLAC of that MP3, silence, and files that are no audio."""
    folder = tmp_path_factory.mktemp("müsic")
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    waveform = 0.05 * rng.standard_normal((2, len(time))) * np.exp(-4 * (time % 0.5)) + 0.3 * np.sin(1_400 * time)
    tags = {"title": "Étude", "artist": "歌" * 60, "comment": "\x1b[31mred\nsecond line", "lyrics": "la " * 500}
    write(folder / "whole.flac", waveform, RATE, tags=tags, cover=Cover.of(PNG))
    write(folder / "lossy.mp3", waveform, RATE, bitrate=96_000)
    (folder / "below").mkdir()
    write(folder / "below" / "fake.flac", read(folder / "lossy.mp3")[0], RATE)
    write(folder / "silent.wav", np.zeros((1, RATE)), RATE)
    (folder / "text.mp3").write_text("no music")
    (folder / "notes.txt").write_text("not looked at in a folder")
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["apollo", "inspect", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return subprocess.CompletedProcess(sys.argv, left.value.code or 0, *capsys.readouterr())

    return run


def test_file_is_described(run, folder):
    result = run(folder / "whole.flac")
    assert (result.returncode, result.stderr) == (0, "")
    told = dict(line.strip().split(None, 1) for line in result.stdout.splitlines()[1:] if line[2] != " ")
    assert told["Format"].startswith("FLAC (flac, 24 bit)")
    assert told["Sound"] == "0:02.0, 44100 Hz, stereo"
    assert told["Loudness"].endswith("LUFS")
    assert "dBTP" in told["Peak"]
    assert told["Cover"] == "PNG, 1 kB"
    assert told["Title"] == "Étude"
    assert told["Verdict"].startswith("nothing to restore: reaches 2")


def test_folder_is_looked_through_and_a_bad_file_does_not_end_it(run, folder):
    result = run(folder)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "text.mp3 is not a readable audio" in result.stderr
    blocks = result.stdout.split("\n\n")
    assert [block.splitlines()[0].rpartition("/")[2] for block in blocks] == [
        "fake.flac", "lossy.mp3", "silent.wav", "whole.flac"
    ]  # fmt: skip
    verdicts = [" ".join(block[block.index("Verdict") :].split()[1:]) for block in blocks]
    assert verdicts[0] == "lossy: MP3 of about 96 kbit/s inside this FLAC; `apollo restore` can help"
    assert verdicts[1] == "lossy: MP3 at 96 kbit/s; `apollo restore` can help"
    assert verdicts[2] == "nothing to restore: it is silent"


def test_patterns_stand_for_what_matches_them(run, folder):
    told = run(folder / "*l*.mp3", folder / "silent.wav").stdout
    assert [line for line in told.splitlines() if line.startswith("/")] == [
        str(folder / "lossy.mp3"), str(folder / "silent.wav")
    ]  # fmt: skip


def test_an_empty_folder_among_what_matches_hides_nothing(run, tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
    for name in "ac":
        write(tmp_path / name / "song.wav", np.zeros((1, RATE)), RATE)
    result = run("--csv", tmp_path / "?")
    assert [line.split(",")[0] for line in result.stdout.splitlines()[1:]] == [
        str(tmp_path / name / "song.wav") for name in "ac"
    ]
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert f"{tmp_path / 'b'} contains no audio files" in result.stderr


def test_no_line_is_wider_than_80_columns_or_steers_the_terminal(run, folder):
    from rich.cells import cell_len

    lines = run(folder / "whole.flac").stdout.splitlines()[1:]
    assert max(map(cell_len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_json_is_for_machines(run, folder):
    result = run(folder, "--json")
    assert result.returncode == 1
    files = {entry["file"].rpartition("/")[2]: entry for entry in json.loads(result.stdout)}
    assert len(files) == 5
    assert files["whole.flac"]["tags"]["title"] == "Étude"
    assert files["whole.flac"]["cover"] == {"mime": "image/png", "bytes": len(PNG)}
    assert files["fake.flac"]["lossy"]
    assert files["silent.wav"]["loudness"] is None
    assert "is not a readable audio" in files["text.mp3"]["problem"]


def test_folder_in_lines(run, folder):
    lines = run(folder, "--table").stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].split()[:2] == ["file", "codec"]
    assert [line[29:].split()[0] for line in lines[1:5]] == ["flac", "mp3", "pcm_s24le", "flac"]
    result = run(folder, "--csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["file"].rpartition("/")[2] for row in rows] == ["fake.flac", "lossy.mp3", "silent.wav", "whole.flac"]
    assert [row["lossy"] for row in rows] == ["yes", "yes", "no", "no"]
    assert "text.mp3 is not a readable audio" in result.stderr
    assert "give one of them" in run(folder, "--csv", "--json").stderr


def test_picture_is_drawn(run, folder, tmp_path):
    assert run(folder / "lossy.mp3", "--plot", tmp_path / "a.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.wav"], "missing.wav does not exist"),
        (["lossy.mp3", "whole.flac", "--plot", "a.png"], "--plot draws one picture of one file, but 2 are given"),
        (["lossy.mp3", "--plot", "missing/a.png"], "cannot be written"),
        (["below/nothing"], "does not exist"),
        (["*.ogg"], "nothing matches *.ogg: check the pattern"),
    ],
)
def test_mistakes_are_told_in_one_sentence(run, folder, monkeypatch, arguments, says):
    monkeypatch.chdir(folder)
    result = run(*arguments)
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_matplotlib_is_told_before_the_work(run, folder, monkeypatch):
    monkeypatch.setattr("apollo.cli.terminal.find_spec", lambda name: None)
    assert "pip install -c constraints.txt '.[eval]'" in run(folder / "lossy.mp3", "--plot", "a.png").stderr


def test_empty_folder_is_told(run, tmp_path):
    assert "contains no audio files" in run(tmp_path).stderr
