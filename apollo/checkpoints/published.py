"""Names and shapes of the published networks, to ours and back, without loss.

The published state stores every band on its own and every 1×1 convolution as a kernel `(out, in, 1)`; ours stacks the
equal bands as `(bands, in, out)` and keeps plain matrices `(out, in)`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from apollo.errors import ModelFileError, some_of
from apollo.nn import Apollo
from apollo.nn.blocks import rotary_table
from apollo.nn.generator import BANDS

ROTARY_POSITIONS = 100
CONVOLUTIONS = 3

# Published name → ours, inside one block; the kernels among them are our matrices.
ATTENTION = {
    "input_norm.weight": "norm.weight",
    "weight.weight": "qkv.weight",
    "output.weight": "output.weight",
    "MLP.0.weight": "gate_norm.weight",
    "MLP.1.weight": "gate.weight",
    "MLP_output.weight": "gate_output.weight",
}
CONVOLUTION = {
    "0.weight": "depthwise.weight",
    "0.bias": "depthwise.bias",
    "1.weight": "norm.weight",
    "2.weight": "expand.weight",
    "2.bias": "expand.bias",
    "4.weight": "project.weight",
    "4.bias": "project.bias",
}
BAND = ("0.weight", "1.weight", "1.bias")


def block_names(layer: int) -> dict[str, str]:
    """Published name → ours, for the parameters of block number `layer`."""
    names = {f"net.{layer}.band_net.{theirs}": f"blocks.{layer}.attention.{ours}" for theirs, ours in ATTENTION.items()}
    for index in range(CONVOLUTIONS):
        for theirs, ours in CONVOLUTION.items():
            names[f"net.{layer}.seq_net.blocks.{index}.conv.{theirs}"] = f"blocks.{layer}.convolutions.{index}.{ours}"
    return names


def to_published(model: Apollo) -> dict[str, Tensor]:
    """Give a model's state under the published names and shapes, rotary tables included.

    Args:
        model: A network that the published code can build.

    Returns:
        Name → tensor, all that the published code's strict `load_state_dict` asks for; the tensors are copies.

    Raises:
        ModelFileError: If the published network has no place for what this model does.
    """
    config = model.config
    published = {"output": "direct", "expansion": 4, "heads": 8, "kernel_size": 7, "dilations": [1] * CONVOLUTIONS}
    for option, value in published.items():
        if config[option] != value:
            raise ModelFileError(
                f"the published network cannot hold this model: it knows {option}={value} only, "
                f"and the model has {option}={config[option]}"
            )
    ours = model.state_dict()
    state: dict[str, Tensor] = {}
    for theirs, name in (("BN", "band_split"), ("output", "band_merge")):
        for band in range(BANDS):
            part, index = (f"{name}.equal", band) if band < BANDS - 1 else (f"{name}.last", 0)
            state[f"{theirs}.{band}.0.weight"] = ours[f"{part}.norm"][index].clone()
            state[f"{theirs}.{band}.1.weight"] = ours[f"{part}.weight"][index].T.unsqueeze(-1).contiguous()
            state[f"{theirs}.{band}.1.bias"] = ours[f"{part}.bias"][index].clone()
    cosine, sine = rotary_table(ROTARY_POSITIONS, config["feature_dim"] // config["heads"])
    for layer in range(config["layer"]):
        state[f"net.{layer}.band_net.cos_freq"] = cosine.clone()
        state[f"net.{layer}.band_net.sin_freq"] = sine.clone()
        for theirs, name in block_names(layer).items():
            state[theirs] = to_kernel(theirs, ours[name])
    return state


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a published state under our names and shapes.

    Args:
        state: Name → tensor as published; the rotary tables may be missing, as they are constants.

    Returns:
        Name → tensor for `Apollo.load_state_dict`.

    Raises:
        ModelFileError: If names are missing or unknown, shapes do not fit together, or the rotary tables are another
            network's; the message names them.
    """
    layers = len({name.split(".")[1] for name in state if name.startswith("net.")})
    bands = {f"{part}.{band}.{name}" for part in ("BN", "output") for band in range(BANDS) for name in BAND}
    blocks = {theirs: ours for layer in range(layers) for theirs, ours in block_names(layer).items()}
    tables = {f"net.{layer}.band_net.{name}_freq" for layer in range(layers) for name in ("cos", "sin")}
    check_names(set(state), bands | set(blocks), tables)
    check_tables({name: state[name] for name in sorted(tables & set(state))})
    ours = {name: from_kernel(theirs, state[theirs]) for theirs, name in blocks.items()}
    for theirs, name in (("BN", "band_split"), ("output", "band_merge")):
        for part, numbers in ((f"{name}.equal", range(BANDS - 1)), (f"{name}.last", range(BANDS - 1, BANDS))):
            ours[f"{part}.norm"] = stack(state, [f"{theirs}.{band}.0.weight" for band in numbers])
            kernels = stack(state, [f"{theirs}.{band}.1.weight" for band in numbers])
            if kernels.dim() != 4 or kernels.shape[-1] != 1:
                raise ModelFileError(f"'{theirs}.{numbers[0]}.1.weight' should have the shape (out, in, 1)")
            ours[f"{part}.weight"] = kernels.squeeze(-1).transpose(1, 2).contiguous()
            ours[f"{part}.bias"] = stack(state, [f"{theirs}.{band}.1.bias" for band in numbers])
    return ours


def to_kernel(published: str, weight: Tensor) -> Tensor:
    """Give one of our block parameters in its published shape."""
    if ".conv.0.weight" in published:
        return weight.squeeze(-1).clone()  # (N, 1, 7, 1) → (N, 1, 7)
    return weight.unsqueeze(-1).clone() if weight.dim() == 2 else weight.clone()


def from_kernel(published: str, weight: Tensor) -> Tensor:
    """Undo `to_kernel`."""
    if ".conv.0.weight" in published:
        return weight.unsqueeze(-1)
    return weight.squeeze(-1) if weight.dim() == 3 else weight


def check_names(found: set[str], needed: set[str], optional: set[str]) -> None:
    """Refuse a state in which names are missing or unknown, naming the first of them."""
    for what, names in (("lack", needed - found), ("hold the unknown", found - needed - optional)):
        if names:
            raise ModelFileError(f"the weights {what} {some_of([repr(name) for name in sorted(names)], 1)}")


def check_tables(tables: Mapping[str, Tensor]) -> None:
    """Refuse rotary tables that are not the constants that our attention computes."""
    for name, table in tables.items():
        if table.dim() != 2 or table.shape[1] % 2 or not 0 < table.shape[1] <= 1024:
            raise ModelFileError(f"{name!r} should have the shape ({ROTARY_POSITIONS}, feature_dim / 8)")
        expected = rotary_table(ROTARY_POSITIONS, table.shape[1])["sin_freq" in name]
        # Half precision keeps three digits of these.
        if table.shape != expected.shape or not torch.allclose(table.float(), expected, atol=1e-2):
            raise ModelFileError(f"{name!r} is not the rotary table that Apollo uses")


def stack(state: Mapping[str, Tensor], names: list[str]) -> Tensor:
    """Stack tensors that must be of one shape; `(...)` each → `(names, ...)`."""
    for name in names:
        if state[name].shape != state[names[0]].shape:
            shapes = f"{tuple(state[name].shape)}, but {names[0]!r} has {tuple(state[names[0]].shape)}"
            raise ModelFileError(f"{name!r} has the shape {shapes}")
    return torch.stack([state[name] for name in names])
