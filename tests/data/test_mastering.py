from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.data.mastering import NODES_HZ, compressed, equalised, like_a_master, long_term_spectrum
from apollo.data.stems import Mixing, StemFolder
from apollo.errors import DataError

RATE = 44100
TREBLE = (NODES_HZ > 1000) & (NODES_HZ < 9000)


def noise(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((2, int(seconds * RATE)))).astype(np.float32)


def slope(mix: np.ndarray) -> float:
    """By how much the density falls, in dB an octave, between 1 and 9 kHz."""
    nodes = NODES_HZ[TREBLE]
    return -float(np.polyfit(np.log2(nodes), long_term_spectrum(mix, RATE, nodes), 1)[0])


@pytest.mark.parametrize("own", [0.0, 10.0])  # dB an octave: white, and darker than any master
def test_music_too_bright_or_too_dark_becomes_like_a_master(own: float) -> None:
    dark = equalised(noise(), RATE, lambda f: -own * np.log2(f / 1000))
    slopes = [slope(like_a_master(np.random.default_rng(seed), dark, RATE)) for seed in range(30)]
    assert 3.0 < np.mean(slopes) < 8.0
    assert abs(np.mean(slopes) - own) > 2
    assert np.std(slopes) > 0.5  # each time another master


def test_equalisation_adds_no_delay_and_keeps_the_length() -> None:
    click = np.zeros((1, 3001), np.float32)
    click[0, 1000] = 1
    shaped = equalised(click, RATE, lambda f: np.where(f > 5000, -12.0, 0.0))
    assert shaped.shape == click.shape
    assert np.abs(shaped).argmax() == 1000


def test_compression_brings_loud_and_soft_together_and_never_clips_nor_fades() -> None:
    def apart(waveform: np.ndarray) -> float:
        return float(20 * np.log10(waveform[:, : RATE // 3].std() / waveform[:, -RATE // 3 :].std()))

    mix = noise()
    mix[:, RATE // 2 :] *= 0.05
    distances = []
    for seed in range(10):
        pressed = compressed(np.random.default_rng(seed), mix, RATE)
        assert pressed.shape == mix.shape
        assert np.abs(pressed).max() <= 1
        distances.append(apart(mix) - apart(pressed))
        assert pressed[:, -RATE // 100 :].std() / pressed[:, -RATE // 3 :].std() == pytest.approx(1, abs=0.2)
    assert min(distances) > 0
    assert np.mean(distances) > 3


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished mix on the left alone, and a voice on the right alone."""
    root = tmp_path_factory.mktemp("songs")
    for name, side in (("mix_1", 0), ("voice_1", 1)):
        waveform = noise(2.0, seed=side)
        waveform[1 - side] = 0
        (root / name).mkdir()
        soundfile.write(root / name / "other.wav", waveform.T, RATE)
    return root


PLAIN = {"coherent_probability": 1.0, "speed": 1.0, "saturation_probability": 0.0, "equalisation": 0.0}
KINDS = {
    "mixes": {"folders": ["mix_*"], "weight": 3, "master_probability": 0, "mash_up_probability": 0},
    "voices": {"folders": ["voice_*", "sung_*"], "weight": 1, "partners": ["mixes"]},
}


def draw(songs: Path, count: int, **options: object) -> list[np.ndarray]:
    folder = StemFolder(songs, RATE, Mixing(**{**PLAIN, "kinds": KINDS, **options}))  # type: ignore[arg-type]
    return [folder.draw(np.random.default_rng(seed), 4000) for seed in range(count)]


def test_kinds_are_drawn_by_their_weights_and_mastered_by_their_own_shares(songs: Path) -> None:
    folder = StemFolder(songs, RATE, Mixing(master_probability=1.0, kinds=KINDS))
    rng = np.random.default_rng(0)
    drawn = [folder._kind(rng, folder.kinds).name for _ in range(400)]
    assert 0.68 < drawn.count("mixes") / 400 < 0.82
    assert {kind.name: kind.master_probability for kind in folder.kinds} == {"mixes": 0, "voices": 1}


def test_mastered_mixes_are_like_masters_and_others_stay_as_they_are(songs: Path) -> None:
    only_voices = {name: {**kind, "weight": float(name == "voices")} for name, kind in KINDS.items()}
    plain = draw(songs, 6, kinds=only_voices)
    mastered = draw(songs, 6, kinds=only_voices, master_probability=1.0)
    assert abs(np.mean([slope(mix) for mix in plain])) < 1
    assert np.mean([slope(mix) for mix in mastered]) > 2.5


def test_a_mash_up_lays_another_kind_over(songs: Path) -> None:
    def drawn(probability: float, seed: int) -> np.ndarray:
        folder = StemFolder(songs, RATE, Mixing(**PLAIN, kinds=KINDS, mash_up_probability=probability))  # type: ignore[arg-type]
        voices = next(kind for kind in folder.kinds if kind.name == "voices")
        return folder._mixes(np.random.default_rng(seed), voices, 4000)

    added = 0
    for seed in range(6):
        alone, both = drawn(0.0, seed), drawn(1.0, seed)
        if np.abs(both - alone).max() and np.abs(alone).max():
            added += 1
            assert -10.1 < 10 * np.log10(np.square(both - alone).mean() / np.square(alone).mean()) < 6.1
    assert added


def test_compressed_mixes_are_denser(songs: Path) -> None:
    def crest(mixes: list[np.ndarray]) -> float:
        return float(np.mean([np.abs(mix).max() / mix.std() for mix in mixes]))

    assert crest(draw(songs, 8, compression_probability=1.0)) < crest(draw(songs, 8)) - 0.3


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({}, "kinds must be a block"),
        ({"a": {"folders": "mix", "weight": 1}}, r"kinds\.a\.folders must be a list"),
        ({"a": {"folders": ["*"]}}, r"kinds\.a\.weight must be a number"),
        ({"a": {"folders": ["*"], "weight": 1, "wieght": 2}}, r"kinds\.a\.wieght is not an option of a kind"),
        ({"a": {"folders": ["*"], "weight": 1, "partners": ["b"]}}, r"kinds\.a\.partners must be"),
        ({"a": {"folders": ["*"], "weight": 1, "master_probability": 2}}, r"kinds\.a\.master_probability must be"),
    ],
)
def test_a_kind_that_cannot_be_used_is_named(kinds: dict[str, object], message: str, songs: Path) -> None:
    with pytest.raises(ValueError, match=message):
        StemFolder(songs, RATE, Mixing(kinds=kinds))  # type: ignore[arg-type]


def test_a_song_of_no_kind_is_named(songs: Path) -> None:
    with pytest.raises(DataError, match="voice_1 fits no folders"):
        StemFolder(songs, RATE, Mixing(kinds={"mixes": KINDS["mixes"]}))
    with pytest.raises(DataError, match="weight 0"):
        StemFolder(songs, RATE, Mixing(kinds={"any": {"folders": ["*"], "weight": 0}}))
