"""Results are in the format, at the rate and at the level that was asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from apollo.audio import AudioReader, Cover, info, read, read_cover, resample, write
from apollo.audio.levels import measure_levels
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Output, Restorer, restore_file

STEP = 2.0**-15  # of a 16-bit sample
PICTURE = Path(__file__).parents[2] / "docs" / "example.png"


@pytest.fixture(scope="module")
def identity() -> Restorer:
    return Restorer(Apollo(win=100, feature_dim=16, layer=1, output="residual"), 1)


@pytest.fixture
def loud(tmp_path: Path, music: np.ndarray) -> Path:
    """A recording whose peak is 2."""
    music = music[:, :50_000]
    write(tmp_path / "loud.wav", 2 * music / np.abs(music).max(), 44100, "FLOAT", tags={"title": "Loud"})
    return tmp_path / "loud.wav"


@pytest.mark.parametrize(
    ("name", "bits", "subtype"),
    [
        ("a.flac", None, "PCM_24"),
        ("a.flac", "16", "PCM_16"),
        ("a.wav", "16", "PCM_16"),
        ("a.wav", "24", "PCM_24"),
        ("a.wav", "float", "FLOAT"),
    ],
)
def test_samples_are_of_the_kind_asked_for(
    loud: Path, identity: Restorer, name: str, bits: str | None, subtype: str
) -> None:
    report = restore_file(loud, loud.with_name(name), identity, output=Output(bits))
    assert soundfile.info(report.target).subtype == subtype
    scale = 1 if bits == "float" else 0.5  # floats need no turning down
    assert report.turned_down_db == pytest.approx(-20 * np.log10(scale), abs=0.01)
    assert np.abs(read(report.target)[0] - scale * read(loud)[0]).max() <= 2 * STEP


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.opus"])
def test_lossy_formats_hold_sound_and_tags(loud: Path, identity: Restorer, name: str) -> None:
    report = restore_file(loud, loud.with_name(name), identity)
    restored, rate = read(report.target)
    assert report.turned_down_db == pytest.approx(6.02, abs=0.01)
    assert rate == report.sample_rate == (48000 if name == "a.opus" else 44100)  # Opus has no other
    restored = resample(restored, rate, 44100)
    assert abs(restored.shape[1] - 50_000) <= 2048
    assert np.corrcoef(restored[0, 2000:48_000], read(loud)[0][0, 2000:48_000])[0, 1] > 0.95
    assert info(report.target).tags["title"] == "Loud"


def test_sample_rate_is_changed_when_told(tmp_path: Path, music: np.ndarray, identity: Restorer) -> None:
    write(tmp_path / "song.wav", music[:, :50_000], 48000)
    for wanted, frames in ((None, 50_000), (44100, round(50_000 * 44100 / 48000))):
        report = restore_file(tmp_path / "song.wav", None, identity, True, output=Output(sample_rate=wanted))
        assert report.sample_rate == soundfile.info(report.target).samplerate == (wanted or 48000)
        assert soundfile.info(report.target).frames == frames
        assert report.seconds == pytest.approx(50_000 / 48000)


def test_clamped_peaks_are_counted_and_the_rest_is_left_alone(loud: Path, identity: Restorer) -> None:
    report = restore_file(loud, None, identity, output=Output(clip="clamp"))
    given = read(loud)[0]
    assert report.clamped == pytest.approx(np.count_nonzero(np.abs(given) > 1), rel=0.01)
    assert report.turned_down_db == 0
    assert np.abs(read(report.target)[0] - given.clip(-1, 1)).max() <= 2 * STEP


def test_float_leaves_peaks_as_they_are(loud: Path, identity: Restorer) -> None:
    report = restore_file(loud, loud.with_name("a.wav"), identity, output=Output(clip="float"))
    assert np.abs(read(report.target)[0]).max() == pytest.approx(2, abs=1e-3)
    assert (report.turned_down_db, report.clamped) == (0, 0)


def test_cover_is_kept_or_said_to_be_lost(tmp_path: Path, music: np.ndarray, identity: Restorer) -> None:
    picture = Cover.of(PICTURE.read_bytes())
    write(tmp_path / "song.flac", music[:, :20_000], 44100, tags={"artist": "É"}, cover=picture)
    kept = restore_file(tmp_path / "song.flac", tmp_path / "out.mp3", identity)
    cover = read_cover(kept.target)
    assert cover is not None
    assert cover.data == picture.data
    assert info(kept.target).tags["artist"] == "É"
    assert "cover" not in kept.lost
    write(tmp_path / "odd.mp3", music[:, :20_000], 44100)
    ape = b"Cover Art (Front)\0front.gif\0no picture"
    items = (len(ape) - 18).to_bytes(4, "little") + b"\2\0\0\0" + ape
    footer = b"APETAGEX" + b"".join(n.to_bytes(4, "little") for n in (2000, len(items) + 32, 1, 1 << 31)) + bytes(8)
    with (tmp_path / "odd.mp3").open("ab") as file:
        file.write(items + footer)
    assert restore_file(tmp_path / "odd.mp3", tmp_path / "out.wav", identity).lost == ("cover",)


def test_times_are_kept_when_told(loud: Path, identity: Restorer) -> None:
    os.utime(loud, (1_000_000_000, 1_100_000_000))
    assert restore_file(loud, None, identity).target.stat().st_mtime > 1_500_000_000
    report = restore_file(loud, None, identity, overwrite=True, output=Output(keep_times=True))
    assert report.target.stat().st_mtime == 1_100_000_000


@pytest.mark.parametrize(
    "options", [{"bits": "8"}, {"clip": "never"}, {"clip": "float", "bits": "16"}, {"sample_rate": 1}]
)
def test_what_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ApolloError, match=r"^[^\n]+$"):
        Output(**options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.flac", {"bits": "float"}), ("a.flac", {"clip": "float"}), ("a.mp3", {"bits": "16"})],
)
def test_what_a_format_cannot_hold_is_refused(
    loud: Path, identity: Restorer, name: str, options: dict[str, str]
) -> None:
    with pytest.raises(ApolloError, match=name):
        restore_file(loud, loud.with_name(name), identity, output=Output(**options))
    assert not loud.with_name(name).exists()


def loudness_of(path: Path) -> float:
    with AudioReader(path) as reader:
        loudness = measure_levels(reader).loudness
    assert loudness is not None
    return loudness


@pytest.mark.parametrize("clip", ["scale", "clamp", "float"])
@pytest.mark.parametrize("peak", [0.05, 1.0])
def test_loudness_is_matched_as_far_as_peaks_allow(tmp_path: Path, music: np.ndarray, clip: str, peak: float) -> None:
    torch.manual_seed(1)
    stranger = Restorer(Apollo(win=100, feature_dim=16, layer=1), 1)  # it has learnt nothing, no level either
    source = tmp_path / "song.wav"
    write(source, peak * music[:, :90_000] / np.abs(music[:, :90_000]).max(), 44100, "FLOAT")
    as_it_is = restore_file(source, tmp_path / "a.wav", stranger, output=Output("float"))
    matched = restore_file(source, tmp_path / "b.wav", stranger, output=Output(clip=clip, match_loudness=True))
    given, before, after = (loudness_of(path) for path in (source, as_it_is.target, matched.target))
    assert abs(before - given) > 1
    assert matched.matched_db == pytest.approx(given - before, abs=0.05)
    if clip == "clamp":
        assert np.abs(read(matched.target)[0]).max() <= 1
        assert bool(matched.clamped) == bool(
            (np.abs(read(tmp_path / "a.wav")[0]) > 10 ** ((before - given) / 20)).any()
        )
    else:
        assert after == pytest.approx(given - matched.turned_down_db, abs=0.1)
    if clip == "scale":
        assert np.abs(read(matched.target)[0]).max() <= 1
        assert bool(matched.turned_down_db) == (np.abs(read(matched.target)[0]).max() > 0.999)


def test_silence_has_no_loudness_to_match(tmp_path: Path, identity: Restorer) -> None:
    write(tmp_path / "silence.wav", np.zeros((2, 50_000), np.float32), 44100)
    report = restore_file(tmp_path / "silence.wav", None, identity, output=Output(match_loudness=True))
    assert report.matched_db == 0
    assert not read(report.target)[0].any()
