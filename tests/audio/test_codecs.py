import numpy as np
import pytest
import torch

from apollo.audio import CODECS, MARGIN, degrade, lag
from apollo.audio.bitrates import coded_rate, nearest_bitrate
from apollo.audio.codecs import _Coding, _encoder, _packets, coded
from apollo.audio.encodings import OLDER, Encoding
from apollo.audio.signal import Signal
from apollo.errors import ApolloError

SAMPLE_RATE = 44_100
BITRATES = (24_000, 32_000, 48_000, 64_000, 96_000, 128_000)


def in_pieces(waveform, size, sample_rate=SAMPLE_RATE):
    """A signal that comes in blocks of a size."""
    channels, samples = waveform.shape
    blocks = [waveform[:, n : n + size] for n in range(0, samples, size)]
    return Signal(sample_rate, channels, samples, lambda: iter(blocks))


def noise_to_signal_db(original, degraded):
    return 10 * np.log10(np.mean((original - degraded) ** 2) / np.mean(original**2))


def coded_bitrate(waveform, rate, codec, bitrate=64_000, vbr_quality=None, stereo="joint"):
    """What the encoder makes of a waveform, in bit/s."""
    encoding = Encoding(
        codec, bitrate if vbr_quality is None else None, vbr_quality, stereo=stereo if codec == "mp3" else None
    )
    coding = _Coding(encoding, rate, len(waveform))
    packets = list(_packets([waveform], _encoder(coding)))
    samples = {"mp3": 1152 if rate >= 32_000 else 576, "aac": 1024, "opus": 960}[codec]
    return 8 * sum(packet.size for packet in packets) * rate / (samples * len(packets))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bitrate", [24_000, 64_000, 128_000])
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
    rate = coded_rate("mp3", sample_rate, bitrate, channels)
    assert coded_bitrate(music[:channels, :40_000], rate, "mp3", bitrate) == pytest.approx(bitrate, rel=0.01)


@pytest.mark.parametrize("codec", ["aac", "opus"])
@pytest.mark.parametrize("bitrate", [32_000, 128_000])
def test_other_codecs_come_near_the_bitrate_asked_for(music, codec, bitrate):
    assert coded_bitrate(music, 48_000, codec, bitrate) == pytest.approx(bitrate, rel=0.25)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("codec", "quality"),
    [*[("mp3", v) for v in (0, 2, 4.5, 7, 9)], ("aac", 0.6), ("aac", 2), ("vorbis", 0), ("vorbis", 9)],
)
def test_variable_bitrate_is_aligned_level_and_of_equal_length(music, codec, quality, channels):
    original = music[:channels, :100_001]
    degraded = degrade(original, SAMPLE_RATE, codec, vbr_quality=quality)
    assert degraded.shape == original.shape
    assert abs(lag(original, degraded)) <= 0.1
    assert np.vdot(original, degraded) / np.vdot(original, original) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("quality", [0, 2, 4, 6, 8])
def test_variable_mp3_keeps_the_level(quality):
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    chords = [(150, 310, 470, 700), (220, 330, 550, 1210), (180, 905, 1500, 1900)]
    tones = [sum(0.05 * np.sin(2 * np.pi * f * time + f) for f in chord).astype(np.float32) for chord in chords]
    gains = [np.vdot(t, degrade(t[None], SAMPLE_RATE, vbr_quality=quality)) / np.vdot(t, t) for t in tones]
    assert np.mean(gains) == pytest.approx(1, abs=0.002 if quality < 4 else 0.015)


@pytest.mark.parametrize(("codec", "qualities"), [("mp3", (8, 4, 0)), ("aac", (0.2, 0.6, 2.0))])
def test_better_quality_takes_more_bits_and_makes_less_noise(music, codec, qualities):
    bits = [coded_bitrate(music, SAMPLE_RATE, codec, vbr_quality=quality) for quality in qualities]
    noise = [
        noise_to_signal_db(music, degrade(music, SAMPLE_RATE, codec, vbr_quality=quality)) for quality in qualities
    ]
    assert bits == sorted(bits)
    assert bits[-1] > 1.5 * bits[0]
    assert noise == sorted(noise, reverse=True)


def test_variable_bitrate_takes_no_notice_of_the_bitrate(music):
    first, second = (degrade(music, SAMPLE_RATE, "mp3", bitrate, vbr_quality=5) for bitrate in (8_000, 320_000))
    assert np.array_equal(first, second)


def test_joint_stereo_is_the_default_and_kinder_to_a_nearly_mono_piece_than_separate(music):
    # Middle and side say once what left and right say twice.
    nearly_mono = np.stack([music[0], music[0] + 0.01 * music[1]])
    joint, separate = (degrade(nearly_mono, SAMPLE_RATE, "mp3", 64_000, stereo=mode) for mode in ("joint", "separate"))
    assert np.array_equal(joint, degrade(nearly_mono, SAMPLE_RATE, "mp3", 64_000))
    assert noise_to_signal_db(nearly_mono, joint) < noise_to_signal_db(nearly_mono, separate) - 1
    assert abs(lag(nearly_mono, separate)) <= 0.1


@pytest.mark.parametrize("compression_level", [0, 9])
@pytest.mark.parametrize("stereo", ["joint", "separate"])
def test_neither_compression_level_nor_stereo_mode_changes_the_level(compression_level, stereo):
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = sum(0.05 * np.sin(2 * np.pi * f * time + f) for f in (150, 310, 470, 700)).astype(np.float32)
    original = np.stack([tone, 0.5 * tone])
    degraded = degrade(original, SAMPLE_RATE, "mp3", 160_000, compression_level=compression_level, stereo=stereo)
    assert np.vdot(original, degraded) / np.vdot(original, original) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_nearest_bitrate_is_one_that_the_codec_can_do(music, codec, channels):
    for wish in (1_000, 24_000, 25_000, 70_001, 128_000, 300_000, 2_000_000):
        bitrate = nearest_bitrate(codec, wish, channels)
        assert degrade(music[:channels, :3_000], SAMPLE_RATE, codec, bitrate).shape == (channels, 3_000)
        assert nearest_bitrate(codec, bitrate, channels) == bitrate
    assert nearest_bitrate("mp3", 144_001, channels) == 144_000
    assert nearest_bitrate("mp3", 52_000, channels) == 48_000
    assert nearest_bitrate("opus", 1_000, channels) == 6_000


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
def test_long_music_works(music, codec):
    # In one call, libsndfile crashes on Vorbis of more than 45 s.
    long = np.tile(music, (1, 18 if codec == "vorbis" else 6))
    degraded = degrade(long, SAMPLE_RATE, codec, 64_000)
    assert degraded.shape == long.shape
    end = slice(-music.shape[1], None)
    assert abs(lag(long[:, end], degraded[:, end])) <= 0.1


@pytest.mark.parametrize(
    ("codec", "sample_rate"), [("mp3", 44_100), ("mp3", 96_000), ("aac", 44_100), ("opus", 44_100), ("vorbis", 44_100)]
)
@pytest.mark.parametrize("length", [0, 1, 1_000, 300_000])
def test_blocks_joined_are_the_whole(music, codec, sample_rate, length):
    long = 1.5 * np.tile(music, (1, 3))[:, :length]
    whole = degrade(long, sample_rate, codec)
    assert whole.shape == long.shape
    assert np.array_equal(coded(in_pieces(long, 9_999, sample_rate), Encoding(codec, 64_000)).array(), whole)


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
        ({"vbr_quality": 9.5}, "mp3 knows 0 to 9"),
        ({"codec": "aac", "vbr_quality": 5}, "aac knows 0.1 to 2"),
        ({"codec": "opus", "vbr_quality": 5}, "opus has no quality scale"),
        ({"codec": "opus", "stereo": "joint"}, "only with codec 'mp3'"),
        ({"stereo": "wide"}, "'joint' or 'separate'"),
    ],
)
def test_impossible_request_is_told_with_what_is_possible(music, arguments, says):
    with pytest.raises(ApolloError, match=says):
        degrade(music, **{"sample_rate": SAMPLE_RATE, **arguments})


@pytest.mark.parametrize(
    ("waveform", "says"),
    [
        (np.zeros((3, 1_000), np.float32), "one or two channels, and this has 3: mix it down"),
        (np.zeros(1_000, np.float32), r"\(channels, samples\)"),
        (np.full((1, 1_000), np.nan, np.float32), "NaN"),
    ],
)
def test_unusable_waveform_is_told(waveform, says):
    with pytest.raises(ApolloError, match=says):
        degrade(waveform, SAMPLE_RATE)


def test_importing_audio_does_not_import_torch(run_python):
    code = "import apollo.audio, sys; sys.exit('torch' in sys.modules)"
    assert run_python("-c", code).returncode == 0


@pytest.mark.parametrize("codec", OLDER)
@pytest.mark.parametrize("channels", [1, 2])
def test_older_codecs_are_aligned_keep_the_level_and_lose_less_with_more_bits(music, codec, channels):
    original = music[:channels, :131_071]
    noise = []
    for wish in (24_000, 64_000, 192_000):
        degraded = degrade(original, SAMPLE_RATE, codec, nearest_bitrate(codec, wish, channels))
        assert degraded.shape == original.shape
        # At the lowest, too little is left to tell 0.1 sample.
        assert abs(lag(original, degraded)) <= (1.0 if wish < 64_000 else 0.1)
        noise.append(noise_to_signal_db(original, degraded))
    assert noise[2] < noise[1] < noise[0] < -2
    time = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    tone = sum(0.05 * np.sin(2 * np.pi * f * time + f) for f in (150, 310, 470, 700)).astype(np.float32)
    chord = np.tile(tone, (channels, 1))
    degraded = degrade(chord, SAMPLE_RATE, codec, 192_000)
    assert np.vdot(chord, degraded) / np.vdot(chord, chord) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("codec", OLDER)
def test_older_codecs_take_any_length_rate_level_and_block(music, codec):
    for length in (0, 1, 100):
        assert degrade(music[:, :length], SAMPLE_RATE, codec, 64_000).shape == (2, length)
    for sample_rate in (8_000, 96_000):
        original = music[:, :60_000]
        assert noise_to_signal_db(original, degrade(original, sample_rate, codec, 64_000)) < -3
    loud = 3 * music / np.abs(music).max()
    whole = degrade(loud, SAMPLE_RATE, codec, 128_000)
    assert np.abs(whole).max() > 2
    assert np.array_equal(coded(in_pieces(loud, 9_999), Encoding(codec, 128_000)).array(), whole)
    assert np.abs(degrade(np.zeros((2, 20_000), np.float32), SAMPLE_RATE, codec, 64_000)).max() < 1e-4
