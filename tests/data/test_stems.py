from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.audio import MARGIN
from apollo.data.crops import Crops
from apollo.data.degradation import RandomCodec
from apollo.data.mixing import StemMixer, open_stems
from apollo.data.stems import StemFiles
from apollo.data.store import StemStore
from apollo.data.store_building import build_store
from apollo.errors import ConfigError, DataError

RATE = 8000


def tune(seconds: float, seed: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.rint(rng.uniform(-3000, 3000, (channels, int(seconds * rate)))) / 32768).astype(np.float32)


def save(path: Path, waveform: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T, rate)


class Ones:
    """Stems of 1 on the left and mixtures of 1 on the right; every other draw is silent."""

    coherent = True

    def __init__(self) -> None:
        self.draws = 0

    def stem(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        self.draws += 1
        return np.float32([[self.draws % 2], [0]]) * np.ones(samples, np.float32)

    def mixture(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        self.draws += 1
        return np.float32([[0], [self.draws % 2]]) * np.ones(samples, np.float32)


def draws(mixer: StemMixer, count: int) -> list[np.ndarray]:
    return [mixer.draw(np.random.default_rng(seed), 4)[:, 0] for seed in range(count)]


def test_half_of_the_crops_are_songs_as_they_are() -> None:
    songs = [mix[1] for mix in draws(StemMixer(Ones()), 1000) if mix[1]]
    assert 430 < len(songs) < 570
    assert set(songs) == {1.0}


def test_gains_are_whole_decibels_over_the_range_drawn_evenly() -> None:
    levels = Counter(
        round(20 * np.log10(left), 3) for left, _ in draws(StemMixer(Ones(), num_stems=1, coherent_probability=0), 2000)
    )
    assert sorted(levels) == list(range(-10, 11))
    assert min(levels.values()) > 50


def test_from_one_to_eight_stems_are_summed_and_silent_ones_drawn_again() -> None:
    numbers = Counter(
        round(float(left)) for left, _ in draws(StemMixer(Ones(), snr_range=(0, 0), coherent_probability=0), 1000)
    )
    assert sorted(numbers) == list(range(1, 9))
    assert min(numbers.values()) > 80


def test_options_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match="num_stems"):
        StemMixer(Ones(), num_stems=0)
    with pytest.raises(ConfigError, match="snr_range"):
        StemMixer(Ones(), snr_range=(10, -10))
    with pytest.raises(ConfigError, match="snr_range"):
        StemMixer(Ones(), snr_range=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="coherent_probability"):
        StemMixer(Ones(), coherent_probability=2)
    lone = Ones()
    lone.coherent = False
    with pytest.raises(DataError, match="no mixtures"):
        StemMixer(lone)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One song in stems of equal levels, and nine guitars to one bass."""
    root = tmp_path_factory.mktemp("songs")
    save(root / "song" / "bass.flac", np.repeat(tune(9, 0, channels=1), 2, axis=0))
    for number in range(1, 10):
        save(root / "song" / f"guitar_{number}.wav", tune(9, number))
    return root


def test_classes_are_drawn_evenly_however_many_files_they_have(songs: Path, tmp_path: Path) -> None:
    build_store("folders", songs, tmp_path, sample_rate=RATE)
    for stems in (StemFiles(songs, RATE), StemStore(tmp_path, RATE)):
        rng = np.random.default_rng(0)
        crops = [stems.stem(rng, 100) for _ in range(200)]
        mono = sum(np.array_equal(*crop) for crop in crops)  # the bass alone is the same on both sides
        assert 70 < mono < 130


def test_a_song_straight_from_its_files_is_the_aligned_sum_of_its_stems(songs: Path) -> None:
    whole = np.repeat(tune(9, 0, channels=1), 2, axis=0) + sum(tune(9, number) for number in range(1, 10))
    crop = StemFiles(songs, RATE).mixture(np.random.default_rng(1), 4000)
    errors = [np.abs(whole[:, start : start + 4000] - crop).max() for start in range(whole.shape[1] - 3999)]
    assert min(errors) < 1e-6


def test_a_mixture_on_disk_is_the_song_and_never_a_stem(tmp_path: Path) -> None:
    save(tmp_path / "song" / "mixture.wav", tune(3, 1))
    save(tmp_path / "song" / "vocals.wav", tune(3, 2, channels=1))
    stems = StemFiles(tmp_path, RATE)
    assert stems.classes == ["vocals"]
    assert np.array_equal(stems.mixture(np.random.default_rng(0), 3 * RATE), tune(3, 1))


def test_folders_without_songs_or_stems_are_named(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds audio files itself"):
        StemFiles(songs / "song", RATE)
    save(tmp_path / "song" / "mixture.wav", tune(3, 1))
    with pytest.raises(DataError, match="no stems"):
        StemFiles(tmp_path, RATE)


def test_files_and_store_feed_the_crops_of_training(tmp_path: Path) -> None:
    rate = 44100
    save(tmp_path / "in" / "song" / "bass.wav", tune(7, 1, rate=rate), rate)
    save(tmp_path / "in" / "song" / "wind.wav", tune(7, 2, rate=rate), rate)
    build_store("folders", tmp_path / "in", tmp_path / "out", dtype="int16")
    for root, kind in ((tmp_path / "in", StemFiles), (tmp_path / "out", StemStore)):
        mixer = open_stems(root, rate, num_stems=4, snr_range=[-6, 6], samples=3 * rate + 2 * MARGIN)
        assert isinstance(mixer.stems, kind)
        crops = Crops(mixer, RandomCodec(rate, bitrate=64000), 3 * rate, seed=0)
        for number in range(2):
            crop = crops[number]
            assert crop["original"].shape == crop["degraded"].shape == (2, 3 * rate)
            assert max(crop["original"].abs().max(), crop["degraded"].abs().max()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(DataError, match=r"lower datas\.segments"):
        open_stems(tmp_path / "out", rate, samples=6 * rate + 2 * MARGIN)
