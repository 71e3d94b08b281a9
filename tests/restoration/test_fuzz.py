"""Damaged files are inspected and restored as far as they go or refused in a sentence.

No traceback, no hang, nothing half-written, no more memory than a whole file takes.

A dozen files of each format by default; `APOLLO_FUZZ=2000 pytest tests/restoration/test_fuzz.py` tries as many as
it says of each. All of them come from the number of the file, so that one that fails can be had again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from apollo.audio import read, resample, write
from apollo.audio.inspection import inspect
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer, plan, restore_files
from apollo.restoration.output import Output

FILES = int(os.environ.get("APOLLO_FUZZ", "12"))
LONGEST = 600.0  # seconds after which a file of less than a second counts as hung
RATE = 44100
MEMORY = 512e6  # bytes that all of them together may add
FORMATS = ["wav", "flac", "mp3", "ogg", "m4a", "aiff", "opus", "wma", "aac"]
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


def peak_memory() -> float:
    """The most bytes that the process has held."""
    if sys.platform == "win32":
        return 0.0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


MUTATIONS = [cut, flip, flip, lie, lie, blank, shuffle, empty]


def encode(path: Path, codec: str, music: np.ndarray) -> None:
    """Write a format that Apollo only reads."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="stereo")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(music, "fltp", "stereo")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, make_music: Callable[..., np.ndarray]) -> dict[str, bytes]:
    """Half a second in each format."""
    folder = tmp_path_factory.mktemp("originals")
    music = make_music(0.5)
    for name in ("wav", "flac", "mp3", "m4a", "opus"):
        write(folder / f"song.{name}", music, RATE, tags={"title": "A song"})
    soundfile.write(folder / "song.ogg", music.T, RATE, format="OGG", subtype="VORBIS")
    soundfile.write(folder / "song.aiff", music.T, RATE, format="AIFF")
    encode(folder / "song.wma", "wmav2", music)
    encode(folder / "song.aac", "aac", music)
    return {name: (folder / f"song.{name}").read_bytes() for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_whole_files_are_restored(
    name: str, originals: dict[str, bytes], tmp_path: Path, make_music: Callable[..., np.ndarray]
) -> None:
    (tmp_path / f"song.{name}").write_bytes(originals[name])
    restorer = Restorer(Apollo(win=100, feature_dim=16, layer=1, output="residual"), 1)
    (outcome,) = restore_files(plan([tmp_path]), restorer, Output(), force=True)
    assert outcome.report is not None, outcome.message
    restored, rate = read(outcome.report.target)
    assert restored.shape[0] == 2
    seen = np.abs(np.fft.rfft(resample(restored, rate, RATE)[0], 1 << 15))[:4000]
    expected = np.abs(np.fft.rfft(make_music(0.5)[0], 1 << 15))[:4000]
    assert np.corrcoef(seen, expected)[0, 1] > 0.9


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_restored_or_refused(
    name: str, originals: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # what was left out of damaged files is logged, file by file
    restorer = Restorer(Apollo(win=100, feature_dim=16, layer=1, output="residual"), 1)
    threads, memory = threading.active_count(), peak_memory()
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
        force = random.random() < 0.7

        def work(source: Path = source, outcomes: list[str] = outcomes, force: bool = force) -> None:
            messages = []
            try:
                inspect(source)
            except ApolloError as error:
                messages.append(str(error))
            for outcome in restore_files(plan([source]), restorer, Output(), force=force):
                messages.append(outcome.message)
                outcomes.append(outcome.status)
            assert not any("\n" in message for message in messages)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(LONGEST)
        assert not worker.is_alive(), f"{source} hangs"
        assert len(outcomes) == 1, f"{source} ended in an exception"
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
    assert peak_memory() - memory < MEMORY
