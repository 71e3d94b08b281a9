"""The engine gives the samples of the whole recording, whatever the chunk, block, rate, channels and device kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr
import torch

from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Restorer

VARIANTS = {
    "direct": {},
    "residual": {},
    "residual, wide": {"kernel_size": 5, "dilations": (1, 4)},
    "direct, odd window": {"win": 20.04},
    "residual, filling": {"fill": {"channels": 8, "dilations": (1, 8)}},
}


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest, make_model: Callable[..., Apollo]) -> Apollo:
    return make_model(request.param.split(",")[0], **VARIANTS[request.param])


def whole(model: Apollo, waveform: np.ndarray) -> np.ndarray:
    """What the network gives for the whole recording at once, at its training level."""
    peak = np.abs(waveform).max()
    with torch.inference_mode():
        return (model(torch.from_numpy(waveform / peak)[None])[0] * peak).numpy()


def assert_same(restored: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert restored.shape == expected.shape
    assert np.abs(restored - expected).max() <= tolerance * np.abs(expected).max()


def test_chunked_equals_whole_file(model: Apollo, music: np.ndarray) -> None:
    expected = whole(model, music)
    for seconds in (1, 1.7, 20):
        assert_same(Restorer(model, seconds)(music), expected)


def test_channels_at_once_change_no_sample(model: Apollo, make_music: Callable[..., np.ndarray]) -> None:
    music = make_music(1.6, 3)
    expected = whole(model, music)
    for batch in (1, 2, 3, 8):
        assert_same(Restorer(model, 1, batch=batch)(music), expected)


@pytest.mark.parametrize("beyond", [-441, -1, 0, 1, 440, 883])
def test_any_length_around_a_chunk_equals_whole_file(model: Apollo, music: np.ndarray, beyond: int) -> None:
    hop = model.hop_length
    for edge in (round(44100 / hop) * hop, (round(44100 / hop) + model.context_frames) * hop):
        part = music[:1, : edge + beyond]
        assert_same(Restorer(model, 1)(part), whole(model, part))


@pytest.mark.parametrize("samples", [1, 2, 440, 441, 442, 881, 882, 883, 5000])
def test_tiny_recordings_equal_whole_file(model: Apollo, music: np.ndarray, samples: int) -> None:
    part = music[:, 20000 : 20000 + samples]
    assert_same(Restorer(model, 1)(part), whole(model, part))


def test_context_is_what_the_chunks_need(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    model = make_model("direct")
    reach = model.context_frames * model.hop_length
    middle = music.shape[1] // 2 // model.hop_length * model.hop_length
    changed = music.copy()
    changed[:, : middle - reach] = 0.5 * changed[:, : middle - reach][:, ::-1]
    with torch.inference_mode():
        outputs = [model(torch.from_numpy(waveform)[None])[0] for waveform in (music, changed)]
    assert torch.allclose(outputs[0][:, middle:], outputs[1][:, middle:], rtol=0, atol=1e-6)
    assert not torch.allclose(outputs[0][:, : middle - reach], outputs[1][:, : middle - reach], rtol=0, atol=1e-3)


def test_blocks_of_any_size_give_the_same_samples(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    model = make_model("residual")
    expected = Restorer(model, 1)(music)
    random = np.random.default_rng(3)
    stream = Restorer(model, 1).stream([float(np.abs(channel).max()) for channel in music])
    parts, position = [], 0
    while position < music.shape[1]:
        size = int(random.choice([0, 1, 7, 441, 4096, 60000]))
        parts.append(stream.push(torch.from_numpy(music[:, position : position + size])))
        position += size
        lag = min(position, music.shape[1]) - sum(part.shape[1] for part in parts)
        assert lag <= model.sample_rate + model.context_frames * model.hop_length
    parts.append(stream.flush())
    assert_same(torch.cat(parts, dim=1).numpy(), expected, 1e-6)


@pytest.mark.parametrize(
    ("sample_rate", "options"),
    [(44100, {}), (48000, {}), (8000, {}), (48000, {"mix": 0.5}), (8000, {"keep_below": 2000})],
)
def test_no_sample_is_later_than_the_latency_says(
    make_music: Callable[..., np.ndarray],
    make_model: Callable[..., Apollo],
    sample_rate: int,
    options: dict[str, float],
) -> None:
    music = torch.from_numpy(make_music(4.5, 1, sample_rate))
    stream = Restorer(make_model("residual"), 1, **options).stream([1.0], sample_rate)
    taken = given = latest = 0
    for block in torch.split(music, 1000, dim=1):
        taken += block.shape[1]
        given += stream.push(block).shape[1]
        latest = max(latest, taken - given)
    assert given  # well before the end
    assert stream.latency / 2 < latest <= stream.latency
    assert given + stream.flush().shape[1] == taken


def test_peak_to_be_expected_stands_for_one_that_is_known(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("direct"), 1)
    given = torch.from_numpy(music[:, :90_000])
    streams = [restorer.stream(0.5), restorer.stream([0.5, 0.5]), restorer.stream(0.5, None, 2)]
    first, *others = [torch.cat((stream.push(given), stream.flush()), dim=1) for stream in streams]
    assert all(torch.equal(other, first) for other in others)


def test_stream_takes_arrays_and_tensors_alike(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("residual"), 1)
    arrays, tensors = restorer.stream(0.7), restorer.stream(0.7)
    for block in np.array_split(music[:, :90_000].astype(np.float64), 5, axis=1):
        restored = arrays.push(block)
        assert isinstance(restored, np.ndarray)
        assert np.array_equal(restored, tensors.push(torch.from_numpy(block).requires_grad_()).numpy())
    assert torch.equal(arrays.flush(), tensors.flush())
    refused = {
        "must have 2 channels, as the recording has, not 1": music[:1],
        r"must be \(channels, samples\), not of shape": music[0],
        "floating point": np.zeros((2, 10), np.int16),
    }
    for words, block in refused.items():
        with pytest.raises(ValueError, match=words):
            arrays.push(block)


def test_bfloat16_is_close_to_float32(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    model = make_model("residual")
    exact = Restorer(model, 2, precision="32")(music)
    assert np.array_equal(Restorer(model, 2)(music), exact)  # what "auto" is on a CPU
    rounded = Restorer(model, 2, precision="bf16")(music)
    assert not np.array_equal(rounded, exact)
    assert np.square(rounded - exact).mean() < 1e-3 * np.square(exact).mean()


@pytest.mark.parametrize("kind", [np.float32, np.float64, torch.float32, torch.float64])
def test_kind_of_waveform_is_kept(
    music: np.ndarray, kind: type | torch.dtype, make_model: Callable[..., Apollo]
) -> None:
    restorer = Restorer(make_model("residual"), 1)
    music = music[:, :60_000]
    given = torch.from_numpy(music).to(kind) if isinstance(kind, torch.dtype) else music.astype(kind)
    before = given.clone() if isinstance(given, torch.Tensor) else given.copy()
    restored = restorer(given)
    assert type(restored) is type(given)
    assert restored.dtype == kind
    assert (given == before).all()
    assert_same(np.asarray(restored, np.float32), restorer(music))


def test_any_array_works(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("residual"), 1)
    music = music[:, :60_000]
    backwards = restorer(np.ascontiguousarray(music[:, ::-1]))
    assert np.array_equal(restorer(music[:, ::-1]), backwards)
    foreign = music.astype(">f4")
    restored = restorer(foreign)
    assert restored.dtype == foreign.dtype
    assert np.array_equal(restored, restorer(music))


def test_channels_do_not_know_of_each_other(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("direct"), 2)
    music = music[:, :90_000]
    four = np.concatenate([music * gain for gain in (1, 0.5)])
    restored = restorer(four)
    loudest = np.abs(music).max()
    for channel in (0, 3):
        alone = four[[channel]].copy()
        alone = np.concatenate([alone, np.full_like(alone, loudest)])  # the same gain
        assert np.array_equal(restored[channel], restorer(alone)[0])


def test_one_gain_for_the_whole_recording(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("direct"), 1)
    music = music[:, :90_000]
    restored = restorer(music)
    for gain in (2.0**-13, 0.125, 2):  # powers of two round nothing
        assert np.array_equal(restorer(music * np.float32(gain)), restored * np.float32(gain))


def test_silence_stays_silent(music: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    restorer = Restorer(make_model("direct"), 1)
    assert not restorer(np.zeros((2, 100_000), np.float32)).any()
    assert not restorer(np.full((2, 100_000), 1e-12, np.float32)).any()
    half = np.stack([music[0], np.zeros_like(music[0])])
    restored = restorer(half)
    assert restored[0].any()
    assert not restored[1].any()
    assert restorer(np.zeros((2, 0), np.float32)).shape == (2, 0)


@pytest.mark.parametrize("sample_rate", [8000, 22050, 48000, 96000])
@pytest.mark.parametrize("samples", [1, 2, 999, 50_003])
def test_a_network_that_changes_nothing_changes_nothing_at_other_sample_rates_either(
    sample_rate: int, samples: int, make_music: Callable[..., np.ndarray]
) -> None:
    identity = Apollo(feature_dim=16, layer=1, output="residual").eval()  # untrained
    music = make_music(samples / sample_rate, sample_rate=sample_rate)
    expected = music
    if sample_rate < 44100:  # the result is all of it the network's; above, what it changes is added to the recording
        expected = soxr.resample(soxr.resample(music.T, sample_rate, 44100), 44100, sample_rate).T
    assert_same(Restorer(identity, 1)(music, sample_rate), expected, 1e-6)


def test_chunks_do_not_matter_at_other_sample_rates(
    make_model: Callable[..., Apollo], make_music: Callable[..., np.ndarray]
) -> None:
    model = make_model("residual")
    music = make_music(2.6, sample_rate=48000)
    assert_same(Restorer(model, 1)(music, 48000), Restorer(model, 20)(music, 48000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(
    music: np.ndarray, value: float, make_model: Callable[..., Apollo]
) -> None:
    broken = music.copy()
    broken[1, 77] = value
    with pytest.raises(ApolloError, match="contains NaN or infinite samples"):
        Restorer(make_model("direct"))(broken)


@pytest.mark.parametrize("sample_rate", [0, -44100])
def test_sample_rates_that_cannot_be_are_refused(
    music: np.ndarray, sample_rate: int, make_model: Callable[..., Apollo]
) -> None:
    with pytest.raises(ApolloError, match="sample rates above 0"):
        Restorer(make_model("direct"))(music, sample_rate)


@pytest.mark.parametrize(
    "waveform", [np.zeros(10, np.float32), np.zeros((1, 2, 10), np.float32), np.zeros((2, 10), int)]
)
def test_other_shapes_and_types_are_refused(waveform: np.ndarray, make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ValueError, match=r"\(channels, samples\)"):
        Restorer(make_model("direct"))(waveform)


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_seconds": 0.5},
        {"chunk_seconds": float("nan")},
        {"device": "abacus"},
        {"device": "cuda:99"},
        {"precision": "8"},
        {"precision": "16"},  # not on a CPU
        {"batch": 0},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ApolloError):
        Restorer(make_model("direct"), **options)  # type: ignore[arg-type]


def test_the_share_of_fill_goes_from_repair_alone_to_all_of_it(
    make_model: Callable[..., Apollo], music: np.ndarray
) -> None:
    model = make_model("residual", fill={"channels": 8, "dilations": (1, 8)})
    none, half, full = (Restorer(model, 1, fill=share)(music) for share in (0.0, 0.5, 1.0))
    assert np.abs(full - none).max() > 1e-4
    assert_same(half, (none + full) / 2)
    assert_same(full, whole(model, music))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_fill_beyond_all_and_nothing_is_refused(make_model: Callable[..., Apollo], share: float) -> None:
    with pytest.raises(ApolloError, match="from 0 to 1"):
        Restorer(make_model("residual", fill={"channels": 8, "dilations": (1,)}), fill=share)


def test_a_model_without_a_fill_takes_no_share_of_it(make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ApolloError, match="has no fill"):
        Restorer(make_model("residual"), fill=0.5)


@pytest.mark.parametrize(
    ("waveform", "says"),
    [
        (np.zeros((3000, 2), np.float32), r"looks like \(samples, channels\): give waveform.T"),
        (np.zeros(3000, np.float32), r"give waveform\[None\]"),
        ([[0.1, 0.2], [0.1, 0.2]], "not list"),
        (np.zeros((2, 3000), object), "not object"),
        (np.zeros((2, 3000), np.int16), "not int16"),
        (np.zeros((2, 3000), complex), "not complex128"),
        (torch.zeros(2, 3000, dtype=torch.int32), "not torch.int32"),
        (torch.zeros(3000, 2), "give waveform.T"),
        (torch.zeros(2, 3000).to_sparse(), "dense"),
        (torch.zeros(2, 3000, device="meta"), "dense"),
        (torch.zeros(2, 3000).to(torch.float8_e4m3fn), "16 bits"),
        (np.full((2, 3000), 1e300), "too large for float32"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_waveform_is_told(waveform: Any, says: str, make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ApolloError, match=says):
        Restorer(make_model("direct"))(waveform)


def test_a_block_that_lies_on_its_side_is_told(make_model: Callable[..., Apollo]) -> None:
    stream = Restorer(make_model("direct"), 1).stream(np.float32(1))  # type: ignore[arg-type]
    with pytest.raises(ApolloError, match=r"give waveform.T"):
        stream.push(np.zeros((5, 2), np.float32))


def test_a_stream_loses_no_block_in_silence(make_model: Callable[..., Apollo]) -> None:
    stream = Restorer(make_model("residual"), 1).stream(1.0)
    with pytest.raises(ApolloError, match="NaN or infinite"):
        stream.push(np.full((2, 10), np.nan, np.float32))
    assert stream.flush().shape == (2, 0)
    with pytest.raises(ApolloError, match="has been flushed"):
        stream.push(np.zeros((2, 10), np.float32))


def test_the_name_of_a_model_is_no_network() -> None:
    with pytest.raises(ApolloError, match=r"give apollo\.load_model\('default'\)"):
        Restorer("default")  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 1e30, 44_100.5, "44100", True, 10**12, 1])
def test_rates_of_no_recording_are_told(rate: Any, make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ApolloError, match="cannot restore at"):
        Restorer(make_model("direct"))(np.zeros((2, 1000), np.float32), rate)


def test_numbers_of_numpy_are_rates_and_extended_precision_is_restored(
    music: np.ndarray, make_model: Callable[..., Apollo]
) -> None:
    restorer = Restorer(make_model("residual"), 1)
    short = music[:, :20_000]
    expected = restorer(short, 48_000)
    for rate in (np.float32(48_000), np.int64(48_000), 48_000.0):
        assert np.array_equal(restorer(short, rate), expected)  # type: ignore[arg-type]
    long = restorer(short.astype(np.longdouble), 48_000)
    assert long.dtype == np.longdouble
    assert np.abs(long - expected).max() < 1e-6


@pytest.mark.parametrize("peak", [float("nan"), float("inf"), -1.0, 1e300])
def test_peaks_that_cannot_be_are_refused(peak: float, make_model: Callable[..., Apollo]) -> None:
    with pytest.raises(ApolloError, match="a peak must be"):
        Restorer(make_model("direct"), 1).stream(peak)
