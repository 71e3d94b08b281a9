"""What a codec has stored at a low rate gets its treble back; what lies beyond the network's reach stays as it was."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import apollo
from apollo.audio import RawFormat, read, resample, write
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.restoration import Output, Restorer, restore_file, restore_pipe


@pytest.fixture(scope="module")
def restorer(make_model: Callable[..., Apollo]) -> Restorer:
    return Restorer(make_model("residual"), 1)


def treble(waveform: np.ndarray, above: float, rate: int) -> float:
    power = np.abs(np.fft.rfft(waveform * np.hanning(waveform.shape[1]))) ** 2
    return float(power[:, np.fft.rfftfreq(waveform.shape[1], 1 / rate) > above].sum() / power.sum())


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 32_000])
def test_lossy_file_of_a_low_rate_comes_out_at_the_networks_with_treble(
    tmp_path: Path, make_music: Callable[..., np.ndarray], restorer: Restorer, rate: int
) -> None:
    source = tmp_path / "low.mp3"
    write(source, make_music(1.5, sample_rate=rate), rate, bitrate=32_000)
    report = restore_file(source, None, restorer)
    restored, found = read(report.target)
    given = read(source)[0]
    assert report.sample_rate == found == 44_100
    assert abs(restored.shape[1] / 44_100 - given.shape[1] / rate) < 1e-4
    assert treble(restored, rate / 2 + 500, 44_100) > 1e-5
    assert treble(resample(given, rate, 44_100), rate / 2 + 500, 44_100) < 1e-8
    expected = restorer(given, rate, 44_100) * 10 ** (-report.turned_down_db / 20)
    assert np.abs(restored - expected).max() < 1e-6
    kept = restore_file(source, tmp_path / "kept.flac", restorer, output=Output(sample_rate="keep"))
    assert kept.sample_rate == rate


def test_lossless_file_of_a_low_rate_keeps_it(
    tmp_path: Path, make_music: Callable[..., np.ndarray], restorer: Restorer
) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "low.wav", 0.1 * rng.standard_normal((30_000, 2)), 22_050)
    assert restore_file(tmp_path / "low.wav", None, restorer).sample_rate == 22_050


def test_pipe_gives_what_a_file_gives_and_raw_samples_keep_their_rate(
    make_music: Callable[..., np.ndarray], restorer: Restorer
) -> None:
    music = 0.3 * make_music(1.2, sample_rate=24_000)
    given, taken = io.BytesIO(), io.BytesIO()
    soundfile.write(given, music.T, 24_000, "FLOAT", format="WAV")
    report = restore_pipe(io.BytesIO(given.getvalue()), taken, restorer, Output(bits="float"))
    taken.seek(0)
    restored, rate = soundfile.read(taken, always_2d=True)
    assert rate == report.sample_rate == 44_100
    assert np.array_equal(restored.T.astype(np.float32), restorer(music, 24_000, 44_100))
    raw = restore_pipe(
        io.BytesIO(np.ascontiguousarray(music.T).tobytes()),
        io.BytesIO(),
        restorer,
        Output(bits="float"),
        RawFormat("f32le", 24_000, 2),
    )
    assert raw.sample_rate == 24_000


def test_function_gives_a_file_of_a_low_rate_its_treble(
    tmp_path: Path, make_music: Callable[..., np.ndarray], restorer: Restorer
) -> None:
    apollo.save_model(restorer.model, tmp_path / "model.safetensors")
    write(tmp_path / "low.mp3", make_music(1.1, sample_rate=22_050), 22_050, bitrate=32_000)
    restored, rate = apollo.restore(tmp_path / "low.mp3", model=tmp_path / "model.safetensors", device="cpu")
    assert rate == 44_100
    assert treble(restored, 11_500, 44_100) > 1e-5


@pytest.mark.parametrize("options", [{}, {"mix": 0.5}, {"keep_below": 3000}])
@pytest.mark.parametrize("rate", [48_000, 96_000])
def test_what_lies_above_the_network_is_kept_exactly(
    make_music: Callable[..., np.ndarray], restorer: Restorer, rate: int, options: dict[str, float]
) -> None:
    music = make_music(1.5, sample_rate=rate)
    high = 0.05 * np.sin(2 * np.pi * 23_200 * np.arange(music.shape[1]) / rate).astype(np.float32)
    with_high = Restorer(restorer.model, 1, **options)(music + high, rate)
    # The network hears nothing of it, so that all of its work is the same without it.
    change = with_high - (music + high)
    assert np.abs(change).max() > 1e-3
    assert treble(change, 22_300, rate) < 1e-9


@pytest.mark.parametrize("rate", [22_050, 48_000])
def test_streams_at_the_networks_rate_do_not_show_their_blocks(
    make_music: Callable[..., np.ndarray], restorer: Restorer, rate: int
) -> None:
    music = make_music(2.1, sample_rate=rate)
    blended = Restorer(restorer.model, 1, mix=0.5, keep_below=3000)
    whole = blended(music, rate, 44_100)
    stream = blended.stream([float(peak) for peak in np.abs(music).max(axis=1)], rate, target_rate=44_100)
    blocks = (music[:, start : start + 7_777] for start in range(0, music.shape[1], 7_777))
    streamed = np.concatenate(list(stream.through(blocks)), axis=1)
    assert streamed.shape == whole.shape
    assert np.abs(streamed - whole).max() < 1e-5
    assert np.array_equal(Restorer(restorer.model, 1, mix=0)(music, rate, 44_100).shape, whole.shape)


def test_silence_stays_silent_at_every_rate(restorer: Restorer) -> None:
    for rate in (22_050, 44_100, 48_000):
        restored = restorer(np.zeros((2, 10_001), np.float32), rate, 44_100)
        assert abs(restored.shape[1] - 10_001 * 44_100 / rate) < 1
        assert not restored.any()


def test_other_rates_for_the_result_are_refused(restorer: Restorer) -> None:
    with pytest.raises(ApolloError, match="or the model's, 44100 Hz"):
        restorer(np.zeros((2, 1000), np.float32), 48_000, 32_000)
