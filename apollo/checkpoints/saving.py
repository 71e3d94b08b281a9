"""From a network to a model file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save

from apollo.errors import ModelFileError
from apollo.nn import Apollo


def save_model(
    model: Apollo,
    path: str | Path,
    licence: str = "MIT",
    dtype: torch.dtype = torch.float32,
    **metadata: str,
) -> None:
    """Write a model as a safetensors file that says how to build the network and under which licence it may be used.

    The file appears whole or not at all.

    Args:
        model: The network.
        path: The file to write, by custom `*.safetensors`; an existing one is replaced.
        licence: Licence of the weights, by its SPDX name.
        dtype: Type in which weights are stored; `torch.float16` halves the file. Loading gives float32 again.
        metadata: Further texts to keep in the file.

    Raises:
        ModelFileError: If the file cannot be written, or a weight does not fit into `dtype`.
    """
    path = Path(path)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelFileError(f"{name!r} holds numbers that are not finite as {dtype}: {path} was not written")
    texts = {**metadata, "format": "pt", "config": json.dumps(model.config), "licence": licence}
    try:
        write_atomically(path, save(tensors, texts))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be written: {error.strerror}") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name beside the target, then rename, so that a crash leaves the old file or none."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp keeps its files to their owner
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
