"""Memory that is used over and over, and memory that runs out."""

from __future__ import annotations

import ctypes
import re
import sys

# Only on CUDA has PyTorch a class for it; on other devices it is a RuntimeError that says so.
_NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|ALLOC_FAILED")
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the memory of the machine or of its GPU has run out."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error))))


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for later use, for as long as the process lives; does nothing on other systems.

    Networks take and free tensors of many megabytes all the time. glibc gets them from the system and gives them back
    at once, and the system clears their pages one by one when they are touched: on a CPU that is a quarter of the time
    of restoring, and up to half of a training step (`benchmarks/README.md`). The commands call this; a program that has
    the process to itself may do so too. Gaps that nothing fits into cost memory: two thirds more were seen in training,
    a tenth more in restoring.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
