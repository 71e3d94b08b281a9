"""From a model file to a network ready to restore."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apollo.checkpoints import hub
from apollo.checkpoints.published import check_names, from_published
from apollo.checkpoints.reading import read_file
from apollo.errors import ModelFileError
from apollo.nn import Apollo
from apollo.nn.generator import BANDS
from apollo.nn.options import check_options
from apollo.storage import Url, at_hand, place

PUBLISHED_SAMPLE_RATE = 44100
# What no shape tells: of published weights it is known, with ours it must be stated.
PUBLISHED_OPTIONS = {"heads": 8, "dilations": [1, 1, 1]}
OPTIONS = frozenset(signature(Apollo).parameters)

# Every model has one of these parameters, which shows its prefix in a larger state: published name and our names.
ANCHORS = ("BN.0.0.weight", "band_split.equal.weight", "fill.levels.input.weight")


def load_model(path_or_name: str | Path, device: str | torch.device = "cpu") -> Apollo:
    """Load a model from any of the shapes in which Apollo's weights are found.

    These are a `.safetensors` file, the paper's `.bin`, a Lightning or MSST `.ckpt`, and a bare state dict. Sizes come
    from the file's configuration where it has one, else from the weights. Nothing in the file is ever run.

    Args:
        path_or_name: A model file, or as text its URL, such as `"s3://bucket/model.safetensors"`; `"default"` for
            the model that comes with the package; or, as text that is no existing file, a model on the Hugging Face
            hub, `"owner/name"`, `"owner/name@revision"` or `"owner/name@revision:file"`, which is fetched once;
            `"paper"` is short for that of the paper's authors.
        device: Where the weights go.

    Returns:
        The network in evaluation mode with float32 weights, `(batch, channels, samples)` → same.

    Raises:
        ModelFileError: If the file is missing, cannot be fetched, is damaged, no Apollo model, or would run code when
            read.
    """
    with located(path_or_name) as path:
        model, _ = read_model(path)
    return model.to(device)


@contextmanager
def located(path_or_name: str | Path) -> Iterator[Path]:
    """Give the file that `load_model` would read."""
    if str(path_or_name) == "default":
        resource = resources.files("apollo.checkpoints") / "default.safetensors"
        if not resource.is_file():
            raise ModelFileError("this installation has no default model: give a model file instead")
        with resources.as_file(resource) as path:
            yield path
        return
    known = place(path_or_name) if isinstance(path_or_name, str) else path_or_name
    if isinstance(known, Url):
        with at_hand(known) as path:
            yield path
        return
    published = None
    if isinstance(path_or_name, str) and not os.path.exists(path_or_name):  # noqa: PTH110 (accepts any text)
        published = hub.parse(hub.KNOWN.get(path_or_name, path_or_name))
    yield hub.fetch(published) if published else known


def read_model(path: Path, options: Mapping[str, Any] | None = None) -> tuple[Apollo, dict[str, str]]:
    """Build the network that a file describes, in evaluation mode on the CPU; give the file's text metadata too.

    Weights and file must agree with `options` of the constructor that are known from elsewhere. Raises ModelFileError
    as `load_model` does.
    """
    content, metadata = read_file(path)
    try:
        config = stated_config(content, metadata)
        for option, value in (options or {}).items():
            if config.setdefault(option, value) != value:
                raise ModelFileError(f"{option}={value} was requested, but the file states {config[option]}")
        state = generator_state(content)
        if ANCHORS[0] in state:
            state = from_published(state)
            config = {**PUBLISHED_OPTIONS, **config}
        return build(state, config), metadata
    except ModelFileError as error:
        raise ModelFileError(f"{path} cannot be used as a model: {error}") from None


def stated_config(content: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Give the constructor options that the file states, in a `config` beside the weights or in its metadata."""
    stated = content.get("config")
    if "config" in metadata:
        try:
            stated = json.loads(metadata["config"])
        except (ValueError, RecursionError):
            raise ModelFileError("its 'config' metadata is not JSON") from None
    if not isinstance(stated, dict):
        return {}
    options = {name: value for name, value in stated.items() if name in OPTIONS}
    try:
        check_options(options)
    except ValueError as error:
        raise ModelFileError(str(error)) from None
    return options


def generator_state(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Find the generator's weights in what a file holds, in float32 and without prefix.

    Programs store them as the file itself, as `state_dict`, `model_state_dict` or `state`; training states hold them
    beside a discriminator, as `audio_model.*`, `generator.*`, and perhaps as a moving average of the latter, which is
    then the one wanted.
    """
    found = {
        (place, name.removesuffix(anchor)): state
        for place, state in named_states(content)
        for name in state
        for anchor in ANCHORS
        if name == anchor or name.endswith(f".{anchor}")
    }
    if not found:
        raise ModelFileError("it holds no Apollo generator")
    place, prefix = min(
        found, key=lambda at: ("ema" not in ".".join(at).lower(), at[0] != "state_dict", len(at[1]), at)
    )
    state = found[place, prefix]
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise ModelFileError(f"{name!r} is not a tensor of real numbers")
            tensors[name.removeprefix(prefix)] = tensor.detach()
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors.values()}
    if sum(tensor.nbytes for tensor in tensors.values()) > sum(storages.values()):
        raise ModelFileError("it has fewer numbers than the shapes of its weights say")
    return {name: tensor.float() for name, tensor in tensors.items()}


def named_states(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What may be states: all that a file holds, named `""`, and the dictionaries in it, by their names."""
    for name, state in [("", content), *content.items()]:
        if isinstance(state, dict) and all(isinstance(key, str) for key in [name, *state]):
            yield name, state


def build(state: dict[str, Tensor], stated: dict[str, Any]) -> Apollo:
    """Build the network of a state under our names, checking it against the stated options before any work is done."""
    sizes = visible_sizes(state)
    for option in sizes.keys() & stated.keys():
        if stated[option] != sizes[option]:
            raise ModelFileError(f"{option}={stated[option]} is stated, but its weights have {option}={sizes[option]}")
    config = {**sizes, **stated}
    check_fill(state, config.get("fill"))
    needed = PUBLISHED_OPTIONS.keys() if config["layer"] else {"win"}
    for option in sorted(needed - config.keys()):
        raise ModelFileError(
            f"its weights do not show the network's {option}: save it with apollo.save_model, or with the network's "
            "'config' beside 'state_dict'"
        )
    config.setdefault("sr", PUBLISHED_SAMPLE_RATE)
    try:
        check_options(config)
        if config["layer"]:
            bins = spectrum_bins(state)
            config.setdefault("win", window_milliseconds(bins, config["sr"]))
        with torch.device("meta"):
            expected = Apollo(**config).state_dict()
        stated_bins = int(config["sr"] * config["win"] / 1000) // 2 + 1
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelFileError(f"no network can have its options {config}: {error}") from None
    if config["layer"] and stated_bins != bins:
        raise ModelFileError(
            f"sr={config['sr']} and win={config['win']} make {stated_bins} frequencies, but its weights have {bins}"
        )
    check_names(set(state), set(expected), set())
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
            raise ModelFileError(f"{name!r} has the shape {shapes} that its options require")
        if not tensor.isfinite().all():
            raise ModelFileError(f"{name!r} contains NaN or infinity")
    model = Apollo(**config)
    model.load_state_dict(state)
    return model.eval()


def check_fill(state: Mapping[str, Tensor], stated: Any) -> None:
    """Refuse stated options of the fill that its weights do not have, before a network is built of them."""
    layers = len({name.split(".")[3] for name in state if name.startswith("fill.levels.layers.")})
    first = state.get("fill.levels.input.bias")
    if first is None and stated is None:
        return
    if not isinstance(stated, dict) or stated.keys() != {"channels", "dilations"} or first is None:
        raise ModelFileError(f"it states fill={stated}, but its weights do not match that")
    if stated["channels"] != first.numel() or not isinstance(stated["dilations"], list):
        raise ModelFileError(f"fill.channels={stated['channels']} is stated, but its weights have {first.numel()}")
    if len(stated["dilations"]) != layers:
        raise ModelFileError(f"{len(stated['dilations'])} fill.dilations are stated, but its weights have {layers}")


def visible_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The constructor options that the shapes of a state under our names show."""
    if not any(name.startswith("band_split.") for name in state):
        return {"layer": 0, "output": "residual"}
    try:
        feature_dim = state["band_split.equal.weight"].shape[2]
        return {
            "feature_dim": feature_dim,
            "layer": len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
            "output": "residual" if any(name.startswith("band_merge.level.") for name in state) else "direct",
            "expansion": state["blocks.0.attention.gate_output.weight"].shape[1] // feature_dim,
            "kernel_size": state["blocks.0.convolutions.0.depthwise.weight"].shape[2],
        }
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ModelFileError(f"its weights are incomplete or have wrong shapes ({error})") from None


def spectrum_bins(state: Mapping[str, Tensor]) -> int:
    """The number of bins in the spectrum that a state shows; a band of b bins has 2b + 1 features."""
    equal, last = (state.get(f"band_split.{part}.norm") for part in ("equal", "last"))
    if equal is None or last is None or equal.dim() != 2 or last.dim() != 2:
        raise ModelFileError("its weights are incomplete or have wrong shapes (band_split)")
    return equal.shape[1] // 2 * (BANDS - 1) + last.shape[1] // 2


def window_milliseconds(bins: int, sample_rate: int) -> float:
    """Give the window whose one-sided spectrum has `bins` bins, in whole milliseconds where there is such a number."""
    n_fft = 2 * (bins - 1)
    whole = round((n_fft + 0.5) * 1000 / sample_rate)
    if int(sample_rate * whole / 1000) in (n_fft, n_fft + 1):
        return whole
    return (n_fft + 0.5) * 1000 / sample_rate


def load_discriminator(path_or_name: str | Path) -> dict[str, Tensor] | None:
    """The weights of the discriminator that a training checkpoint holds beside its generator; `None` if it holds none.

    Raises:
        ModelFileError: If the file is missing, damaged, or would run code when read.
    """
    with located(path_or_name) as path:
        content, _ = read_file(path)
    prefix = "discriminator."
    for _, state in named_states(content):
        found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if found and all(isinstance(value, Tensor) for value in found.values()):
            return found
    return None
