import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from apollo.checkpoints import load_model
from apollo.nn import Apollo
from apollo.nn.generator import band_widths

DATA = Path(__file__).parent.parent / "golden"
SMALL = {"feature_dim": 32, "layer": 2}


def music(*shape: int) -> Tensor:
    """Decaying chords with noise on top, the same every time."""
    generator = torch.Generator().manual_seed(7)
    time = torch.arange(shape[-1]) / 44100
    partials = torch.stack([torch.sin(2 * torch.pi * f * time) / f for f in (220, 277, 330, 880, 3520, 9000)]).sum(0)
    chord = 50 * partials * torch.exp(-3 * (time % 0.5))
    return 0.3 * chord + 0.02 * torch.randn(shape, generator=generator)


def initialised(**options: object) -> Apollo:
    """A network whose every weight matters, as after training."""
    torch.manual_seed(0)
    model = Apollo(**{**SMALL, **options}).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=["direct", "residual"])
def model(request: pytest.FixtureRequest) -> Apollo:
    return initialised(output=request.param)


def test_published_network_gives_its_published_output() -> None:
    golden = np.load(DATA / "apollo-tiny.golden.npz")
    config = json.loads((DATA / "apollo-tiny.golden.json").read_text())["config"]
    model = load_model(DATA / "apollo-tiny.upstream.bin")
    assert {key: model.config[key] for key in config} == config
    with torch.no_grad():
        output = model(torch.from_numpy(golden["input"])[None])[0].numpy()
    assert np.abs(output - golden["output"]).max() <= 1e-5 * np.abs(golden["output"]).max()


def test_the_published_sizes_have_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in Apollo().parameters()) == 16_539_308


def test_an_item_is_restored_the_same_alone_and_in_any_batch(model: Apollo) -> None:
    batch = music(3, 2, 30000)
    with torch.no_grad():
        together = model(batch)
        alone = torch.stack([model(item[None])[0] for item in batch])
        mono = model(batch[:1, 1:])
    assert (together - alone).abs().max() <= 1e-6 * together.abs().max()
    assert (together[0, 1] - mono[0, 0]).abs().max() <= 1e-6 * together.abs().max()


@pytest.mark.parametrize("samples", [1, 2, 440, 441, 442, 881, 882, 883, 1323, 10000])
def test_any_length_is_restored_to_itself(model: Apollo, samples: int) -> None:
    with torch.no_grad():
        output = model(music(1, 2, samples))
    assert output.shape == (1, 2, samples)
    assert output.isfinite().all()


@pytest.mark.parametrize("samples", [1, 100, 881, 882, 20000, 44100 + 440])
@pytest.mark.parametrize("win", [20, 25, 40])
def test_an_untrained_residual_network_is_the_identity(samples: int, win: float) -> None:
    model = Apollo(win=win, output="residual", **SMALL)
    waveform = music(1, 1, samples)
    with torch.no_grad():
        assert (model(waveform) - waveform).abs().max() <= 1e-5 * waveform.abs().max()


@pytest.mark.parametrize("win", [20, 25.03])  # the second has an odd number of samples
def test_the_inverse_transform_gives_the_samples_of_pytorch(win: float) -> None:
    model = Apollo(win=win, **SMALL)
    spectrum = model.stft(music(2, 1, 10_000)[:, 0])
    complex_ = torch.view_as_complex(spectrum).transpose(1, 2)
    expected = torch.istft(complex_, model.n_fft, model.hop_length, window=model.window, length=10_000)
    assert torch.equal(model.istft(spectrum, 10_000), expected)


def test_the_end_of_a_file_is_no_louder_than_the_rest(model: Apollo) -> None:
    waveform = music(1, 1, 44100)
    with torch.no_grad():
        for samples in (44100, 44099, 43661, 43660):
            output = model(waveform[..., :samples]).abs()
            assert output[..., -440:].max() <= 1.5 * output[..., :-440].max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradients_flow_in_every_precision(model: Apollo, dtype: torch.dtype) -> None:
    model.train()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        output = model(music(2, 2, 8820))
    assert output.dtype == torch.float32
    output.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_training_and_inference_compute_the_same(model: Apollo) -> None:
    waveform = music(2, 1, 20000)
    with torch.no_grad():
        inferred = model(waveform)
    trained = model(waveform).detach()
    assert (inferred - trained).abs().max() <= 1e-5 * trained.abs().max()


def test_float32_is_close_to_float64(model: Apollo) -> None:
    waveform = music(1, 1, 20000)
    with torch.no_grad():
        single = model(waveform)
        double = model.double()(waveform.double())
    assert double.dtype == torch.float64
    assert (single - double).abs().max() <= 2e-6 * double.abs().max()


def test_no_sample_beyond_the_stated_context_matters() -> None:
    model = initialised(dilations=(1, 2), kernel_size=5, win=40, output="residual").double()
    hop = model.hop_length
    reach = model.context_frames * hop
    waveform = music(1, 1, 4 * reach).double()
    changed = waveform.clone()
    middle = 2 * model.context_frames
    changed[..., : (middle - model.context_frames) * hop] = 0
    changed[..., (middle + 5 + model.context_frames) * hop :] = 0
    kept = slice(middle * hop, (middle + 5) * hop)
    with torch.no_grad():
        before, after = model(waveform)[..., kept], model(changed)[..., kept]
    assert (before - after).abs().max() <= 1e-9 * before.abs().max()


def test_bands_cover_every_bin_once() -> None:
    for n_fft in (441, 882, 1764, 2048):
        widths = band_widths(n_fft)
        assert len(widths) == 80
        assert sum(widths) == n_fft // 2 + 1
    with pytest.raises(ValueError, match="longer win"):
        band_widths(100)


def test_a_waveform_of_another_shape_is_refused(model: Apollo) -> None:
    with pytest.raises(ValueError, match="batch, channels, samples"):
        model(torch.zeros(2, 100))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feature_dim": 40}, "feature_dim must be a positive multiple of 2 * heads = 16, not 40"),
        ({"sr": 999}, "sr must be at least 1000, not 999"),
        ({"win": float("nan")}, "win must be at least 1, not nan"),
        ({"layer": True}, "layer must be a whole number, not True"),
        ({"heads": 2.0}, "heads must be a whole number, not 2.0"),
        ({"dilations": []}, "dilations must be 1 to 16 numbers, not"),
        ({"dilations": [1, "2"]}, "dilations must be a whole number, not '2'"),
        ({"kernel_size": 4}, "kernel_size must be odd, not 4"),
        ({"output": "both"}, "output must be 'direct' or 'residual', not 'both'"),
        ({"fill": {"channels": 8, "dilations": [1]}}, "fill needs output='residual'"),
    ],
)
def test_options_that_no_network_has_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Apollo(**options)
