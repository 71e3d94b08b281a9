import copy
import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from apollo.audio import CODECS, degrade, lag
from apollo.audio.signal import Signal
from apollo.data.degradation import BITRATES, Degradation, Encoding, RandomCodec, degraded

RATE = 44_100

EVERYTHING = {
    "bitrate": [24_000, 64_000, 320_000],
    "compression": {"probability": 0.5, "level": [0, 9]},
    "formats": {"mp3": 1, "aac": 0.5, "opus": 0.5, "vorbis": 0.5},
    "vbr": {"probability": 0.5, "quality": [0, 9]},
    "stereo": "random",
    "lowpass": {"probability": 0.5, "frequency": [12_000, 16_000]},
    "double": 0.5,
}


@pytest.fixture(scope="module")
def music(make_music: Callable[..., npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    return make_music(60_000 / RATE, seed=3)


def draws(seed: int = 0, count: int = 300, channels: int = 2, **options: object) -> list[Degradation]:
    rng = np.random.default_rng(seed)
    codec = RandomCodec(RATE, **options)  # type: ignore[arg-type]
    return [codec.choose(rng, channels) for _ in range(count)]


def test_by_default_one_bitrate_is_drawn_and_nothing_else(music: npt.NDArray[np.float32]) -> None:
    codec, rng, alone = RandomCodec(RATE), np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(4):
        damaged = codec(music, rng)
        assert np.array_equal(damaged, degrade(music, RATE, "mp3", int(alone.choice(BITRATES))))
    assert rng.random() == alone.random()


def test_a_fixed_bitrate_draws_nothing(music: npt.NDArray[np.float32]) -> None:
    rng = np.random.default_rng(5)
    damaged = RandomCodec(RATE, bitrate=32_000, compression=2)(music, rng)
    assert np.array_equal(damaged, degrade(music, RATE, "mp3", 32_000, compression_level=2))
    assert rng.random() == np.random.default_rng(5).random()


def test_options_are_never_overwritten_by_what_is_drawn(music: npt.NDArray[np.float32]) -> None:
    options = copy.deepcopy(EVERYTHING)
    codec = RandomCodec(RATE, **options)
    rng = np.random.default_rng(0)
    before = copy.deepcopy(vars(codec))
    assert len({codec.choose(rng) for _ in range(100)}) > 90
    codec(music, rng)
    assert vars(codec) == before
    assert options == EVERYTHING


def test_every_option_is_drawn_as_often_as_asked() -> None:
    chosen = draws(count=2000, **EVERYTHING)
    assert np.mean([len(one.encodings) == 2 for one in chosen]) == pytest.approx(0.5, abs=0.05)
    cutoffs = [one.lowpass for one in chosen if one.lowpass is not None]
    assert len(cutoffs) / len(chosen) == pytest.approx(0.5, abs=0.05)
    assert 12_000 <= min(cutoffs) < 12_100
    assert 15_900 < max(cutoffs) <= 16_000
    last = [one.encodings[-1] for one in chosen]
    shares = {codec: np.mean([e.codec == codec for e in last]) for codec in CODECS}
    assert shares == pytest.approx({"mp3": 0.4, "aac": 0.2, "opus": 0.2, "vorbis": 0.2}, abs=0.04)
    mp3 = [e for e in last if e.codec == "mp3"]
    assert np.mean([e.vbr_quality is not None for e in mp3]) == pytest.approx(0.5, abs=0.06)
    assert np.mean([e.stereo == "separate" for e in mp3]) == pytest.approx(0.5, abs=0.06)
    assert {e.compression_level for e in mp3} == set(range(10))
    assert {e.bitrate for e in mp3} == {None, 24_000, 64_000, 320_000}
    assert all((e.bitrate is None) != (e.vbr_quality is None) for e in last)
    assert all(e.stereo is e.compression_level is None for e in last if e.codec != "mp3")


def test_bitrates_come_as_often_as_their_weights_say() -> None:
    chosen = draws(count=1000, bitrate={24_000: 3, 64_000: 1, 96_000: 0})
    bitrates = [one.encodings[0].bitrate for one in chosen]
    assert set(bitrates) == {24_000, 64_000}
    assert bitrates.count(24_000) / len(bitrates) == pytest.approx(0.75, abs=0.05)


def test_one_seed_gives_one_sequence() -> None:
    assert draws(1, **EVERYTHING) == draws(1, **EVERYTHING)
    assert draws(1, **EVERYTHING) != draws(2, **EVERYTHING)


def test_the_number_of_draws_does_not_depend_on_how_they_come_out() -> None:
    never = {**EVERYTHING, "vbr": {"probability": 0, "quality": [0, 9]}, "double": 1e-9}
    never["lowpass"] = {"probability": 0, "frequency": [12_000, 16_000]}
    always = {**EVERYTHING, "vbr": {"probability": 1, "quality": [0, 9]}, "double": 1.0}
    always["lowpass"] = {"probability": 1, "frequency": [12_000, 16_000]}
    for seldom, often in zip(draws(count=50, **never), draws(count=50, **always), strict=True):
        assert seldom.encodings[-1].codec == often.encodings[-1].codec
        assert seldom.encodings[-1].stereo == often.encodings[-1].stereo


def test_low_pass_and_double_leave_the_first_draws_as_they_were() -> None:
    plain = draws(count=1, bitrate=[8_000, 64_000, 128_000])[0]
    more = draws(count=1, bitrate=[8_000, 64_000, 128_000], double=1.0, lowpass=EVERYTHING["lowpass"])[0]
    assert more.encodings[-1] == plain.encodings[-1]


def test_clipping_and_the_undamaged_come_as_often_as_asked_and_leave_other_draws_alone() -> None:
    plain = draws(**EVERYTHING, count=1)[0]
    chosen = draws(count=1000, clipping={"probability": 0.25, "level": [-12, -3]}, undamaged=0.2)
    whole = [one for one in chosen if not one.encodings]
    assert len(whole) == pytest.approx(200, abs=40)
    assert all(one == Degradation(None, ()) for one in whole)
    clips = [one.clip for one in chosen if one.clip is not None]
    assert len(clips) == pytest.approx(200, abs=40)
    assert -12 <= min(clips) < -11.5
    assert -3.5 < max(clips) <= -3
    more = draws(count=1, **EVERYTHING, clipping={"probability": 1, "level": [-6, -6]}, undamaged=1e-9)[0]
    assert (more.lowpass, more.encodings) == (plain.lowpass, plain.encodings)


@pytest.mark.parametrize("block", [1_000, 60_000])
def test_clipped_waveforms_are_cut_off_below_their_peak_and_the_undamaged_stay(
    music: npt.NDArray[np.float32], block: int
) -> None:
    signal = Signal(RATE, 2, 60_000, lambda: (music[:, at : at + block] for at in range(0, 60_000, block)))
    ceiling = np.float32(10 ** (-6 / 20) * float(np.abs(music).max()))
    clipped = degraded(signal, Degradation(None, (), clip=-6.0)).array()
    assert np.array_equal(clipped, np.clip(music, -ceiling, ceiling))
    assert (np.abs(music) > ceiling).any()
    assert np.array_equal(degraded(signal, Degradation(None, ())).array(), music)
    coded = RandomCodec(RATE, clipping={"probability": 1, "level": [-6, -6]})(music, np.random.default_rng(0))
    assert np.abs(coded - clipped).mean() < np.abs(coded - music).mean()


@pytest.mark.parametrize("channels", [1, 2])
def test_every_combination_can_be_coded(music: npt.NDArray[np.float32], channels: int) -> None:
    options = {**EVERYTHING, "bitrate": [8_000, 24_000, 70_000, 500_000], "double": 0.3}
    codec = RandomCodec(RATE, **options)
    rng = np.random.default_rng(channels)
    for _ in range(25):
        assert codec(music[:channels, :6_000], rng).shape == (channels, 6_000)


def test_a_bitrate_that_a_format_lacks_becomes_its_nearest() -> None:
    (vorbis,) = draws(count=1, bitrate=500_000, formats=["vorbis", "opus"], channels=1)
    assert vorbis.encodings[0].bitrate is not None
    assert vorbis.encodings[0].bitrate <= 256_000
    chosen = {one.encodings[0] for one in draws(bitrate=70_000, formats=["mp3", "opus"])}
    assert {(e.codec, e.bitrate) for e in chosen} == {("mp3", 64_000), ("opus", 70_000)}


def test_what_was_chosen_is_data() -> None:
    for one in draws(count=30, **EVERYTHING):
        data = json.loads(json.dumps(one.as_dict()))
        encodings = tuple(Encoding(**encoding) for encoding in data["encodings"])
        assert Degradation(data["lowpass"], encodings) == one


def test_choosing_and_applying_is_what_calling_does(music: npt.NDArray[np.float32]) -> None:
    codec = RandomCodec(RATE, **EVERYTHING)
    for seed in range(4):
        chosen = codec.choose(np.random.default_rng(seed))
        assert np.array_equal(codec.apply(music, chosen), codec(music, np.random.default_rng(seed)))


def test_low_pass_takes_the_treble_before_the_codec_does(music: npt.NDArray[np.float32]) -> None:
    lowpass = {"probability": 1, "frequency": [5_000, 5_000]}
    damaged = RandomCodec(RATE, bitrate=128_000, lowpass=lowpass)(music, np.random.default_rng(0))
    frequencies = np.fft.rfftfreq(music.shape[1], 1 / RATE)
    treble = frequencies > 5_500
    power = [np.sum(np.abs(np.fft.rfft(x * np.hanning(x.shape[1]))[:, treble]) ** 2) for x in (music, damaged)]
    assert power[1] < 1e-3 * power[0]
    assert abs(lag(music, damaged)) < 0.05


def test_coding_twice_does_both_aligned(music: npt.NDArray[np.float32]) -> None:
    twice = Degradation(None, (Encoding("aac", 48_000), Encoding("mp3", 64_000)))
    coded = RandomCodec(RATE).apply(music, twice)
    assert np.array_equal(coded, degrade(degrade(music, RATE, "aac", 48_000), RATE, "mp3", 64_000))
    assert abs(lag(music, coded)) < 0.1


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_blocks_joined_are_the_whole(music: npt.NDArray[np.float32], channels: int) -> None:
    many = np.concatenate([2 * music, music[::-1], music[:1]])[:channels]
    chosen = Degradation(15_000.0, (Encoding("aac", 96_000), Encoding("mp3", vbr_quality=4.0)))
    codec = RandomCodec(RATE)
    length = many.shape[1]
    signal = Signal(RATE, channels, length, lambda: (many[:, n : n + 5_000] for n in range(0, length, 5_000)))
    whole = codec.apply(many, chosen)
    assert whole.shape == many.shape
    assert np.array_equal(degraded(signal, chosen).array(), whole)
    assert np.array_equal(whole[:2], codec.apply(many[:2], chosen))


def test_quality_above_nine_is_nine_as_published_configurations_need() -> None:
    assert draws(count=1, compression=64)[0].encodings[0].compression_level == 9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bitrate": "64k"}, "a whole number of bit/s such as 64000, or a list"),
        ({"bitrate": 64}, "a whole number of bit/s"),
        ({"bitrate": []}, "a whole number of bit/s"),
        ({"bitrate": True}, "a whole number of bit/s"),
        ({"bitrate": 70_000}, "not possible with mp3: the nearest is 64000"),
        ({"bitrate": [64_000, 5_000_000], "formats": ["opus"]}, "nearest is 512000"),
        ({"compression": -1}, "whole number from 0"),
        ({"compression": {"probability": 0.5}}, r"compression must be \{probability: 0 to 1, level"),
        ({"compression": {"probability": 0.5, "level": [0, 10]}}, "two whole numbers from 0 to 9"),
        ({"formats": ["flac"]}, "formats must be a list of mp3, aac, opus, vorbis"),
        ({"formats": {"mp3": 0}}, "formats must be"),
        ({"formats": {"mp3": -1, "aac": 2}}, "formats must be"),
        ({"formats": "mp3"}, "formats must be"),
        ({"formats": [["mp3"]]}, "formats must be"),
        ({"vbr": {"probability": 2, "quality": [0, 9]}}, "vbr.probability must be a number from 0 to 1"),
        ({"vbr": {"probability": 1, "quality": [5, 3]}}, "the lower first"),
        ({"vbr": {"probability": 1, "qualities": [3, 5]}}, "vbr must be"),
        ({"vbr": {"probability": 1, "quality": [0, 9]}, "formats": ["aac"]}, "vbr is a mode of LAME"),
        ({"vbr": 3}, "vbr must be"),
        ({"stereo": "mono"}, "'joint', 'separate' or 'random'"),
        ({"stereo": "random", "formats": ["opus"]}, "stereo is a mode of LAME"),
        ({"lowpass": {"probability": 0.5, "frequency": [12, 16]}}, "lowpass.frequency must be two numbers from 20"),
        ({"lowpass": {"probability": float("nan"), "frequency": [12_000, 16_000]}}, "lowpass.probability"),
        ({"double": "often"}, "double must be a number from 0 to 1"),
    ],
)
def test_an_impossible_option_is_told_at_once(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says) as told:
        RandomCodec(RATE, **options)  # type: ignore[arg-type]
    assert "\n" not in str(told.value)
