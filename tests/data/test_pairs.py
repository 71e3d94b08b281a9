"""Pairs made outside are laid sample on sample; what cannot be is refused by name."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr

from apollo.audio import lag, read
from apollo.data import pairs as module
from apollo.data.layouts import Found, song_folders, two_folders
from apollo.data.pairs import PairCrops, WholePairs, open_pairs, read_pair
from apollo.errors import DataError

RATE = 44100


@pytest.fixture(autouse=True)
def no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def song() -> np.ndarray:
    """Eight seconds of real music, stereo."""
    waveform, rate = read(Path(__file__).parents[2] / "examples" / "originals" / "dodgems-beat.flac")
    assert rate == RATE
    return waveform[:, : 8 * RATE]


def encode(path: Path, waveform: np.ndarray, codec: str, bitrate: int, rate: int = RATE, **options: str) -> None:
    """Encode with FFmpeg into a container of its own choice, as people do."""
    if rate != RATE:
        waveform = soxr.resample(waveform.T, RATE, rate).T
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo" if len(waveform) == 2 else "mono")
        stream.bit_rate = bitrate
        stream.time_base = Fraction(1, rate)
        layout = stream.layout.name
        for start in range(0, waveform.shape[1], 1 << 16):
            block = np.ascontiguousarray(waveform[:, start : start + (1 << 16)], np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            if stream.format.name != "fltp":
                for converted in av.AudioResampler(stream.format.name, layout, rate).resample(frame):
                    container.mux(stream.encode(converted))
            else:
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def one_pair(root: Path, song: np.ndarray, name: str) -> tuple[Path, Path]:
    (root / "original").mkdir(parents=True)
    (root / "codec").mkdir()
    soundfile.write(root / "original" / "song.flac", song.T, RATE)
    return root / "original", root / "codec" / f"song.{name}"


@pytest.mark.parametrize(
    ("name", "codec", "bitrate", "rate", "options"),
    [
        ("mp3", "libmp3lame", 64000, RATE, {}),
        ("mp3", "libmp3lame", 64000, RATE, {"write_xing": "0"}),
        ("mp3", "libmp3lame", 24000, 22050, {"write_xing": "0"}),
        ("m4a", "aac", 64000, RATE, {}),
        ("aac", "aac", 64000, RATE, {}),
        ("opus", "libopus", 64000, 48000, {}),
    ],
)
def test_crops_are_aligned_whatever_made_the_pair(
    tmp_path: Path, song: np.ndarray, name: str, codec: str, bitrate: int, rate: int, options: dict[str, str]
) -> None:
    original, coded = one_pair(tmp_path, song, name)
    encode(coded, song, codec, bitrate, rate, **options)
    pairs = open_pairs(two_folders(original, coded.parent))
    whole = WholePairs(pairs, RATE)[0]
    assert whole["original"].shape == whole["degraded"].shape
    assert whole["original"].shape[1] > 7.9 * RATE
    # At 24 kbit/s too little of the music is left to tell better; from 32 kbit/s it is within 0.03.
    close = 0.2 if bitrate < 32000 else 0.05
    assert abs(lag(whole["original"].numpy(), whole["degraded"].numpy())) < close
    crop = PairCrops(pairs, 3 * RATE, RATE, seed=1)[0]
    assert crop["original"].shape == crop["degraded"].shape == (2, 3 * RATE)
    assert abs(lag(crop["original"].numpy(), crop["degraded"].numpy())) < close
    assert max(crop["original"].abs().max(), crop["degraded"].abs().max()) == pytest.approx(1)


def test_the_lag_is_said_once_for_a_file(tmp_path: Path, song: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    original, coded = one_pair(tmp_path, song, "wav")
    soundfile.write(coded, np.pad(song, ((0, 0), (1105, 0))).T, RATE)
    with caplog.at_level(logging.INFO, "apollo"):
        pairs = open_pairs(two_folders(original, coded.parent))
        PairCrops(pairs, RATE, RATE, 0)[0]
    assert [record.message for record in caplog.records] == [f"{coded} is 25.06 ms late; corrected"]
    assert pairs[0].lag * RATE == pytest.approx(1105, abs=0.05)


@pytest.mark.parametrize("shift", [-2000, 3000])
def test_where_one_side_ends_the_pair_ends(tmp_path: Path, song: np.ndarray, shift: int) -> None:
    original, coded = one_pair(tmp_path, song, "wav")
    late = np.pad(song, ((0, 0), (shift, 0))) if shift > 0 else song[:, -shift:]
    soundfile.write(coded, late[:, : 6 * RATE].T, RATE, "FLOAT")
    (pair,) = open_pairs(two_folders(original, coded.parent))
    common = 6 * RATE - max(shift, 0)
    assert pair.seconds * RATE == pytest.approx(common, abs=1)
    assert pair.begin * RATE == pytest.approx(max(0, -shift), abs=0.1)
    whole = WholePairs([pair], RATE)[0]
    assert whole["original"].shape[1] == pytest.approx(common, abs=1)
    both = min(whole["original"].shape[1], common) - 1
    np.testing.assert_allclose(whole["original"][:, :both], whole["degraded"][:, :both], atol=2e-4)


def test_long_songs_are_validated_on_in_parts(
    tmp_path: Path, song: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, coded = one_pair(tmp_path, song, "wav")
    soundfile.write(coded, song.T, RATE, "FLOAT")
    pairs = open_pairs(two_folders(original, coded.parent))
    monkeypatch.setattr(module, "LONGEST", 3.0)
    parts = WholePairs(pairs, RATE)
    assert len(parts) == 3  # of eight seconds
    position = 0
    for part in parts:
        piece = song[:, position : position + part["original"].shape[1]]
        for side in part.values():
            np.testing.assert_allclose(side * np.abs(piece).max(), piece, atol=1e-4)
        position += piece.shape[1]
    assert position > song.shape[1] - 4


def test_what_is_shorter_than_a_crop_is_silent_on_both_sides(tmp_path: Path, song: np.ndarray) -> None:
    original, coded = one_pair(tmp_path, song[:, : 2 * RATE], "wav")
    soundfile.write(coded, song[:, : 2 * RATE - 5000].T, RATE)
    crop = PairCrops(open_pairs(two_folders(original, coded.parent)), 3 * RATE, RATE, 0)[0]
    for side in crop.values():
        assert side[:, : 2 * RATE - 5010].abs().max() > 0.1
        assert not side[:, 2 * RATE - 4990 :].any()


def test_unusable_pairs_are_left_out_by_name(
    tmp_path: Path, song: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    original, coded = tmp_path / "original", tmp_path / "codec"
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(song.shape)
    sides = {
        "good": song,
        "upside down": -song,
        "swapped": song[::-1],
        "unrelated": noise,
        "drifting": soxr.resample(song.T, RATE, RATE * 1.0005).T,
        "cut": np.delete(song, np.s_[2 * RATE : 3 * RATE], axis=1),
    }
    for folder in (original, coded):
        folder.mkdir()
    for name, waveform in sides.items():
        soundfile.write(original / f"{name}.wav", song.T, RATE)
        soundfile.write(coded / f"{name}.wav", waveform.T, RATE)
    (coded / "broken.wav").write_bytes(b"not audio")
    soundfile.write(original / "broken.wav", song.T, RATE)
    with caplog.at_level(logging.WARNING):
        pairs = open_pairs(two_folders(original, coded))
    assert [pair.original.path.stem for pair in pairs] == ["good"]
    (record,) = caplog.records
    assert "left out 6 of 7" in record.message
    for name in [*sides, "broken"]:
        assert (f"{name}.wav" in record.message) == (name != "good")


def test_no_pair_left_is_fatal_with_the_first_reason(tmp_path: Path, song: np.ndarray) -> None:
    (tmp_path / "song").mkdir()
    soundfile.write(tmp_path / "song" / "original.wav", song.T, RATE)
    with pytest.raises(DataError, match=r"no usable pair.*lacks codec"):
        open_pairs(song_folders(tmp_path, "original", "codec"))
    with pytest.raises(DataError, match="nothing here holds no usable pair"):
        open_pairs(Found("nothing here"))


def test_relations_are_remembered_until_a_file_changes(
    tmp_path: Path, song: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, coded = one_pair(tmp_path, song, "wav")
    soundfile.write(coded, song.T, RATE)
    found = two_folders(original, coded.parent)
    open_pairs(found)
    with monkeypatch.context() as patch:
        patch.setattr("apollo.data.relations.relate", None)
        assert open_pairs(found)[0].lag == 0
    soundfile.write(coded, np.pad(song, ((0, 0), (100, 0))).T, RATE)
    assert open_pairs(found)[0].lag * RATE == pytest.approx(100, abs=0.05)


def test_mono_and_other_rates_are_brought_together(tmp_path: Path, song: np.ndarray) -> None:
    original, coded = one_pair(tmp_path, song, "wav")
    middle = song.mean(0, keepdims=True)
    soundfile.write(coded, soxr.resample(middle.T, RATE, 32000), 32000, "FLOAT")
    soundfile.write(original / "song.flac", middle.T, RATE)
    (pair,) = open_pairs(two_folders(original, coded.parent))
    sides = read_pair(pair, 1.0, RATE, RATE)
    assert [side.shape for side in sides] == [(2, RATE)] * 2
    assert abs(lag(*sides)) < 0.05
