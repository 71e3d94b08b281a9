"""Every shape of model file is read, and gives the published samples."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from apollo.checkpoints import from_published, load_model, save_model, to_published
from apollo.checkpoints.pickles import read_pickle
from apollo.checkpoints.reading import read_file
from apollo.errors import ModelFileError
from apollo.nn import Apollo

DATA = Path(__file__).parents[1] / "golden"
GOLDEN = np.load(DATA / "apollo-tiny.golden.npz")
FIXTURES = ["upstream.bin", "lightning.ckpt", "msst.ckpt"]


def fixture(name: str) -> Path:
    return DATA / f"apollo-tiny.{name}"


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    state = torch.load(fixture("upstream.bin"), weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


@pytest.fixture
def model() -> Apollo:
    """A network whose every option differs from the published ones, with weights that do something."""
    torch.manual_seed(0)
    model = Apollo(24000, 10, 16, 1, output="residual", expansion=2, heads=4, kernel_size=3, dilations=(1, 4))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def restored(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(GOLDEN["input"])[None])[0]


def assert_golden(model: torch.nn.Module) -> None:
    golden = torch.from_numpy(GOLDEN["output"])
    assert (restored(model) - golden).abs().max() <= 1e-5 * golden.abs().max()


@pytest.mark.parametrize("name", FIXTURES)
def test_published_files_give_the_published_samples(name: str) -> None:
    model = load_model(fixture(name))
    assert not model.training
    assert model.config["feature_dim"] == 32
    assert (model.config["layer"], model.config["sr"], model.config["win"]) == (2, 44100, 20)
    assert_golden(model)


def test_files_as_the_predecessors_programs_write_them_give_the_published_samples(predecessors_file: Path) -> None:
    assert_golden(load_model(predecessors_file))


INERT: dict[str, Any] = {
    "NumPy's numbers": [kind() for kind in (np.bool_, np.float16, np.float64, np.complex64, np.longdouble, np.uint8)],
    "NumPy's types": [np.float32, np.complex128, np.dtype("f4"), np.dtype([("a", "U3")]), np.dtypes.StrDType],
    "NumPy's arrays": [np.ones(2), np.array(["a"]), np.array([{}], object), np.ma.array([1], mask=[1])],
    "NumPy's random numbers": [np.random.RandomState(0), np.random.default_rng(0), np.random.MT19937(0)],
    "dates": [datetime(2024, 1, 1, 12, tzinfo=timezone.utc), timedelta(1), time(3)],
    "Python's values": [1j, {1}, frozenset("a"), slice(1), range(2), ..., type(None), b"\xff", Decimal(1), Fraction(1)],
    "Python's containers": [deque([1]), Counter("a"), defaultdict(list), OrderedDict(a=1), SimpleNamespace(a=1)],
    "arguments": [Namespace(lr=1), uuid4(), Path("music")],
    "optimisers": [torch.optim.AdamW, partial(torch.optim.SGD, lr=1), torch.optim.lr_scheduler.StepLR],
    "PyTorch's kinds": [torch.__version__, torch.complex64, torch.uint16, torch.strided, torch.device("cuda:1")],
    "PyTorch's tensors": [
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, dtype=torch.uint16),
        torch.eye(2).to_sparse(),
        torch.nn.Parameter(torch.ones(1)),
        torch.Generator(),
    ],
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("kind", INERT)
def test_what_is_inert_beside_the_weights_is_no_reason_to_refuse_a_file(
    tmp_path: Path, kind: str, protocol: int
) -> None:
    torch.save({"weights": torch.ones(2), "more": INERT[kind]}, tmp_path / "a.ckpt", pickle_protocol=protocol)
    assert read_file(tmp_path / "a.ckpt")[0]["weights"].tolist() == [1, 1]


def test_callbacks_as_keys_of_their_states_are_no_reason_to_refuse_a_file() -> None:
    key = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    pickled = b"\x80\x02}" + key + b"}sU\x05epochK\x03s."
    assert read_pickle(io.BytesIO(pickled), lambda *_: torch.ones(1)) == {"epoch": 3}


@pytest.mark.parametrize("place", ["model", "generator", "weights"])
def test_weights_are_found_wherever_a_program_keeps_them(
    tmp_path: Path, published: dict[str, torch.Tensor], place: str
) -> None:
    torch.save({"epoch": 1, place: published, 3: {4: 5}}, tmp_path / "model.ckpt")
    assert_golden(load_model(tmp_path / "model.ckpt"))


def test_bare_and_safetensors_states_give_the_published_samples(
    tmp_path: Path, published: dict[str, torch.Tensor]
) -> None:
    torch.save(published, tmp_path / "bare.pt")
    torch.save(published, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(published, tmp_path / "bare.safetensors")
    save_model(load_model(fixture("upstream.bin")), tmp_path / "ours.safetensors")
    for name in ("bare.pt", "old.pt", "bare.safetensors", "ours.safetensors"):
        assert_golden(load_model(tmp_path / name))


def test_all_shapes_give_the_same_model() -> None:
    states = [load_model(fixture(name)).state_dict() for name in FIXTURES]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        assert all(torch.equal(tensor, states[0][name]) for name, tensor in state.items())


@pytest.mark.parametrize("prefix", ["audio_model.", "generator.", "generator._orig_mod.", "module.generator."])
def test_training_states_hold_the_generator_under_a_prefix(tmp_path: Path, model: Apollo, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    state["discriminator.weight"] = torch.ones(1)
    torch.save({"state_dict": state, "config": model.config}, tmp_path / "last.ckpt")
    loaded = load_model(tmp_path / "last.ckpt")
    assert loaded.config == model.config
    assert torch.equal(restored(loaded), restored(model))


def test_moving_average_is_preferred_to_the_raw_generator(tmp_path: Path, model: Apollo) -> None:
    state = {f"generator.{name}": torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    state |= {f"ema_generator.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "config": model.config}, tmp_path / "last.ckpt")
    assert torch.equal(restored(load_model(tmp_path / "last.ckpt")), restored(model))


def test_saving_and_loading_changes_nothing(tmp_path: Path, model: Apollo) -> None:
    save_model(model, tmp_path / "model.safetensors", trained_on="nothing")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_model_that_fills_in_is_saved_and_loaded_with_its_fill(tmp_path: Path) -> None:
    fill = {"channels": 8, "dilations": [1, 2]}
    model = Apollo(win=40, feature_dim=16, layer=1, output="residual", fill=fill).eval()
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    waveform = torch.randn(1, 1, 20_000)
    torch.testing.assert_close(loaded(waveform), model(waveform), rtol=0, atol=0)


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {"channels": 9, "dilations": [1, 2]},
        {"channels": 8, "dilations": [1] * 1_000_000},
        {"channels": 8, "dilations": [1, 10**9]},
        {"channels": 8, "dilations": 2},
        {"channels": 8},
        [8],
    ],
)
def test_a_fill_that_contradicts_its_weights_is_refused(tmp_path: Path, stated: Any) -> None:
    model = Apollo(win=40, feature_dim=16, layer=1, output="residual", fill={"channels": 8, "dilations": [1, 2]})
    model.config["fill"] = stated
    save_model(model, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="fill"):
        load_model(tmp_path / "model.safetensors")


def test_saved_file_states_config_and_licence(tmp_path: Path, model: Apollo) -> None:
    from safetensors import safe_open

    save_model(model, tmp_path / "model.safetensors", licence="CC-BY-4.0", trained_on="stems")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["config"]) == model.config
    assert (metadata["licence"], metadata["trained_on"]) == ("CC-BY-4.0", "stems")


def test_half_precision_file_is_half_as_large_and_loads_as_float32(tmp_path: Path, model: Apollo) -> None:
    save_model(model, tmp_path / "full.safetensors")
    save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "full.safetensors").stat().st_size
    loaded = load_model(tmp_path / "half.safetensors")
    for name, tensor in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        torch.testing.assert_close(loaded.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)


def test_weights_too_large_for_half_precision_are_not_written(tmp_path: Path, model: Apollo) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    with pytest.raises(ModelFileError, match=r"finite as torch\.float16"):
        save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_conversion_to_published_names_and_back_is_the_identity(published: dict[str, torch.Tensor]) -> None:
    model = load_model(fixture("upstream.bin"))
    exported = to_published(model)
    assert exported.keys() == published.keys()
    for name, tensor in published.items():
        assert exported[name].shape == tensor.shape
        torch.testing.assert_close(exported[name], tensor, rtol=0, atol=1e-6 if "_freq" in name else 0)
    again = from_published(exported)
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_models_that_the_published_network_cannot_hold_are_not_exported(model: Apollo) -> None:
    with pytest.raises(ModelFileError, match="output=direct only, and the model has output=residual"):
        to_published(model)


@pytest.mark.parametrize(("sr", "win"), [(44100, 20), (44100, 40), (44100, 25), (44100, 11.6)])
def test_window_is_read_off_the_last_band(tmp_path: Path, sr: int, win: float) -> None:
    model = Apollo(sr, win, 16, 1)
    torch.save(to_published(model), tmp_path / "bare.pt")
    loaded = load_model(tmp_path / "bare.pt")
    assert loaded.band_widths == model.band_widths
    assert loaded.n_fft // 2 == model.n_fft // 2
    if win == int(win):
        assert loaded.config["win"] == win
