"""The precision that the network computes in."""

from __future__ import annotations

import torch

from apollo.errors import ApolloError, nearest
from apollo.nn import Apollo

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


def choose_precision(name: str, model: Apollo) -> str:
    """Find the precision for a network to compute in, on its device: a key of `PRECISIONS`, or `"auto"`.

    `"auto"` is bfloat16 where that is both fast and accurate. It is fast on CUDA GPUs that support it. CPUs with
    instructions for it gain a fifth (`benchmarks/README.md`), which is not worth results that differ from one CPU to
    the next; other CPUs lose. It is accurate for residual networks, which only add to their input: with the default
    model, the change is 73 dB below the music (`benchmarks/restore_precision.py`), and 40 would do. Direct networks
    make the whole spectrum in their last layer; this was not measured, so they keep float32. Spectra, and everything
    after the network, are always float32. Raises ApolloError if there is no such precision, or the device lacks it.
    """
    device = next(model.parameters()).device
    if name == "auto":
        # GPUs before Ampere emulate bfloat16, slowly.
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast and model.output == "residual" else "32"
    if name not in PRECISIONS:
        raise ApolloError(f"there is no precision {name!r}: {nearest(name, ['auto', *PRECISIONS])}")
    if name == "16" and device.type == "cpu":
        raise ApolloError("precision 16 needs a GPU: on a CPU use bf16 or 32")
    return name
