"""What is kept of the input is kept exactly, in its place, however long the chunks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer
from apollo.restoration.blending import Blend, BlendStream


@pytest.fixture(scope="module")
def model(make_model: Callable[..., Apollo]) -> Apollo:
    return make_model("residual")


def band(waveform: np.ndarray, low: float, high: float, sample_rate: int = 44100) -> np.ndarray:
    """Energy between two frequencies in Hz, a channel."""
    power = np.abs(np.fft.rfft(waveform * np.hanning(waveform.shape[1]))) ** 2
    frequencies = np.fft.rfftfreq(waveform.shape[1], 1 / sample_rate)
    return power[:, (frequencies >= low) & (frequencies < high)].sum(axis=1)


@pytest.mark.parametrize("sample_rate", [44100, 48000])
def test_nothing_mixed_in_is_the_input_itself(model: Apollo, music: np.ndarray, sample_rate: int) -> None:
    assert np.array_equal(Restorer(model, 1, mix=0)(music, sample_rate), music)


@pytest.mark.parametrize("keep_below", [None, 4000])
def test_all_mixed_in_is_as_without_a_mix(model: Apollo, music: np.ndarray, keep_below: float | None) -> None:
    without = Restorer(model, 1, keep_below=keep_below)(music)
    assert np.array_equal(Restorer(model, 1, mix=1, keep_below=keep_below)(music), without)


def test_mix_lies_sample_by_sample_between_input_and_restored(model: Apollo, music: np.ndarray) -> None:
    restored = Restorer(model, 1)(music)
    mixed = Restorer(model, 1, mix=0.25)(music)
    assert np.allclose(mixed, 0.75 * music + 0.25 * restored, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cutoff", [200, 3000, 15_999.9])
def test_crossover_gives_back_the_input_where_the_network_changes_nothing(music: np.ndarray, cutoff: float) -> None:
    stream = BlendStream(Blend(keep_below=cutoff), 2, 44100)
    given = torch.from_numpy(music)
    parts = []
    for block in torch.split(given, 30_011, dim=1):
        stream.take(block)
        parts.append(stream.push(block))
    assert torch.equal(torch.cat((*parts, stream.flush()), dim=1), given)


def test_low_band_is_the_inputs_and_high_band_the_networks(model: Apollo, music: np.ndarray) -> None:
    restored = Restorer(model, 1)(music)
    crossed = Restorer(model, 1, keep_below=3000)(music)
    assert (band(restored - music, 0, 2900) > 1e-4 * band(music, 0, 2900)).all()  # there was something to keep
    assert (band(crossed - music, 0, 2900) < 1e-6 * band(restored - music, 0, 2900)).all()
    assert (band(crossed - restored, 3100, 22050) < 1e-6 * band(restored, 3100, 22050)).all()


def test_crossover_beyond_half_the_sample_rate_keeps_all(model: Apollo, music: np.ndarray) -> None:
    assert np.allclose(Restorer(model, 1, keep_below=30_000)(music), music, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"mix": 0.5}, {"keep_below": 2000}, {"mix": 0.5, "keep_below": 2000}])
@pytest.mark.parametrize("sample_rate", [44100, 48000])
def test_chunks_and_blocks_do_not_show(
    model: Apollo, music: np.ndarray, options: dict[str, float], sample_rate: int
) -> None:
    expected = Restorer(model, 20, **options)(music, sample_rate)
    stream = Restorer(model, 1, **options).stream([float(np.abs(one).max()) for one in music], sample_rate)
    parts = [stream.push(block) for block in torch.split(torch.from_numpy(music), 12_345, dim=1)]
    streamed = torch.cat((*parts, stream.flush()), dim=1).numpy()
    assert streamed.shape == music.shape
    assert np.abs(streamed - expected).max() <= 1e-5


def test_silent_channels_stay_silent(model: Apollo, music: np.ndarray) -> None:
    half = np.stack([music[0], np.zeros_like(music[0])])
    for silent in (half[1:], half):
        assert not Restorer(model, 1, mix=0.5, keep_below=2000)(silent)[-1].any()


@pytest.mark.parametrize(
    "options", [{"mix": -0.1}, {"mix": 1.1}, {"mix": float("nan")}, {"keep_below": 0}, {"keep_below": float("inf")}]
)
def test_shares_and_frequencies_that_cannot_be_are_refused(model: Apollo, options: dict[str, float]) -> None:
    with pytest.raises(ApolloError, match="must"):
        Restorer(model, **options)
