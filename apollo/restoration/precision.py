"""In which numbers the network computes."""

from __future__ import annotations

import torch

from apollo.errors import ApolloError, nearest
from apollo.nn import Apollo

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


def choose_precision(name: str, model: Apollo) -> str:
    """Find the precision for a network to compute in: a key of `PRECISIONS`.

    `"auto"` is bfloat16 where that is both fast and true. Fast it is on CUDA GPUs that compute in it; on CPUs with
    instructions for it, it gains a fifth (`benchmarks/README.md`), for which results should not differ from one CPU to
    the next, and on others it loses. True it is for residual networks, which only add to their input: with the default
    model, what it changes is 73 dB below the music (`benchmarks/restore_precision.py`), and 40 would do. A direct
    network draws the whole spectrum through its last layer; that was not measured, so it keeps float32.
    Spectra, and all that comes after the network, are float32 always.

    Args:
        name: `"auto"` or a key of `PRECISIONS`.
        model: The network, where it is to compute.

    Raises:
        ApolloError: If there is no such precision, or not on this device.
    """
    device = next(model.parameters()).device
    if name == "auto":
        # Earlier GPUs than Ampere emulate bfloat16, slowly.
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast and model.output == "residual" else "32"
    if name not in PRECISIONS:
        raise ApolloError(f"there is no precision {name!r}: {nearest(name, ['auto', *PRECISIONS])}")
    if name == "16" and device.type == "cpu":
        raise ApolloError("precision 16 needs a GPU: on a CPU use bf16 or 32")
    return name
