"""Files are restored in constant memory, appear whole or not at all, and are never clipped in silence."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from apollo.audio import read, write
from apollo.audio.signal import Signal
from apollo.errors import AudioFileError
from apollo.nn import Apollo
from apollo.restoration import Restorer, restore_file

STEP = 2.0**-23  # of a 24-bit sample


@pytest.fixture
def identity() -> Restorer:
    """An untrained residual network changes nothing."""
    return Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1)


@pytest.fixture
def source(tmp_path: Path, music: np.ndarray) -> Path:
    write(tmp_path / "song.wav", music[:, :100_000], 44100, "FLOAT", tags={"title": "A song"})
    return tmp_path / "song.wav"


def test_file_equals_the_waveform_in_memory(source: Path, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("residual"), 1)
    steps: list[tuple[float, float]] = []
    report = restore_file(source, None, restorer, progress=lambda done, total: steps.append((done, total)))
    assert report.target == source.with_name("song.restored.flac")
    info = soundfile.info(report.target)
    assert (info.format, info.subtype, info.frames, info.channels) == ("FLAC", "PCM_24", 100_000, 2)
    expected = restorer(read(source)[0])
    assert report.turned_down_db == pytest.approx(20 * np.log10(max(1, np.abs(expected).max())), abs=1e-4)
    expected *= 10 ** (-report.turned_down_db / 20)
    assert np.abs(read(report.target)[0] - expected).max() <= STEP
    assert report.seconds == pytest.approx(100_000 / 44100)
    assert report.speed == pytest.approx(report.seconds / report.elapsed)
    assert steps == sorted(steps)
    assert steps[-1] == (report.seconds, report.seconds)


def test_tags_are_kept(source: Path, identity: Restorer) -> None:
    report = restore_file(source, None, identity)
    with soundfile.SoundFile(report.target) as file:
        assert file.title == "A song"


def test_result_beyond_full_scale_is_turned_down_as_a_whole(
    tmp_path: Path, music: np.ndarray, identity: Restorer
) -> None:
    loud = music[:, :60_000] * np.float32(2 / np.abs(music[:, :60_000]).max())
    write(tmp_path / "loud.wav", loud, 44100, "FLOAT")
    report = restore_file(tmp_path / "loud.wav", None, identity)
    assert report.turned_down_db == pytest.approx(6.02, abs=0.01)
    assert report.peak_db == pytest.approx(6.02, abs=0.01)
    assert np.abs(read(report.target)[0] - loud / 2).max() <= 2 * STEP


def test_quiet_and_full_scale_files_keep_their_level(tmp_path: Path, music: np.ndarray, identity: Restorer) -> None:
    for gain in (0.01, 1 / np.abs(music[:, :60_000]).max()):
        given = np.float32(gain) * music[:, :60_000]
        write(tmp_path / "song.wav", given, 44100, "FLOAT")
        report = restore_file(tmp_path / "song.wav", None, identity, overwrite=True)
        assert report.turned_down_db == pytest.approx(0, abs=1e-4)
        assert np.abs(read(report.target)[0] - given).max() <= 2 * STEP


@pytest.mark.parametrize(("sample_rate", "channels"), [(8000, 1), (48000, 2), (96000, 3), (22050, 8), (192000, 2)])
def test_rate_length_and_channels_are_kept(
    tmp_path: Path, make_music: Callable[..., np.ndarray], identity: Restorer, sample_rate: int, channels: int
) -> None:
    music = make_music(1.3, channels, sample_rate)
    write(tmp_path / "song.wav", music, sample_rate)
    report = restore_file(tmp_path / "song.wav", tmp_path / "out.wav", identity)
    restored, rate = read(report.target)
    assert (restored.shape, rate) == (music.shape, sample_rate)
    assert soundfile.info(report.target).subtype == "PCM_24"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "FLOAT", "DOUBLE"])
def test_samples_of_all_kinds_are_read(tmp_path: Path, music: np.ndarray, identity: Restorer, subtype: str) -> None:
    soundfile.write(tmp_path / "song.wav", music[:, :30_000].T, 44100, subtype)
    report = restore_file(tmp_path / "song.wav", tmp_path / "out.wav", identity)
    assert np.abs(read(report.target)[0] - read(tmp_path / "song.wav")[0]).max() <= 2 * STEP


@pytest.mark.parametrize("sample_rate", [4, 999, 2_000_000])
def test_sample_rates_of_no_recording_are_refused(tmp_path: Path, identity: Restorer, sample_rate: int) -> None:
    soundfile.write(tmp_path / "song.wav", np.zeros((100, 1)), sample_rate)
    with pytest.raises(AudioFileError, match=f"song.wav says that its sample rate is {sample_rate} Hz"):
        restore_file(tmp_path / "song.wav", None, identity)


def test_silence_stays_silent(tmp_path: Path, make_model: Callable[..., Apollo]) -> None:
    write(tmp_path / "silence.wav", np.zeros((2, 30_000)), 44100)
    report = restore_file(tmp_path / "silence.wav", None, Restorer(make_model("direct")))
    assert report.peak_db == -np.inf
    assert not read(report.target)[0].any()


def test_existing_file_is_replaced_only_when_told(source: Path, identity: Restorer) -> None:
    target = source.with_name("song.restored.flac")
    target.write_bytes(b"mine")
    with pytest.raises(AudioFileError, match="exists already"):
        restore_file(source, None, identity)
    assert target.read_bytes() == b"mine"
    restore_file(source, None, identity, overwrite=True)
    assert read(target)[0].shape == (2, 100_000)


def test_source_is_never_replaced(source: Path, identity: Restorer) -> None:
    before = source.read_bytes()
    with pytest.raises(AudioFileError, match="own restoration"):
        restore_file(source, source.parent / "." / "song.wav", identity, overwrite=True)
    assert source.read_bytes() == before


def test_failures_leave_nothing_behind(source: Path, music: np.ndarray, identity: Restorer) -> None:
    folder = source.parent
    broken = music[:, :1000].copy()
    broken[0, 500] = np.nan
    write(folder / "nan.wav", broken, 44100, "FLOAT")
    write(folder / "empty.wav", music[:, :0], 44100)
    (folder / "text.mp3").write_text("no sound")
    before = sorted(folder.iterdir())
    for bad in ("nan.wav", "empty.wav", "text.mp3", "missing.wav"):
        with pytest.raises(AudioFileError, match=bad):
            restore_file(folder / bad, None, identity)
    for target in ("song.txt", "no/such/folder.flac"):
        with pytest.raises(AudioFileError):
            restore_file(source, folder / target, identity)
    with torch.no_grad():
        next(identity.model.parameters()).fill_(torch.nan)
    with pytest.raises(AudioFileError, match="use another model"):
        restore_file(source, None, identity)

    def interrupt(done: float, total: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_file(source, None, Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1), progress=interrupt)
    assert sorted(folder.iterdir()) == before


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def double(path: Path) -> None:
    path.write_bytes(2 * path.read_bytes())


@pytest.mark.skipif(sys.platform == "win32", reason="removes an open file")
@pytest.mark.parametrize(
    ("suffix", "change", "says"),
    [
        (".wav", cut, "has changed while it was restored"),
        (".mp3", cut, "has changed while it was restored"),
        (".mp3", double, "has changed while it was restored"),
        (".wav", Path.unlink, "does not exist"),
        (".mp3", Path.unlink, "does not exist"),
    ],
)
def test_a_source_that_changes_on_the_way_is_told(
    suffix: str,
    change: Callable[[Path], object],
    says: str,
    tmp_path: Path,
    music: np.ndarray,
    identity: Restorer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = tmp_path / f"song{suffix}"
    write(source, music[:, :100_000], 44100)
    measure = Signal.measure

    def measured(signal: Signal) -> tuple[list[float], int]:
        found = measure(signal)
        change(source)
        return found

    monkeypatch.setattr(Signal, "measure", measured)
    with pytest.raises(AudioFileError, match=says):
        restore_file(source, tmp_path / "a.flac", identity)
    assert [path for path in tmp_path.iterdir() if path != source] == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files through setrlimit")
@pytest.mark.parametrize("limit", [1 << 12, 799_900, 900_000])
def test_full_disk_is_one_sentence(source: Path, tmp_path: Path, limit: int, run_fork: Callable[..., Any]) -> None:
    # 100 000 samples of two channels: 600 kB in the result, 800 kB in between, and the last block is left in a buffer.
    program = """
import resource, sys
from apollo.errors import AudioFileError
from apollo.nn import Apollo
from apollo.restoration import Restorer, restore_file
restorer = Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    restore_file(sys.argv[1], None, restorer)
except AudioFileError as error:
    print(error)
"""
    before = sorted(tmp_path.iterdir())
    result = run_fork("-c", program, source, limit)
    assert result.returncode == 0, result.stderr
    if limit < 800_000:
        assert re.search(r"^.* cannot be written.*File too large.*\n$", result.stdout)
        assert sorted(tmp_path.iterdir()) == before
    else:
        assert result.stdout == ""


def test_too_little_memory_is_one_sentence(source: Path, identity: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(source.parent.iterdir())

    def on_cuda(*given: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    def on_cpu(*given: object) -> torch.Tensor:
        return torch.empty(1 << 50)

    for forward in (on_cuda, on_cpu):
        monkeypatch.setattr(identity.model, "forward", forward)
        with pytest.raises(AudioFileError, match=r"memory ran out: use a smaller --chunk, or --device cpu$"):
            restore_file(source, None, identity)
    assert sorted(source.parent.iterdir()) == before

    def broken(*given: object) -> torch.Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(identity.model, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        restore_file(source, None, identity)


@pytest.mark.skipif(sys.platform == "win32", reason="counts UTF-16 units rather than bytes")
def test_long_names_work_or_are_one_sentence(source: Path, identity: Restorer) -> None:
    for characters in (80, 83):
        long = source.rename(source.with_name(characters * "歌" + ".wav"))
        if characters == 80:
            assert restore_file(long, None, identity).target.is_file()
            source = long
        else:
            with pytest.raises(AudioFileError, match="File name too long"):
                restore_file(long, None, identity)
    with pytest.raises(AudioFileError, match="File name too long"):
        restore_file(source.with_name(300 * "a" + ".wav"), source.with_name("out.flac"), identity)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="measures peak memory through getrusage")
def test_memory_does_not_grow_with_the_file(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    program = """
import resource, sys
import torch
import numpy as np, soundfile
from apollo.nn import Apollo
from apollo.restoration import Restorer, restore_file
torch.set_num_threads(1)
minutes, folder = int(sys.argv[1]), sys.argv[2]
with soundfile.SoundFile(f"{folder}/{minutes}.wav", "w", 8000, 1, "PCM_16") as file:
    for _ in range(minutes):
        file.write(np.random.default_rng(0).uniform(-0.5, 0.5, 60 * 8000))
restore_file(f"{folder}/{minutes}.wav", None, Restorer(Apollo(8000, 200, 16, 1, output="residual"), 5))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = [int(run_python("-c", program, minutes, tmp_path).stdout) for minutes in ("1", "10")]
    unit = 1 if sys.platform == "darwin" else 1024
    # Nine minutes more would be 17 MB as float32, let alone as features.
    assert (peaks[1] - peaks[0]) * unit < 12e6
