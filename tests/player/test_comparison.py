import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio import read, resample, write
from apollo.errors import AudioFileError
from apollo.player import Compared, comparison, data_uri, look_at
from apollo.player import compare as compared

RATE = 44_100


class Player(HTMLParser):
    """What a player is made of: its own attributes, and for each figure its attributes and the sound it holds."""

    def __init__(self, found: Compared) -> None:
        super().__init__()
        self.figures: list[dict[str, str | None]] = []
        self.sounds: list[list[tuple[np.ndarray, int]]] = []
        self.feed(found.player)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "apollo-player":
            self.about = given
        elif tag == "figure":
            self.figures.append(given)
            self.sounds.append([])
        elif tag == "audio":
            data = base64.b64decode(str(given["src"]).partition(",")[2])
            sound, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
            self.sounds[-1].append((sound.T, rate))

    def sound(self, number: int) -> np.ndarray:
        return np.concatenate([part for part, _ in self.sounds[number]], axis=1)


@pytest.fixture
def files(tmp_path: Path, song: np.ndarray) -> tuple[Path, Path]:
    """A recording and a version of it with more treble, in FLAC of 24 bits."""
    changed = song + 0.3 * np.diff(song, axis=1, prepend=0)
    write(tmp_path / "before.flac", song, RATE)
    write(tmp_path / "after.flac", changed, RATE)
    return tmp_path / "before.flac", tmp_path / "after.flac"


def player(one: Path, other: Path, **options: object) -> Player:
    return Player(compared(look_at(one), look_at(other), data_uri, **options))  # type: ignore[arg-type]


def test_sounds_are_those_of_the_files_in_16_bits(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "CHUNK", 1)
    found = player(*files)
    for number, path in enumerate(files):
        assert len(found.sounds[number]) == 3
        assert np.abs(found.sound(number) - read(path)[0]).max() <= 0.5 / 32768 + 1e-7
    assert found.sounds[2] == []  # the difference is made while it is heard
    assert found.about["data-samples"] == str(3 * RATE)


def test_what_lies_in_time_or_at_another_rate_is_brought_into_step(files: tuple[Path, Path], tmp_path: Path) -> None:
    song, changed = (read(path)[0] for path in files)
    late = np.concatenate([np.zeros((2, 1105), np.float32), changed], axis=1)
    write(tmp_path / "late.flac", late, RATE)
    for found in (player(files[0], tmp_path / "late.flac"), player(tmp_path / "late.flac", files[0])):
        one, other = found.sound(0), found.sound(1)
        assert one.shape == other.shape == song.shape
        assert {np.abs(sound - song).max() < 1e-4 for sound in (one, other)} == {True, False}
        assert {np.abs(sound - changed).max() < 1e-4 for sound in (one, other)} == {True, False}
    write(tmp_path / "half.flac", resample(song, RATE, RATE // 2), RATE // 2)
    found = player(tmp_path / "half.flac", files[0])
    assert found.about["data-rate"] == str(RATE)
    assert np.abs(found.sound(1) - song).max() < 1e-4
    smooth = resample(resample(song, RATE, RATE // 2), RATE // 2, RATE)
    assert np.abs(found.sound(0) - smooth)[:, 1000:-1000].max() < 1e-3


def test_louder_sound_is_turned_down_and_the_difference_is_of_equal_levels(tmp_path: Path, song: np.ndarray) -> None:
    write(tmp_path / "loud.flac", song, RATE)
    write(tmp_path / "soft.flac", 0.5 * song, RATE)
    loud, soft, _ = player(tmp_path / "loud.flac", tmp_path / "soft.flac").figures
    assert float(str(loud["data-gain"])) == pytest.approx(0.5, abs=0.01)
    assert float(str(soft["data-gain"])) == 1
    assert float(str(soft["data-level"])) == pytest.approx(2, rel=1e-3)
    _, soft, _ = player(tmp_path / "loud.flac", tmp_path / "soft.flac", gain_db=-6.0).figures
    assert float(str(soft["data-level"])) == pytest.approx(10 ** (6 / 20), rel=1e-4)


def test_peaks_beyond_full_scale_are_not_clipped(tmp_path: Path, song: np.ndarray) -> None:
    song = song / np.abs(song).max()
    write(tmp_path / "one.wav", song, RATE, "FLOAT")
    write(tmp_path / "two.wav", 2 * song, RATE, "FLOAT")
    found = player(tmp_path / "one.wav", tmp_path / "two.wav")
    assert np.abs(found.sound(1) - song).max() < 1e-4
    assert np.abs(found.sound(0) - 0.5 * song).max() < 1e-4


def test_mono_beside_stereo_is_heard_on_both_sides(files: tuple[Path, Path], tmp_path: Path) -> None:
    mono = read(files[0])[0].mean(axis=0, keepdims=True)
    write(tmp_path / "mono.flac", mono, RATE)
    found = player(tmp_path / "mono.flac", files[1])
    assert np.abs(found.sound(0) - np.repeat(mono, 2, axis=0)).max() < 1e-4


def test_long_sound_is_light_where_it_may_be(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "CHUNK", 1)
    monkeypatch.setattr(comparison, "LOSSLESS_SECONDS", 2.0)
    found = player(*files, light=True)
    lead = int(str(found.about["data-lead"]))
    assert lead == 4410
    lengths = [part.shape[1] / rate for part, rate in found.sounds[0]]
    assert lengths == pytest.approx([1.0, 1.1, 1.1], abs=0.02)
    assert {rate for _, rate in found.sounds[0]} == {48_000}
    assert player(*files).about["data-lead"] == "0"


def test_different_music_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(9).standard_normal((2, 3 * RATE))
    write(tmp_path / "noise.flac", noise, RATE)
    with pytest.raises(AudioFileError, match="not the same music; give two versions of one recording"):
        player(files[0], tmp_path / "noise.flac")


def test_silence_can_be_compared(tmp_path: Path) -> None:
    write(tmp_path / "silent.flac", np.zeros((1, RATE)), RATE)
    found = player(tmp_path / "silent.flac", tmp_path / "silent.flac")
    assert all(len(json.loads(str(figure["data-spectrum"]))) == 256 for figure in found.figures)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    broken = np.zeros((1, RATE), np.float32)
    broken[0, 100] = np.nan
    soundfile.write(tmp_path / "nan.wav", broken.T, RATE, "FLOAT")
    with pytest.raises(AudioFileError, match="NaN or infinite samples"):
        look_at(tmp_path / "nan.wav")


def test_names_are_text(files: tuple[Path, Path]) -> None:
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>\x1b[31m', "d")
    found = compared(look_at(files[0]), look_at(files[1]), data_uri, names)
    assert re.findall(r"<script|<img (?!src=\"data:)|\x1b", found.player) == []
    assert Player(found).figures[0]["data-name"] == names[0]
