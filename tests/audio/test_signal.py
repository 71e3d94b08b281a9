import numpy as np
import pytest
import soundfile

from apollo.audio import resample
from apollo.audio.signal import Signal, recut
from apollo.errors import ApolloError

SAMPLE_RATE = 44_100


def in_pieces(waveform, size, sample_rate=SAMPLE_RATE):
    """A signal that comes in blocks of a size, of length unknown."""
    blocks = [waveform[:, n : n + size] for n in range(0, waveform.shape[1], size)]
    return Signal(sample_rate, len(waveform), None, lambda: iter(blocks))


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 192_000])
@pytest.mark.parametrize("frequency", [1_000, 3_500])
def test_low_pass_keeps_what_is_below_and_where_it_is(sample_rate, frequency):
    noise = np.random.default_rng(0).standard_normal((2, 150_000)).astype(np.float32)
    filtered = Signal.of_array(noise, sample_rate).low_passed(frequency).array()
    assert filtered.shape == noise.shape
    assert filtered.dtype == np.float32
    before, after = (np.fft.rfft(x * np.hanning(x.shape[1])) for x in (noise, filtered))
    frequencies = np.fft.rfftfreq(noise.shape[1], 1 / sample_rate)
    # The response itself, not its magnitude alone: a delay would turn the phase.
    kept = frequencies < frequency - 310
    assert np.abs(after - before)[:, kept].max() < 2e-3 * np.abs(before).max()
    lost = frequencies > frequency + 310
    assert np.abs(after[:, lost]).max() < 1e-3 * np.abs(before).max()


@pytest.mark.parametrize("length", [1, 100, 5_000, 200_000])
def test_low_pass_does_not_depend_on_blocks_nor_fade_at_the_edges(length):
    waveform = np.full((1, length), 0.5, np.float32)
    waveform[:, length // 2 :] = 0.4
    whole = Signal.of_array(waveform, SAMPLE_RATE).low_passed(5_000).array()
    assert np.array_equal(in_pieces(waveform, 777).low_passed(5_000).array(), whole)
    assert whole.shape == waveform.shape
    if length > 1_000:
        assert whole[0, 0] == pytest.approx(0.5, abs=1e-3)
        assert whole[0, -1] == pytest.approx(0.4, abs=1e-3)


def test_low_pass_above_half_the_rate_does_nothing(music):
    assert np.array_equal(Signal.of_array(music, SAMPLE_RATE).low_passed(22_050).array(), music)


@pytest.mark.parametrize("length", [1, 3, 10, 64, 1_000])
@pytest.mark.parametrize("size", [1, 7, 2_000])
def test_blocks_are_mirrored_and_cut_as_the_whole_is(length, size):
    waveform = np.arange(2 * length, dtype=np.float32).reshape(2, length)
    blocks = list(recut(in_pieces(waveform, size).mirrored(10).blocks(), 16))
    assert np.array_equal(np.concatenate(blocks, axis=1), np.pad(waveform, ((0, 0), (10, 10)), mode="symmetric"))
    assert {block.shape[1] for block in blocks[:-1]} <= {16}


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 44_100), (44_100, 48_000), (96_000, 44_100)])
@pytest.mark.parametrize("size", [777, 100_000])
def test_resampled_signal_is_the_resampled_waveform(music, from_rate, to_rate, size):
    expected = resample(music, from_rate, to_rate)
    signal = in_pieces(music, size, from_rate).resampled(to_rate)
    assert signal.sample_rate == to_rate
    assert np.array_equal(signal.array(), expected)
    assert Signal.of_array(music, from_rate).resampled(to_rate).samples == expected.shape[1] == signal.count()


def test_signal_can_be_read_again_and_stays_what_it_is(tmp_path, music):
    soundfile.write(tmp_path / "a.wav", music.T, 48_000, "FLOAT")
    signal = Signal.of_file(tmp_path / "a.wav")
    assert (signal.sample_rate, signal.channels, signal.samples) == (48_000, *music.shape)
    made = signal.between(1_000, 90_000).in_channels(1)
    assert np.array_equal(made.array(), made.array())
    assert np.array_equal(made.array(), music[:, 1_000:90_000].mean(axis=0, keepdims=True))
    assert made.count() == made.array().shape[1]
    assert np.array_equal(signal[1:].array(), music[1:])
    assert np.array_equal(signal.array(), music)


@pytest.mark.parametrize("size", [1, 300])
def test_peaks_are_those_of_the_channels_and_only_numbers_have_them(size):
    waveform = np.array([[0.1, -0.7, 0.2], [0, 0, 0]], np.float32)
    assert in_pieces(waveform, size).measure() == ([float(np.float32(0.7)), 0.0], 3)
    waveform[1, 1] = np.nan
    with pytest.raises(ApolloError, match="NaN or infinite samples"):
        in_pieces(waveform, size).measure()
