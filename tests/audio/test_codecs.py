import subprocess
import sys

import numpy as np
import pytest
import torch

from apollo.audio import CODECS, MARGIN, degrade, lag
from apollo.audio.codecs import _coded_rate, _encode
from apollo.errors import ApolloError

SAMPLE_RATE = 44_100
BITRATES = (24_000, 32_000, 48_000, 64_000, 96_000, 128_000)


def noise_to_signal_db(original, degraded):
    return 10 * np.log10(np.mean((original - degraded) ** 2) / np.mean(original**2))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bitrate", BITRATES)
@pytest.mark.parametrize("codec", CODECS)
def test_degraded_music_is_aligned_and_of_equal_length(music, codec, bitrate, channels):
    original = music[:channels, :131_071]
    degraded = degrade(original, SAMPLE_RATE, codec, bitrate)
    assert degraded.shape == original.shape
    assert degraded.dtype == np.float32
    # Below 24 kbit/s a channel, AAC and Opus make up most of the spectrum: too little is left to tell 0.1 sample.
    little_left = codec in {"aac", "opus"} and bitrate < 24_000 * channels
    assert abs(lag(original, degraded)) <= (1.0 if little_left else 0.1)
    assert noise_to_signal_db(original, degraded) < -2


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bitrate", [*BITRATES, 160_000, 192_000, 224_000, 256_000, 320_000])
def test_mp3_keeps_the_level(bitrate, channels):
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tone = sum(0.05 * np.sin(2 * np.pi * f * time + f) for f in (150, 310, 470, 700)).astype(np.float32)
    original = np.tile(tone, (channels, 1))
    degraded = degrade(original, SAMPLE_RATE, "mp3", bitrate)
    assert np.vdot(original, degraded) / np.vdot(original, original) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("codec", CODECS)
def test_more_bits_mean_less_noise(music, codec):
    noise = [noise_to_signal_db(music, degrade(music, SAMPLE_RATE, codec, bitrate)) for bitrate in (48_000, 128_000)]
    assert noise[1] < noise[0] - 3


@pytest.mark.parametrize("sample_rate", [22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bitrate", BITRATES)
def test_mp3_is_coded_at_the_bitrate_asked_for(music, bitrate, channels, sample_rate):
    coded_rate = _coded_rate("mp3", sample_rate, bitrate, channels)
    packets, _ = _encode(music[:channels, :40_000], coded_rate, "mp3", bitrate, 7)
    seconds = len(packets) * (1152 if coded_rate >= 32_000 else 576) / coded_rate
    assert 8 * sum(packet.size for packet in packets) / seconds == pytest.approx(bitrate, rel=0.01)


@pytest.mark.parametrize("codec", ["aac", "opus"])
@pytest.mark.parametrize("bitrate", [32_000, 128_000])
def test_other_codecs_come_near_the_bitrate_asked_for(music, codec, bitrate):
    packets, _ = _encode(music, 48_000, codec, bitrate, 7)
    seconds = music.shape[1] / 48_000
    assert 8 * sum(packet.size for packet in packets) / seconds == pytest.approx(bitrate, rel=0.25)


def test_24_kbit_per_second_is_not_32(music):
    assert not np.array_equal(degrade(music, SAMPLE_RATE, "mp3", 24_000), degrade(music, SAMPLE_RATE, "mp3", 32_000))


@pytest.mark.parametrize("codec", CODECS)
def test_crop_starts_and_ends_without_a_click(music, codec):
    whole = degrade(music, SAMPLE_RATE, codec, 96_000)
    louder = []
    for start in range(20_000, 80_000, 10_000):
        crop = slice(start, start + 40_000)
        noise = degrade(music[:, crop], SAMPLE_RATE, codec, 96_000) - music[:, crop]
        usual = (whole - music)[:, crop]
        for edge in (slice(0, 576), slice(-576, None)):
            louder.append(np.sqrt(np.mean(noise[:, edge] ** 2) / np.mean(usual[:, edge] ** 2)))
    assert np.median(louder) < 1.5
    assert np.max(louder) < 4


def test_margin_of_true_context_brings_a_crop_closer_to_the_whole_file(music):
    start, stop = 46_080, 90_000
    whole = degrade(music, SAMPLE_RATE, "mp3", 128_000)[:, start:stop]
    bare = degrade(music[:, start:stop], SAMPLE_RATE, "mp3", 128_000)
    with_margin = degrade(music[:, start - MARGIN : stop + MARGIN], SAMPLE_RATE, "mp3", 128_000)[:, MARGIN:-MARGIN]
    assert noise_to_signal_db(whole[:, :576], with_margin[:, :576]) < noise_to_signal_db(whole[:, :576], bare[:, :576])


@pytest.mark.parametrize("codec", CODECS)
def test_samples_beyond_full_scale_are_not_clipped(music, codec):
    loud = 3 * music / np.abs(music).max()
    degraded = degrade(loud, SAMPLE_RATE, codec, 128_000)
    assert np.abs(degraded).max() > 2
    quiet = degrade(music, SAMPLE_RATE, codec, 128_000)
    assert noise_to_signal_db(loud, degraded) < noise_to_signal_db(music, quiet) + 3


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sample_rate", [8_000, 37_800, 48_000, 96_000])
def test_any_sample_rate_works(music, codec, sample_rate):
    original = music[:, :60_000]
    degraded = degrade(original, sample_rate, codec, 64_000)
    assert degraded.shape == original.shape
    assert noise_to_signal_db(original, degraded) < -3


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("length", [0, 1, 100])
def test_any_length_works(music, codec, length):
    assert degrade(music[:, :length], SAMPLE_RATE, codec, 64_000).shape == (2, length)


@pytest.mark.parametrize("codec", CODECS)
def test_minutes_of_music_work(music, codec):
    long = np.tile(music, (1, 18))
    degraded = degrade(long, SAMPLE_RATE, codec, 64_000)
    assert degraded.shape == long.shape
    end = slice(-music.shape[1], None)
    assert abs(lag(long[:, end], degraded[:, end])) <= 0.1


def test_same_input_gives_same_output(music):
    assert np.array_equal(degrade(music, SAMPLE_RATE), degrade(music, SAMPLE_RATE))


def test_silence_stays_silent():
    for codec in CODECS:
        assert np.abs(degrade(np.zeros((2, 20_000), np.float32), SAMPLE_RATE, codec, 64_000)).max() < 1e-4


def test_tensor_comes_back_as_a_tensor_of_its_dtype(music):
    tensor = torch.from_numpy(music[:, :20_000]).double().requires_grad_()
    degraded = degrade(tensor, SAMPLE_RATE)
    assert degraded.dtype == torch.float64
    assert not degraded.requires_grad
    assert np.array_equal(degraded.float().numpy(), degrade(music[:, :20_000], SAMPLE_RATE))


def test_input_is_left_as_it_was(music):
    before = music.copy()
    degrade(music, SAMPLE_RATE)
    assert np.array_equal(music, before)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"codec": "flac"}, "choose one of: mp3, aac, opus, vorbis"),
        ({"bitrate": 25_000}, "choose one of: 8000, 16000, 24000"),
        ({"codec": "aac", "bitrate": 1_000}, "from 8000 to"),
        ({"codec": "opus", "bitrate": 1_000_000}, "from 6000 to 512000"),
        ({"codec": "vorbis", "bitrate": 1_000}, "give one from"),
        ({"compression_level": 10}, r"0 \(best\) to 9"),
        ({"codec": "aac", "compression_level": 3}, "only"),
        ({"sample_rate": 0}, "above 0"),
    ],
)
def test_impossible_request_is_told_with_what_is_possible(music, arguments, says):
    with pytest.raises(ApolloError, match=says):
        degrade(music, **{"sample_rate": SAMPLE_RATE, **arguments})


@pytest.mark.parametrize(
    ("waveform", "says"),
    [
        (np.zeros((3, 1_000), np.float32), "one or two channels, but this waveform has 3"),
        (np.zeros(1_000, np.float32), r"\(channels, samples\)"),
        (np.full((1, 1_000), np.nan, np.float32), "NaN"),
    ],
)
def test_unusable_waveform_is_told(waveform, says):
    with pytest.raises(ApolloError, match=says):
        degrade(waveform, SAMPLE_RATE)


def test_importing_audio_does_not_import_torch():
    code = "import apollo.audio, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
