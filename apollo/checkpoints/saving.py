"""From a network to a model file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save

from apollo.atomic import replacing, unwritable
from apollo.errors import ModelFileError
from apollo.nn import Apollo


def save_model(
    model: Apollo,
    path: str | Path,
    licence: str = "MIT",
    dtype: torch.dtype = torch.float32,
    overwrite: bool = True,
    **metadata: str,
) -> None:
    """Write a model as a safetensors file that says how to build the network and under which licence it may be used.

    The file appears whole or not at all.

    Args:
        model: The network.
        path: The file to write, usually `*.safetensors`.
        licence: Licence of the weights, by its SPDX name.
        dtype: Type in which weights are stored; `torch.float16` halves the file. Loading gives float32 again.
        overwrite: Whether an existing file is replaced.
        metadata: Further texts to keep in the file.

    Raises:
        ModelFileError: If the file cannot be written, or a weight does not fit into `dtype`.
    """
    path = Path(path)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelFileError(f"{name!r} has values that are not finite as {dtype}: {path} was not written")
    texts = {**metadata, "format": "pt", "config": json.dumps(model.config), "licence": licence}
    try:
        with replacing(path, overwrite) as temporary:
            temporary.write_bytes(save(tensors, texts))
    except OSError as error:
        raise ModelFileError(unwritable(path, error)) from None
