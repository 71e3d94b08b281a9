from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import freqz

from apollo.audio import degrade
from apollo.evaluation import waveforms
from apollo.evaluation.cases import find_cases
from apollo.evaluation.controls import controlled
from apollo.evaluation.evaluate import evaluate
from apollo.evaluation.report import Grids
from apollo.evaluation.report.html import page
from apollo.evaluation.report.markdown import document
from apollo.evaluation.report.sentences import cautions
from apollo.evaluation.results import CONTROLS, NOISE, SHELF, UNPROCESSED, Evaluation
from apollo.evaluation.systems import Restorations, Settings

RATE = 44_100


def test_noise_is_white_soft_and_always_the_same(tmp_path: Path) -> None:
    silence = np.zeros((2, 100_000), np.float32)
    noise = controlled(NOISE, silence, tmp_path)
    assert 20 * np.log10(np.sqrt(np.mean(noise**2))) == pytest.approx(-70, abs=0.1)
    power = np.abs(np.fft.rfft(noise[0])) ** 2
    assert power[:20_000].mean() == pytest.approx(power[30_000:].mean(), rel=0.05)
    assert np.array_equal(noise, controlled(NOISE, silence, tmp_path))
    assert not np.array_equal(noise[0], noise[1])


def test_shelf_raises_the_treble_by_6_db_and_leaves_the_bass(tmp_path: Path) -> None:
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1
    frequency, response = freqz(controlled(SHELF, impulse, tmp_path)[0, :4096], worN=4096, fs=RATE)
    level = 20 * np.log10(np.abs(response))
    assert np.abs(level[frequency < 500]).max() < 0.1
    assert level[np.searchsorted(frequency, 5000)] == pytest.approx(3, abs=0.1)
    assert level[frequency > 18_000] == pytest.approx(6, abs=0.1)


def test_a_long_recording_gets_the_same_controls_from_disk(
    tmp_path: Path, chords: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = [controlled(control, chords, tmp_path) for control in CONTROLS]
    monkeypatch.setattr(waveforms, "_IN_MEMORY", 1000)
    for control, expected in zip(CONTROLS, short, strict=True):
        found = controlled(control, chords, tmp_path)
        assert isinstance(found, np.memmap)
        assert np.array_equal(found, expected)


@pytest.fixture(scope="module")
def ranked(chords: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A system that restores nothing but loses a little everywhere, beside one that brings the original back."""
    folder = tmp_path_factory.mktemp("controls")
    for name in ("music", "worse", "perfect"):
        (folder / name).mkdir()
    soundfile.write(folder / "music" / "a.flac", chords.T, RATE, subtype="PCM_24")
    soundfile.write(folder / "perfect" / "a.flac", chords.T, RATE, subtype="PCM_24")
    coded = degrade(chords, RATE, bitrate=64_000)
    rumble = 0.02 * np.random.default_rng(0).standard_normal(coded.shape)
    soundfile.write(folder / "worse" / "a.flac", (coded + rumble).T, RATE, subtype="PCM_24")
    others = [Restorations(name, folder / name) for name in ("perfect", "worse")]
    settings = Settings(restorations=others, metrics=("si_sdr", "lsd"), controls=True)
    return evaluate(find_cases(folder / "music", ("mp3",), (64,)), settings)


def test_controls_stand_in_the_tables_and_are_not_ranked(ranked: Evaluation) -> None:
    assert ranked.systems == [UNPROCESSED, "perfect", "worse", *CONTROLS]
    assert ranked.ranked.systems == [UNPROCESSED, "perfect", "worse"]
    for text in (document(ranked, Grids.of(ranked)), page(ranked, [], Grids.of(ranked))):
        for control in CONTROLS:
            assert control in text.replace("\\", "")
    assert f"{NOISE} raises" not in document(ranked, Grids.of(ranked))


def test_a_metric_that_a_control_wins_is_told_and_is_no_headline(ranked: Evaluation) -> None:
    assert ranked.winning_controls("worse", "si_sdr")
    assert not ranked.winning_controls("perfect", "si_sdr")
    told = [sentence for sentence in cautions(ranked) if sentence.startswith("SI-SDR prefers")]
    assert len(told) == 1
    assert "to worse" in told[0]
    text = page(ranked, [], Grids.of(ranked))
    assert '<p class="headline">perfect changes SI-SDR' in text
    assert '<p class="headline">worse changes SI-SDR' not in text


def test_without_a_system_there_is_nothing_to_control() -> None:
    assert Settings(controls=True).systems == [UNPROCESSED]
