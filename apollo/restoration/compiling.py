"""Whether the network is compiled before it restores, and which of its chunks are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from apollo.audio import AudioReader
from apollo.errors import ApolloError
from apollo.restoration.tasks import Task, likely_seconds
from apollo.storage import Url

LONG = 3600.0  # seconds of audio: compiling takes about half a minute


def pays_to_compile(tasks: Sequence[Task], device: torch.device) -> bool:
    """Whether files are long enough in all to make up for compiling.

    On a CPU they never are: compiled code is not faster there in float32 (`benchmarks/README.md`).
    """
    if device.type != "cuda":
        return False
    seconds = 0.0
    for task in tasks:
        try:
            if isinstance(task.source, Url):
                seconds += likely_seconds(task.source)
            else:
                with AudioReader(task.source, task.track) as reader:
                    seconds += reader.count() / reader.sample_rate
        except ApolloError:
            continue  # restoring it will say what is wrong
        if seconds >= LONG:
            return True
    return False


def check_compiler(device: torch.device) -> None:
    """Compile a small function; raises ApolloError if PyTorch finds no compiler for a device that works."""

    def function(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    try:
        torch.compile(function, dynamic=False)(torch.zeros(64, device=device))
    except Exception as error:  # whatever a compiler dies of
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ApolloError(
            f"PyTorch cannot compile for {device} here ({reason}): leave it uncompiled (--compile off)"
        ) from None


@contextmanager
def compiled_for(whole: bool, device: torch.device) -> Iterator[None]:
    """Run compiled blocks on whole chunks, which have one length, and uncompiled blocks on shorter ones.

    On a CPU, code compiled for any length takes a third longer than code compiled for one, and compiling for the length
    of each song's end would take half a minute. On a CPU the weights become constants of the compiled code, laid out
    for its matrix products, so they must not change afterwards (`benchmarks/README.md` has what both gain).
    """
    if not whole:
        with torch.compiler.set_stance("force_eager"):
            yield
        return
    from torch._dynamo import config as tracing
    from torch._inductor import config as compiling

    # With constant weights, each block is compiled by itself, and PyTorch would give up after eight.
    with tracing.patch(cache_size_limit=256), compiling.patch(freezing=device.type == "cpu"):
        yield
