"""`apollo compare`: one page that needs nothing else; one sentence where it cannot be made."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from apollo.audio import write
from apollo.cli import main

RATE = 44_100


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["apollo", "compare", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        return subprocess.CompletedProcess(sys.argv, code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    noise = np.random.default_rng(0).standard_normal((2, RATE))
    write(folder / "<b>one & only.mp3", 0.1 * noise, RATE, bitrate=96_000)
    write(folder / "two.flac", 0.1 * noise, RATE)
    (folder / "text.mp3").write_text("no music")
    return folder


def test_page_is_one_file_that_needs_nothing_else(run, folder, tmp_path: Path) -> None:
    page = tmp_path / "new folder" / "ab.html"
    result = run(folder / "<b>one & only.mp3", folder / "two.flac", "-o", page)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{page}: 1.0 s of ")
    text = page.read_text(encoding="utf-8")
    assert re.search(r"https?://|@import|url\(|<link", text) is None
    assert set(re.findall(r'src="(\w+:\w+/\w+);base64,', text)) == {"data:image/png", "data:audio/flac"}
    assert len(re.findall(r'src="(?!data:)', text)) == 0
    assert "&lt;b&gt;one &amp; only.mp3" in text
    assert "<b>one" not in text
    assert [path.name for path in page.parent.iterdir()] == ["ab.html"]


def test_what_cannot_be_done_is_said_in_a_sentence_and_leaves_no_file(run, folder, tmp_path: Path) -> None:
    songs = folder / "two.flac", folder / "two.flac"
    (tmp_path / "mine.html").write_text("mine")
    for arguments, sentence in (
        ((folder / "text.mp3", folder / "two.flac", "-o", tmp_path / "a.html"), "text.mp3 is not a readable audio"),
        ((folder / "none.mp3", folder / "two.flac", "-o", tmp_path / "a.html"), "none.mp3"),
        ((*songs, "-o", tmp_path / "a.flac"), "ends in .html"),
        ((*songs, "-o", tmp_path / "mine.html"), "exists already: use --overwrite"),
        ((*songs, "-o", tmp_path / "mine.html" / "a.html"), "cannot be"),
        ((*songs, "-o", tmp_path / ("a" * 300 + ".html")), "cannot be written"),
    ):
        result = run(*arguments)
        assert result.returncode == 1, sentence
        assert sentence in result.stderr
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert run(*songs, "-o", tmp_path / "mine.html", "--overwrite").returncode == 0
