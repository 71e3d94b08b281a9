"""What the shipped model promises, on the music that is shipped with it."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import apollo
from apollo.audio.codecs import degrade
from apollo.audio.files import read
from apollo.metrics import si_sdr, visqol
from apollo.nn import Apollo

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def model() -> Apollo:
    return apollo.load_model("default")


@pytest.fixture(scope="module")
def original() -> tuple[np.ndarray, int]:
    return read(EXAMPLES / "originals" / "dodgems-beat.flac")


@pytest.fixture(scope="module")
def damaged() -> np.ndarray:
    return read(EXAMPLES / "dodgems-beat.mp3")[0]


@pytest.fixture(scope="module")
def restored(model: Apollo, damaged: np.ndarray) -> np.ndarray:
    return apollo.Restorer(model, chunk_seconds=60)(damaged)


def treble(waveform: np.ndarray, low: float, high: float) -> float:
    """Power between two frequencies in Hz, in dB."""
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    frequencies = np.fft.rfftfreq(waveform.shape[1], 1 / 44100)
    return float(10 * np.log10(spectrum[:, (frequencies >= low) & (frequencies < high)].sum()))


def test_the_file_is_small_and_says_what_it_is() -> None:
    with resources.as_file(resources.files("apollo.checkpoints") / "default.safetensors") as path:
        assert path.stat().st_size <= 12e6
        with safe_open(path, "np") as file:
            metadata = file.metadata()
    assert metadata["licence"] == "MIT"
    assert "residual" in metadata["config"]


def test_any_chunk_length_gives_the_samples_of_the_whole(model: Apollo, damaged: np.ndarray) -> None:
    part = damaged[:1, : 5 * 44100]
    whole = apollo.Restorer(model, chunk_seconds=60)(part)
    for seconds in (1.0, 1.37, 4.0):
        chunked = apollo.Restorer(model, chunk_seconds=seconds)(part)
        assert np.abs(chunked - whole).max() <= 1e-5 * np.abs(whole).max()


def test_treble_comes_back_and_is_no_louder_than_it_was(
    original: tuple[np.ndarray, int], damaged: np.ndarray, restored: np.ndarray
) -> None:
    for low, high in ((13000, 15000), (15000, 18000)):
        level = treble(original[0], low, high)
        assert treble(restored, low, high) > treble(damaged, low, high) + 20
        assert treble(restored, low, high) < level + 3


def test_restored_music_sounds_more_like_the_original(
    original: tuple[np.ndarray, int], damaged: np.ndarray, restored: np.ndarray
) -> None:
    waveform, rate = original
    assert visqol(waveform, restored, rate) > visqol(waveform, damaged, rate) + 0.8
    assert si_sdr(waveform, restored, rate) > si_sdr(waveform, damaged, rate) - 0.7


def test_without_fill_the_waveform_is_closer_to_the_original(
    model: Apollo, original: tuple[np.ndarray, int], damaged: np.ndarray
) -> None:
    waveform, rate = original
    faithful = apollo.Restorer(model, fill=0)(damaged)
    assert si_sdr(waveform, faithful, rate) > si_sdr(waveform, damaged, rate)


def test_what_is_good_is_left_alone(model: Apollo, original: tuple[np.ndarray, int]) -> None:
    waveform, rate = original
    damaged = degrade(waveform, rate, "mp3", 128_000)
    restored = apollo.Restorer(model)(damaged, rate)
    assert si_sdr(waveform, restored, rate) > si_sdr(waveform, damaged, rate) - 0.3
