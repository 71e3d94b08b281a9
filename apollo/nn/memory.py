"""Memory that is used over and over."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next who asks, for as long as the process lives; nothing elsewhere.

    A network that is trained or compiled takes and frees tensors of many megabytes all the time. Every one above 32 MB
    glibc gets from the system and gives back at once, and the system clears its pages one by one when they are touched:
    a tenth to a third of the time of a forward pass on a CPU (`benchmarks/README.md`).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
