"""Whatever lies in a folder, looking at it and training on it end in a report, never in a crash."""

import logging
import re
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apollo.data.check import check
from apollo.data.folders import MusicFolder, files_of, find_tracks
from apollo.data.layouts import any_layout, two_folders
from apollo.data.pairs import PairCrops, open_pairs
from apollo.errors import DataError

RATE = 44100


def noise(seconds: float, channels: int = 2, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))


def wav_bytes(claimed: int) -> bytes:
    """A WAV file of 0.5 s whose header claims another length."""
    samples = (noise(0.5)[:, :1] * 32767).astype("<i2").tobytes()
    head = b"RIFF" + struct.pack("<I", claimed & 0xFFFFFFFF) + b"WAVEfmt "
    head += struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return head + b"data" + struct.pack("<I", claimed & 0xFFFFFFFF) + samples


def truncated(path: Path) -> None:
    soundfile.write(path, noise(1), RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def with_nan(path: Path) -> None:
    waveform = noise(1).astype(np.float32)
    waveform[100:200] = np.nan
    soundfile.write(path, waveform, RATE, "FLOAT", format="WAV")


Make = Callable[[Path], object]

# What to put on disk, under which ending, and whether training can use it.
FILES: dict[str, tuple[str, Make, bool]] = {
    "good": (".flac", lambda path: soundfile.write(path, noise(1), RATE), True),
    "good mp3": (".mp3", lambda path: soundfile.write(path, noise(1), RATE, format="MP3"), True),
    "good ogg": (".ogg", lambda path: soundfile.write(path, noise(1), RATE), True),
    "empty": (".wav", lambda path: path.write_bytes(b""), False),
    "header only": (".flac", lambda path: path.write_bytes(b"fLaC\0\0\0\x22"), False),
    "no samples": (".wav", lambda path: soundfile.write(path, np.zeros((0, 2)), RATE), False),
    "one sample": (".wav", lambda path: soundfile.write(path, np.ones((1, 1)), RATE), False),
    "truncated": (".flac", truncated, True),
    "text renamed": (".wav", lambda path: path.write_text("these are liner notes, not audio\n" * 50), False),
    "zip renamed": (".mp3", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 40), False),
    "zeros renamed": (".m4a", lambda path: path.write_bytes(bytes(10000)), False),
    "huge claim": (".wav", lambda path: path.write_bytes(wav_bytes(0xFFFFFF00)), True),
    "small claim": (".wav", lambda path: path.write_bytes(wav_bytes(44100)), True),
    "nan": (".wav", with_nan, True),
    "eight channels": (".wav", lambda path: soundfile.write(path, noise(1, 8), RATE), True),
    "8 kHz": (".wav", lambda path: soundfile.write(path, noise(1, 1, 8000), 8000), True),
    "192 kHz": (".wav", lambda path: soundfile.write(path, noise(0.5, 2, 192000), 192000), True),
    "silent": (".wav", lambda path: soundfile.write(path, np.zeros((RATE, 2)), RATE), True),
    "folder": (".wav", lambda path: path.mkdir(), False),
    "loose end": (".wav", lambda path: path.symlink_to(path.parent / "nowhere"), False),
}
KINDS = sorted(FILES)
HOSTILE = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def fill(root: Path, kinds: list[str]) -> list[Path]:
    paths = []
    for number, kind in enumerate(kinds):
        ending, make, _ = FILES[kind]
        path = root / ("deep ünïcode ♪" if number % 3 == 2 else "") / f"{number} {kind}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        paths.append(path)
    return paths


@pytest.fixture(autouse=True)
def no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@HOSTILE
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
@example(kinds=KINDS)
def test_hostile_folders_train_or_tell(kinds: list[str]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        paths = fill(root, kinds)
        before = {path: path.read_bytes() for path in paths if path.is_file()}
        usable = [path for path, kind in zip(paths, kinds, strict=True) if FILES[kind][2]]
        if not usable:
            with pytest.raises(DataError, match=re.escape(str(root))):
                find_tracks(root)
        else:
            tracks = find_tracks(root)
            assert sorted(track.path for track in tracks) == sorted(usable)
            source = MusicFolder(tracks, RATE)
            for seed in range(3):
                crop = source.draw(np.random.default_rng(seed), RATE)
                assert crop.shape == (2, RATE)
                assert np.isfinite(crop).all()
        assert {path: path.read_bytes() for path in before} == before


@HOSTILE
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
@example(kinds=KINDS)
def test_hostile_folders_are_reported_on(kinds: list[str]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root, kinds)
        if not files_of(root):
            with pytest.raises(DataError, match="holds no audio"):
                check([root])
            return
        rows = check([root])
        assert len(rows) == len(files_of(root))
        for row in rows:
            assert row.original is not None
            kind = Path(row.original).stem.split(" ", 1)[1]
            fine = FILES[kind][2] and kind not in ("nan", "silent")
            assert (row.problem is None) == fine, row
            if row.problem is not None:
                assert "\n" not in row.problem


@HOSTILE
@given(pairs=st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)), min_size=1, max_size=4))
def test_hostile_pairs_train_or_tell(pairs: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for number, kinds in enumerate(pairs):
            for side, kind in zip(("original", "codec"), kinds, strict=True):
                ending, make, _ = FILES[kind]
                path = root / side / f"{number}{ending}"
                path.parent.mkdir(exist_ok=True)
                make(path)
        logging.getLogger("apollo").setLevel(logging.WARNING)
        try:
            found = two_folders(root / "original", root / "codec")
            opened = open_pairs(found)
        except DataError:
            assert ("good", "good") not in pairs
        else:
            crop = PairCrops(opened, RATE // 2, RATE, 0)[0]
            assert all(side.isfinite().all() for side in crop.values())
        if files_of(root):
            any_layout(root)
            assert all(row.problem is None or "\n" not in row.problem for row in check([root]))
