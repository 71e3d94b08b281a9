"""Whether the network is compiled before it restores."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from apollo.audio import AudioReader
from apollo.errors import ApolloError
from apollo.restoration.batch import Task

LONG = 3600.0  # seconds of audio: compiling takes about half a minute


def pays_to_compile(tasks: Sequence[Task], device: torch.device) -> bool:
    """Whether there is enough to restore to make up for compiling, by the lengths of the files.

    On a CPU there never is: in float32, what is compiled is not faster (`benchmarks/README.md`).
    """
    if device.type != "cuda":
        return False
    seconds = 0.0
    for task in tasks:
        try:
            with AudioReader(task.source) as reader:
                seconds += reader.count() / reader.sample_rate
        except ApolloError:
            continue  # restoring it will say what is wrong
        if seconds >= LONG:
            return True
    return False


def check_compiler(device: torch.device) -> None:
    """Compile a small function.

    Raises:
        ApolloError: If PyTorch finds no compiler for a device that works.
    """

    def function(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    try:
        torch.compile(function, dynamic=False)(torch.zeros(64, device=device))
    except Exception as error:  # whatever a compiler dies of
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ApolloError(
            f"PyTorch cannot compile for {device} here ({reason}): leave it uncompiled (--compile off)"
        ) from None
