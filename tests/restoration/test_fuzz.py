"""Damaged files are restored as far as they go or refused in a sentence: no traceback, no hang, nothing half-written.

A few dozen files of each format by default; `APOLLO_FUZZ=2000 pytest tests/restoration/test_fuzz.py` tries as many as
it says of each. All of them come from the number of the file, so that one that fails can be had again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio import read, write
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer, plan, restore_files
from apollo.restoration.output import Output

FILES = int(os.environ.get("APOLLO_FUZZ", "36"))
LONGEST = 30.0  # seconds that a file of less than a second may take
RATE = 44100
FORMATS = ["wav", "flac", "mp3", "ogg", "m4a", "aiff", "opus"]
LENGTHS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00"]


def cut(data: bytearray, random: np.random.Generator) -> None:
    """Leave out the end."""
    del data[int(random.integers(0, len(data))) :]


def flip(data: bytearray, random: np.random.Generator) -> None:
    """Turn a few bits anywhere."""
    for place in random.integers(0, len(data), random.integers(1, 40)):
        data[place] ^= 1 << int(random.integers(0, 8))


def lie(data: bytearray, random: np.random.Generator) -> None:
    """Put absurd numbers where the header has lengths, rates and counts."""
    for place in random.integers(0, min(len(data), 300), random.integers(1, 4)):
        data[place : place + 4] = LENGTHS[int(random.integers(0, len(LENGTHS)))]


def blank(data: bytearray, random: np.random.Generator) -> None:
    """Overwrite a stretch with zeros."""
    start = int(random.integers(0, len(data)))
    end = min(len(data), start + int(random.integers(1, 5000)))
    data[start:end] = bytes(end - start)


def shuffle(data: bytearray, random: np.random.Generator) -> None:
    """Repeat one stretch in the place of another, or in between."""
    start, place = (int(number) for number in random.integers(0, len(data), 2))
    stretch = data[start : start + int(random.integers(1, 3000))]
    data[place : place + int(random.integers(0, 2)) * len(stretch)] = stretch


def empty(data: bytearray, random: np.random.Generator) -> None:
    """Leave hardly anything."""
    del data[int(random.integers(0, 12)) :]


MUTATIONS = [cut, flip, flip, lie, lie, blank, shuffle, empty]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, make_music: Callable[..., np.ndarray]) -> dict[str, bytes]:
    """Half a second in each format."""
    folder = tmp_path_factory.mktemp("originals")
    music = make_music(0.5)
    for name in ("wav", "flac", "mp3", "m4a", "opus"):
        write(folder / f"song.{name}", music, RATE, tags={"title": "A song"})
    soundfile.write(folder / "song.ogg", music.T, RATE, format="OGG", subtype="VORBIS")
    soundfile.write(folder / "song.aiff", music.T, RATE, format="AIFF")
    return {name: (folder / f"song.{name}").read_bytes() for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_restored_or_refused(
    name: str, originals: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # what was left out of damaged files is logged, file by file
    restorer = Restorer(Apollo(win=100, feature_dim=16, layer=1, output="residual"), 1)
    threads = threading.active_count()
    for number in range(FILES):
        random = np.random.default_rng([FORMATS.index(name), number])
        data = bytearray(originals[name])
        for _ in range(int(random.integers(1, 3))):
            if data:
                MUTATIONS[int(random.integers(0, len(MUTATIONS)))](data, random)
        suffix = name if random.random() < 0.8 else FORMATS[int(random.integers(0, len(FORMATS)))]
        source = tmp_path / f"{number}.{suffix}"
        source.write_bytes(data)
        outcomes: list[str] = []

        def restore(source: Path = source, outcomes: list[str] = outcomes) -> None:
            try:
                for outcome in restore_files(plan([source]), restorer, Output(), force=True):
                    assert outcome.status in ("restored", "failed")
                    assert "\n" not in outcome.message
                    outcomes.append(outcome.status)
            except ApolloError:
                outcomes.append("refused")

        worker = threading.Thread(target=restore, daemon=True)
        worker.start()
        worker.join(LONGEST)
        assert not worker.is_alive(), f"{source} hangs"
        assert outcomes, f"{source} ended in an exception"
        left = sorted(path.name for path in tmp_path.iterdir())
        target = tmp_path / f"{number}.restored.flac"
        if outcomes == ["restored"]:
            assert left == sorted([source.name, target.name])
            assert np.isfinite(read(target)[0]).all()
            target.unlink()
        else:
            assert left == [source.name], source
        source.unlink()
    assert threading.active_count() == threads
