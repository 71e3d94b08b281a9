import io

import numpy as np
import pytest
from PIL import Image

from apollo.player.tiles import MAX_TILES, TILE, Spectrogram, long_term, png, reference_power, tiles

RATE = 44_100


def drawn(waveform: np.ndarray, *cuts: int, columns: int = MAX_TILES * TILE) -> np.ndarray:
    spectrogram = Spectrogram(waveform.shape[1], RATE, columns)
    for block in np.split(waveform, cuts, axis=1):
        spectrogram.take(block)
    spectrogram.end()
    return spectrogram.power


def test_picture_shows_low_frequencies_at_the_bottom_and_time_from_left_to_right() -> None:
    time = np.arange(RATE) / RATE
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 1000 * time), 0)[None].astype(np.float32)
    power = drawn(tone)
    [tile] = tiles(power, reference_power(power))
    picture = np.asarray(Image.open(io.BytesIO(tile)).convert("RGB")).sum(axis=-1)
    height, width = picture.shape
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    assert row == pytest.approx(height * (1 - 1000 / 22_000), abs=2)
    assert column < 0.5 * width
    assert picture[:, int(0.54 * width) :].max() < 40


@pytest.mark.parametrize("seconds", [0.002, 0.5, 3.0])
def test_picture_does_not_depend_on_the_blocks(song: np.ndarray, seconds: float) -> None:
    part = song[:, : int(seconds * RATE)]
    whole = drawn(part)
    random = np.random.default_rng(1)
    cuts = np.sort(random.integers(0, part.shape[1], 7))
    np.testing.assert_allclose(drawn(part, *cuts), whole, rtol=1e-5, atol=1e-9)
    assert whole.shape[1] >= 1


@pytest.mark.parametrize("columns", [1, 7, 100, 440])
def test_picture_is_no_wider_than_asked_for(song: np.ndarray, columns: int) -> None:
    assert columns / 2 <= drawn(song, columns=columns).shape[1] <= columns


def test_an_hour_takes_a_few_tiles() -> None:
    spectrogram = Spectrogram(3600 * RATE, RATE)
    second = np.zeros((1, 100 * RATE), np.float32)
    for _ in range(36):
        spectrogram.take(second)
    spectrogram.end()
    assert len(tiles(spectrogram.power, 1.0)) <= MAX_TILES


def test_sine_of_full_scale_has_0_db_in_the_mean_spectrum() -> None:
    bin_hz = RATE / 2048
    time = np.arange(4 * RATE) / RATE
    loud = long_term(drawn(np.sin(2 * np.pi * 200 * bin_hz * time)[None]))
    # A sine fills one and a half bins of the four that make a row.
    assert max(loud) == pytest.approx(10 * np.log10(1.5 / 4), abs=0.3)
    soft = long_term(drawn(0.1 * np.sin(2 * np.pi * 200 * bin_hz * time)[None]))
    assert max(loud) - max(soft) == pytest.approx(20, abs=0.1)


def test_png_holds_what_was_drawn() -> None:
    levels = np.linspace(-0.5, 1.5, 300).reshape(10, 30)
    image = Image.open(io.BytesIO(png(levels)))
    image.load()
    indices = np.asarray(image)[::-1]
    assert np.array_equal(indices, np.rint(np.clip(levels, 0, 1) * 63))
