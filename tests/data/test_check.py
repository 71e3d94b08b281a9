"""`apollo data check` tells what training could use, and never fails on what people have on disk."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from apollo.audio import degrade, read
from apollo.audio.levels import Clipping
from apollo.cli import app
from apollo.data.check import check
from apollo.errors import DataError

RATE = 44100
REAL = Path(__file__).parents[2] / "examples" / "originals" / "dodgems-beat.flac"


@pytest.fixture(autouse=True)
def no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def song() -> np.ndarray:
    return read(REAL)[0]


def test_a_pair_is_described_in_full(tmp_path: Path, song: np.ndarray) -> None:
    folder = tmp_path / "song"
    folder.mkdir()
    shutil.copy(REAL, folder / "original.flac")
    damaged = np.pad(degrade(song, RATE, bitrate=64000), ((0, 0), (1105, 0)))
    soundfile.write(folder / "codec.wav", 0.9 * damaged.T, RATE)
    (row,) = check([tmp_path])
    assert (row.original, row.codec) == (str(folder / "original.flac"), str(folder / "codec.wav"))
    assert (row.sample_rate, row.codec_sample_rate, row.channels, row.codec_channels) == (RATE, RATE, 2, 2)
    assert (row.samples, row.codec_samples) == (song.shape[1], song.shape[1] + 1105)
    assert row.lag == pytest.approx(1105, abs=0.5)
    assert row.gain_db == pytest.approx(20 * np.log10(0.9), abs=0.2)
    assert (row.polarity, row.swapped, row.problem, row.lossy) == (1, False, None, False)
    assert row.similarity is not None
    assert row.similarity > 0.5
    assert row.peak_db == pytest.approx(20 * np.log10(np.abs(song).max()), abs=0.01)


@pytest.mark.parametrize(("kind", "subtype", "rate"), [("OGG", "OPUS", 48_000), ("WAV", "GSM610", 8_000)])
def test_an_original_in_a_lossy_format_is_told_whatever_its_spectrum(
    tmp_path: Path, kind: str, subtype: str, rate: int
) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(rate)
    soundfile.write(tmp_path / f"a.{kind.lower()}", noise, rate, subtype, format=kind)
    (row,) = check([tmp_path])
    assert row.lossy


def test_an_mp3_in_disguise_is_told(tmp_path: Path, song: np.ndarray) -> None:
    soundfile.write(tmp_path / "fake.wav", degrade(song, RATE, bitrate=128000).T, RATE)
    shutil.copy(REAL, tmp_path / "true.flac")
    fake, true = check([tmp_path])
    assert fake.lossy
    assert not true.lossy
    assert fake.bitrate in (96, 112, 128, 160)
    assert fake.cutoff_hz is not None
    assert 15000 < fake.cutoff_hz < 18000


def test_clipping_and_silence_are_measured(tmp_path: Path, song: np.ndarray) -> None:
    waveform = np.concatenate([np.clip(song * 4, -1, 1), np.zeros_like(song)], axis=1)
    soundfile.write(tmp_path / "loud.wav", waveform.T, RATE, "FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros((RATE, 2)), RATE)
    loud, silent = check([tmp_path])
    assert loud.clipped is not None
    assert loud.clipped > 10
    assert loud.silent == pytest.approx(0.5, abs=0.05)
    assert silent.problem is not None
    assert "silent" in silent.problem


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_clipped_peaks_are_counted_the_same_in_any_blocks(block: int) -> None:
    rng = np.random.default_rng(0)
    waveform = np.where(rng.random((2, 600)) < 0.6, 1.0, 0.1).astype(np.float32)
    expected = 0
    for channel in waveform:
        runs = "".join("1" if sample == 1 else " " for sample in channel).split()
        expected += sum(len(run) >= 3 for run in runs)
    clipping = Clipping()
    for start in range(0, 600, block):
        clipping.take(waveform[:, start : start + block])
    assert clipping.peaks == expected


def test_the_command_prints_a_table_or_json_and_fails_on_what_is_unusable(tmp_path: Path) -> None:
    good = tmp_path / "good" / "song"
    good.mkdir(parents=True)
    for name in ("original.flac", "codec.flac"):
        shutil.copy(REAL, good / name)
    runner = CliRunner()
    told = runner.invoke(app, ["data", "check", str(tmp_path)], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    assert "1 pair(s): 1 usable" in told.stdout
    assert "44100" in told.stdout
    (good.parent / "broken.wav").write_bytes(b"RIFF but not audio")
    told = runner.invoke(app, ["data", "check", str(tmp_path), "--json"])
    assert told.exit_code == 1
    rows = json.loads(told.stdout)
    assert len(rows) == 2
    assert {"original", "codec", "lag", "polarity", "gain_db", "lossy", "problem"} <= set(rows[0])
    assert sum(row["problem"] is not None for row in rows) == 1


def test_a_wrong_path_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        check([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="holds no audio"):
        check([tmp_path])
