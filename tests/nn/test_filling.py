"""What is lost comes back at the predicted level, as a function of the input alone."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from apollo import load_model, save_model
from apollo.nn import Apollo
from apollo.nn.chunks import restore_in_chunks
from apollo.nn.filling import Fill, gather, power_of, scaled, source_bins
from apollo.nn.generator import band_widths

OPTIONS: dict[str, Any] = {"win": 40, "feature_dim": 16, "layer": 1, "output": "residual"}
FILL = {"channels": 8, "dilations": [1, 2, 4]}


@pytest.fixture
def model() -> Apollo:
    """A network whose every weight matters, as after training."""
    torch.manual_seed(0)
    model = Apollo(**OPTIONS, fill=FILL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def music(channels: int, samples: int) -> Tensor:
    """Noise below 4 kHz, swelling and fading, as a codec at a low bitrate leaves it."""
    noise = torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))
    spectrum = torch.fft.rfft(noise)
    spectrum[:, int(samples * 4000 / 44100) :] = 0
    swell = 0.2 + torch.sin(torch.arange(samples) * 2 * math.pi / 30_000).square()
    return 0.1 * torch.fft.irfft(spectrum, samples) * swell


@pytest.mark.parametrize("chunk_frames", [1, 7, 50, 1000])
def test_any_chunk_length_fills_in_the_same_samples(model: Apollo, chunk_frames: int) -> None:
    waveform = music(2, 70_001)
    with torch.no_grad():
        whole = model(waveform[None])[0]
    assert (whole - waveform).abs().max() > 1e-3
    chunked = restore_in_chunks(model, waveform, chunk_frames)
    assert (chunked - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_the_share_scales_what_is_filled_in_and_nothing_else(model: Apollo) -> None:
    waveform = music(1, 44_100)[None]
    with torch.no_grad():
        none, half, full = (model(waveform, share) for share in (0.0, 0.5, 1.0))
        assert model.fill is not None
        spectrum = model.stft(waveform[0])
        lowering, _ = model.fill(spectrum)
        repaired = model.istft(model.repair(spectrum) + lowering, waveform.shape[-1])[None]
    torch.testing.assert_close(none, repaired)
    torch.testing.assert_close(half, (none + full) / 2, rtol=0, atol=1e-6)


def test_the_same_music_at_another_gain_gets_the_same_fill_at_that_gain(model: Apollo) -> None:
    assert model.fill is not None
    noise = 1e-4 * torch.randn(1, 44_100, generator=torch.Generator().manual_seed(2))
    spectrum = model.stft(music(1, 44_100) + noise).double()
    fill = model.fill.double()
    with torch.no_grad():
        loud, quiet = fill(spectrum), fill(spectrum * 0.03)
    for part, at_lower_gain in zip(loud, quiet, strict=True):
        assert part.abs().max() > 0
        torch.testing.assert_close(at_lower_gain, part * 0.03, rtol=1e-3, atol=1e-6 * float(part.abs().max()))


def test_an_excitation_has_the_power_that_each_band_is_given() -> None:
    model = Apollo(**OPTIONS, fill=FILL)
    assert model.fill is not None
    spectrum = model.stft(music(2, 44_100))
    amplitude = torch.rand(*spectrum.shape[:2], len(model.band_widths), generator=torch.Generator().manual_seed(0))
    excitation = model.fill.excitation(spectrum, power_of(spectrum), amplitude)
    power = gather(excitation.square().sum(-1), model.band_widths)
    torch.testing.assert_close(power, amplitude.square(), rtol=1e-4, atol=0)


def test_silence_stays_silent(model: Apollo) -> None:
    assert model.fill is not None
    with torch.no_grad():
        lowering, filling = model.fill(model.stft(torch.zeros(2, 30_000)))
    assert not lowering.any()
    assert not filling.any()


@pytest.mark.parametrize("n_fft", [882, 1764, 1763])
def test_copies_are_moved_by_an_even_number_of_bins(n_fft: int) -> None:
    fill = Fill(band_widths(n_fft), n_fft, 44100, 8, [1])
    for copy in fill.copies:
        sources = [source for run in copy for source in range(run.start, run.stop)]
        assert len(sources) == n_fft // 2 + 1
        assert all(source != bin_ and (source - bin_) % 2 == 0 for bin_, source in enumerate(sources))


def test_a_copy_repeats_one_span() -> None:
    source = source_bins(50, 10)
    assert source[30:40] == list(range(10, 20))
    assert source[10:20] == list(range(20, 30))


def test_bands_are_gathered_and_scaled_by_their_widths() -> None:
    widths = [2, 2, 3]
    assert gather(torch.arange(7.0), widths).tolist() == [1, 5, 15]
    numbers = torch.arange(14.0).view(7, 2)
    factors = torch.tensor([1.0, 1, 2, 2, 3, 3, 3])
    assert torch.equal(scaled(numbers, torch.tensor([1.0, 2, 3]), widths), numbers * factors[:, None])


@pytest.mark.parametrize(
    "fill", [{"channels": 0, "dilations": [1]}, {"channels": 4, "dilations": []}, {"channels": 4, "dilations": [1.0]}]
)
def test_options_that_no_fill_has_are_refused(fill: dict) -> None:
    with pytest.raises(ValueError, match=r"fill\."):
        Apollo(**OPTIONS, fill=fill)


def test_a_network_that_estimates_the_spectrum_itself_has_no_fill() -> None:
    with pytest.raises(ValueError, match="residual"):
        Apollo(win=40, feature_dim=16, layer=1, fill=FILL)


def test_what_is_left_of_a_band_is_never_raised(model: Apollo) -> None:
    assert model.fill is not None
    spectrum = model.stft(music(1, 44_100))
    with torch.no_grad():
        lowering, _ = model.fill(spectrum)
    before, after = (gather(part.square().sum(-1), model.band_widths) for part in (spectrum, spectrum + lowering))
    assert (after <= before * (1 + 1e-6)).all()


def test_rounding_errors_in_empty_bands_change_nothing(model: Apollo) -> None:
    assert model.fill is not None
    spectrum = model.stft(music(1, 44_100))
    frame = spectrum.square().mean((-1, -2), keepdim=True).sqrt()
    rounding = 1e-6 * frame * torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        clean, rounded = (torch.stack(model.fill(s)) for s in (spectrum, spectrum + rounding))
    assert (clean - rounded).square().sum() < 1e-6 * clean.square().sum()


def test_a_network_without_blocks_fills_as_one_whose_blocks_do_nothing(model: Apollo, tmp_path: Path) -> None:
    bare, idle = Apollo(win=40, layer=0, output="residual", fill=FILL), Apollo(**OPTIONS, fill=FILL)
    for network in (bare, idle):
        assert network.fill is not None
        assert model.fill is not None
        network.fill.load_state_dict(model.fill.state_dict())
    save_model(bare, tmp_path / "bare.safetensors")
    loaded = load_model(tmp_path / "bare.safetensors")
    waveform = music(2, 44_100)[None]
    with torch.no_grad():
        assert torch.equal(loaded(waveform), idle(waveform))
    assert loaded.config == bare.config


def test_a_network_without_blocks_and_without_a_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="layer must be at least 1, not 0"):
        Apollo(layer=0, output="residual")
