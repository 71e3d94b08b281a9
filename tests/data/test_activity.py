import numpy as np
import pytest

from apollo.data.activity import active_segments, block_powers, hops

RATE = 8000


def noise(seconds: float, level: float = 0.1, rate: int = RATE) -> np.ndarray:
    return (level * np.random.default_rng(0).standard_normal((2, int(seconds * rate)))).astype(np.float32)


def kept(waveform: np.ndarray, rate: int = RATE) -> list[int]:
    return active_segments(block_powers(waveform, rate))


def test_only_segments_that_sound_for_more_than_half_are_kept() -> None:
    # Seconds 0 to 9 and 18.1 to 30 sound; segment n lasts from second 3n to 3n + 6.
    waveform = np.concatenate((noise(9), noise(9.1, 0.0), noise(11.9)), axis=1)
    assert kept(waveform) == [0, 1, 6, 7, 8]


def test_segments_are_those_of_a_plain_reading_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    rate = 44100
    levels = np.repeat(10 ** rng.uniform(-5, -0.5, 45), rate)
    waveform = (levels * rng.standard_normal((2, 45 * rate))).astype(np.float32)
    powers = [float((waveform[:, at : at + 441].astype(float) ** 2).sum()) for at in range(0, 45 * rate, 441)]
    threshold = np.quantile([power for power in powers if power > 1e-3], 0.15)
    expected = [
        start // 3 for start in range(0, 40, 3) if np.mean(np.array(powers[start * 100 :][:600]) > threshold) > 0.5
    ]
    assert 0 < len(expected) < 14
    assert kept(waveform, rate) == expected


def test_a_passage_much_softer_than_the_rest_is_left_out_of_a_loud_stem_only() -> None:
    soft = noise(6, 0.003)
    assert kept(np.concatenate((noise(54), soft), axis=1)) == list(
        range(17)
    )  # 17 begins with 3 s of noise: no more than half
    assert kept(soft) == [0]


def test_silence_and_hiss_below_the_floor_keep_nothing() -> None:
    assert kept(noise(12, 0.0)) == []
    assert kept(noise(12, 1e-4)) == []
    assert kept(np.zeros((2, 0), np.float32)) == []


def test_a_tone_of_one_level_is_active() -> None:
    square = np.tile(np.float32([0.1, -0.1]), (2, 6 * RATE))
    assert kept(square) == [0, 1, 2]


@pytest.mark.parametrize(("seconds", "segments"), [(3.4, []), (3.7, [0]), (5.99, [0]), (8.9, [0]), (9, [0, 1])])
def test_a_short_stem_makes_a_segment_if_enough_of_it_sounds(seconds: float, segments: list[int]) -> None:
    assert kept(noise(seconds)) == segments


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
@pytest.mark.parametrize("size", [777, 1 << 17])
def test_a_stream_gives_the_powers_of_the_whole(rate: int, size: int) -> None:
    waveform = noise(13.37, rate=rate)
    stream = hops((waveform[:, at : at + size] for at in range(0, waveform.shape[1], size)), rate)
    pieces = list(stream)
    assert {piece.shape for piece in pieces[:-1]} == {(2, 3 * rate)}
    assert np.array_equal(np.concatenate(pieces, axis=1), waveform)
    powers = np.concatenate([block_powers(piece, rate) for piece in pieces])
    assert np.array_equal(powers, block_powers(waveform, rate))
    assert len(powers) == 1337 or rate % 100


def test_one_floor_fits_all_rates() -> None:
    means = [block_powers(noise(10, 0.01, rate), rate).mean() for rate in (8000, 22050, 44100, 96000)]
    assert means == pytest.approx([441 * 2 * 1e-4] * 4, rel=0.02)
