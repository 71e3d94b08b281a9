"""What a benchmark measures with: time, the rate of the machine's matrix products, and memory in use."""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

PRODUCT = (8000, 256, 2048)  # rows, inner size and columns; about the largest of the published network

Result = TypeVar("Result")


class MatrixProduct:
    """A large matrix product, (8000×256)·(256×2048), as a measure of what the machine can do at the moment."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        rows, inner, columns = PRODUCT
        self.a = torch.randn(rows, inner, device=device).to(dtype)
        self.b = torch.randn(inner, columns, device=device).to(dtype)
        # Always the same memory: new pages take a CPU over a quarter of its time.
        self.product = torch.empty(rows, columns, device=device, dtype=dtype)
        self.repetitions = 2 if device.type == "cpu" else 100
        self.repeat()

    def rate(self) -> float:
        """Floating-point operations per second, measured once."""
        return self.repetitions * 2 * math.prod(PRODUCT) / seconds_of(self.repeat, self.device)

    def repeat(self) -> None:
        """Multiply several times."""
        for _ in range(self.repetitions):
            torch.mm(self.a, self.b, out=self.product)


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call takes, to the end of its work on a GPU."""
    synchronise(device)
    start = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for a GPU to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class PeakMemory:
    """The most bytes held during some calls, beyond what was held when this was made.

    On CUDA this is what PyTorch's allocator says of the GPU's memory. On a CPU it is the resident memory of the
    process, which only Linux can be asked for the peak of within a while; before, memory that was freed but kept for
    later is given back to the system, so that using it again counts. In a process that keeps freed memory
    (`apollo.nn.memory`), gaps that nothing fits into count as well.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.base = self._settle()
        self.peak = None if self.base is None else 0

    def during(self, call: Callable[[], Result]) -> Result:
        """Watch a call, and give what it gives."""
        if self.base is None or self.peak is None:
            return call()
        self._forget()
        result = call()
        self.peak = max(self.peak, self._most() - self.base)
        return result

    def _settle(self) -> int | None:
        """Bytes held now; None where the peak cannot be measured."""
        gc.collect()
        if self.device.type not in ("cpu", "cuda"):
            return None
        try:
            if self.device.type == "cpu":
                ctypes.CDLL(None).malloc_trim(0)
            self._forget()
            return self._most()
        except (OSError, AttributeError, TypeError, StopIteration):
            return None

    def _forget(self) -> None:
        """Let the peak begin at what is held now."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text("5")

    def _most(self) -> int:
        """The peak so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
