"""Levels are learnt by what hearing makes of them: the measure, and its prediction without a waveform."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from apollo.nn import Apollo
from apollo.nn.filling import Levels, gather, power_of
from apollo.nn.generator import band_widths
from apollo.nn.level_loss import FillPower, LevelLoss, lost_bands, ripple, target_levels
from apollo.nn.losses import GeneratorLoss
from apollo.nn.similarity import BANDS, GammatoneSpectrum, similarity

RATE = 44100
FILL = {"channels": 8, "dilations": [1]}
ALL = dict.fromkeys(LevelLoss.TERMS, 1.0)


def noise(items: int = 2, seconds: float = 1.0, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(items, int(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def low_passed(waveform: Tensor, hertz: float) -> Tensor:
    spectrum = torch.fft.rfft(waveform)
    spectrum[..., int(waveform.shape[-1] * hertz / RATE) :] = 0
    return torch.fft.irfft(spectrum, waveform.shape[-1])


@pytest.fixture
def generator() -> Apollo:
    torch.manual_seed(0)
    return Apollo(win=40, feature_dim=16, layer=1, heads=2, output="residual", fill=FILL)


def test_a_tone_is_heard_in_the_band_of_its_frequency_at_its_power() -> None:
    gammatone = GammatoneSpectrum(RATE)
    time = torch.arange(RATE) / RATE
    loudest = []
    for hertz in (110.0, 1000.0, 9000.0):
        power = gammatone(0.5 * torch.sin(2 * math.pi * hertz * time)[None])
        assert power.shape == (1, BANDS, 1 + (RATE - 3528) // 882)
        share = float(power.max() / (0.125 * gammatone.window.square().mean()))
        assert 0.4 < share < 1.01  # no more than it has, and 4 dB less half-way between two bands
        loudest.append(int(power[0, :, 5].argmax()))
    assert loudest == sorted(loudest)
    assert loudest[0] < 6
    assert 10 < loudest[1] < 20
    assert loudest[2] > 23


def test_similarity_is_one_for_the_same_and_falls_with_damage() -> None:
    gammatone, original = GammatoneSpectrum(RATE), noise()
    scores = [
        float(similarity(gammatone(original), gammatone(low_passed(original, hertz))).mean())
        for hertz in (22050, 16000, 8000, 2000)
    ]
    assert scores[0] == pytest.approx(1, abs=1e-4)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.7


def test_similarity_has_a_finite_gradient_for_silence_and_for_short_waveforms() -> None:
    loss = GeneratorLoss(weights={"similarity": 1.0}, sample_rate=RATE)
    for original in (torch.zeros(1, 2, 8000), noise(2)[None], noise(2)[None, :, :1000]):
        estimate = torch.zeros_like(original).requires_grad_()
        terms = loss(estimate, original, estimate)
        terms["loss"].backward()
        assert set(terms) == {"similarity", "loss"}
        assert estimate.grad is not None
        assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("unevenness", [0.0, 4.0])  # dB from frame to frame and band to band
def test_the_power_of_a_fill_is_predicted_from_its_levels_alone(unevenness: float, generator: Apollo) -> None:
    time = torch.arange(3 * RATE) / RATE
    swelling = noise(3, 3.0) * (0.2 + torch.sin(2 * math.pi * time).square())
    fill, draws = generator.fill, torch.Generator().manual_seed(1)
    assert fill is not None
    spectrum = generator.stft(swelling)
    amplitude = 10 ** (unevenness * torch.randn(*spectrum.shape[:2], 80, generator=draws) / 20)
    waveform = generator.istft(fill.excitation(spectrum, power_of(spectrum), amplitude), swelling.shape[-1])
    gammatone = GammatoneSpectrum(RATE)
    heard = gammatone(waveform)
    predicted = FillPower(fill.widths, generator.n_fft, gammatone)(amplitude)[..., : heard.shape[-1]]
    # Below some 2 kHz a band of hearing is narrower than one of the network's, and hears single partials.
    error = 10 * torch.log10(heard / predicted)[:, 16:, 3:-3]
    assert abs(float(error.mean())) < 0.3
    assert float(error.mean((0, 2)).abs().max()) < 0.5
    assert float(error.std()) < 1


def test_other_windows_than_those_of_hearing_are_refused() -> None:
    with pytest.raises(ValueError, match="win must be 40 ms"):
        FillPower(band_widths(882), 882, GammatoneSpectrum(RATE))


def test_the_true_levels_of_what_is_lost_sound_better_than_none_and_cost_waveform(generator: Apollo) -> None:
    original = noise(2, 2.0)
    degraded = low_passed(original, 9000)
    there, left = generator.stft(original), generator.stft(degraded)
    power = gather(there.square().sum(-1), band_widths(1764))
    lost = lost_bands(target_levels(power), gather(left.square().sum(-1), band_widths(1764)))
    assert lost[..., :31].float().mean() < 0.01
    assert lost[..., 34:].float().mean() > 0.99
    loss = LevelLoss(ALL, RATE)

    def terms(share: float, bias: float = 0.0) -> dict[str, float]:
        one = torch.ones_like(power)
        levels = Levels(10 * torch.log10(power) + bias, one, share * lost.float(), one)
        heard = loss.gammatone(original), loss.gammatone(degraded)
        return {name: float(term) for name, term in loss._terms(levels, there, left, *heard).items()}

    full, none = terms(1.0), terms(0.0)
    assert full["similarity"] < 0.5 * none["similarity"]
    assert none["harm"] == pytest.approx(0, abs=1e-5)
    assert full["harm"] == pytest.approx(0.5 * 10 * math.log10(2), abs=0.1)  # as much error again as was lost
    assert none["excess"] == 0
    assert full["excess"] == pytest.approx(0.5 * (10 * math.log10(2) - 1), abs=0.1)  # what is beyond 1 dB of it
    assert full["repair"] == pytest.approx(0, abs=1e-5)
    assert none["worse"] == pytest.approx(0, abs=1e-3)
    assert full["worse"] == pytest.approx(0, abs=1e-3)
    assert full["level"] == pytest.approx(0, abs=0.01)
    assert terms(1.0, 3.0)["level"] == pytest.approx(3 * 0.92, abs=0.01)
    assert terms(1.0, -3.0)["level"] == pytest.approx(3 * 1.08, abs=0.01)  # too low is a little worse than too high


@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_levels_of_short_music_are_judged_too(generator: Apollo, seconds: float) -> None:
    original = noise(1, seconds)[:, None]
    assert LevelLoss(ALL, RATE)(generator, original, original / 2)["loss"].isfinite()


def test_the_wiener_gain_repairs_most(generator: Apollo) -> None:
    original = noise(2, 2.0)
    degraded = original + noise(2, 2.0, seed=1)
    there, left = generator.stft(original), generator.stft(degraded)
    one = torch.ones_like(gather(there.square().sum(-1), band_widths(1764)))
    loss = LevelLoss({"repair": 1.0}, RATE)
    heard = loss.gammatone(original), loss.gammatone(degraded)

    def repair(gain: float) -> float:
        return float(loss._terms(Levels(0 * one, one, 0 * one, gain * one), there, left, *heard)["repair"])

    assert repair(1.0) == pytest.approx(0, abs=1e-6)
    assert repair(0.5) == pytest.approx(0.5 * 10 * math.log10(0.5), abs=0.05)
    assert min(repair(0.3), repair(0.7)) > repair(0.5)


def test_lowering_what_was_right_is_worse_with_and_without_a_fill(generator: Apollo) -> None:
    music = noise(2, 2.0)
    spectrum, loss = generator.stft(music), LevelLoss({"worse": 1.0, "dulled": 1.0}, RATE)
    one = torch.ones_like(gather(power_of(spectrum), band_widths(1764)))
    heard = loss.gammatone(music)
    for gain, least, most in ((1.0, 0, 1e-4), (0.7, 0.1, 100)):
        terms = loss._terms(Levels(0 * one, one, 0 * one, gain * one), spectrum, spectrum, heard, heard)
        assert least <= float(terms["dulled"]) <= most
        assert float(terms["worse"]) == float(terms["dulled"])


def test_a_fill_where_nothing_is_lost_is_worse(generator: Apollo) -> None:
    music = low_passed(noise(2, 2.0), 9000)
    spectrum, loss = generator.stft(music), LevelLoss({"worse": 1.0}, RATE)
    power = gather(generator.stft(noise(2, 2.0)).square().sum(-1), band_widths(1764))
    levels, heard = 10 * torch.log10(power), loss.gammatone(music)
    for share, worse in ((0.0, False), (1.0, True)):
        one = torch.ones_like(power)
        filled = Levels(levels, one, share * one, one)
        assert (float(loss._terms(filled, spectrum, spectrum, heard, heard)["worse"]) > 0.1) == worse


def test_a_small_level_network_learns_the_levels_of_what_is_lost(generator: Apollo) -> None:
    loss = LevelLoss({"similarity": 1.0, "level": 1.0}, RATE)
    assert generator.fill is not None
    optimizer = torch.optim.Adam(generator.fill.parameters(), lr=0.01)
    scores = []
    for step in range(40):
        original = noise(4, 0.5, seed=step)[:, None]
        terms = loss(generator, original, low_passed(original, 9000))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        scores.append(float(terms["loss"].detach()))
    assert np.mean(scores[-5:]) < 0.6 * np.mean(scores[:5])


def test_unknown_terms_and_weights_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown loss 'similarty'"):
        LevelLoss({"similarty": 1.0})
    with pytest.raises(ValueError, match="every weight is 0"):
        LevelLoss({"level": 0.0})


def test_ripple_is_of_lost_bands_alone() -> None:
    lost = torch.zeros(1, 3, 80)
    lost[..., 40:] = 1
    even = torch.full((1, 3, 80), 0.7)
    even[..., :40] = torch.rand(40)  # what is not lost may be filled in as it likes
    assert ripple(even, lost) < 1e-12
    striped = even + 0.2 * (torch.arange(80) % 8 < 4)
    assert float(ripple(striped, lost)) == pytest.approx(0.01, rel=0.3)
    assert ripple(striped, torch.zeros_like(lost)) == 0
