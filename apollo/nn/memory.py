"""Memory that is used over and over."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # as glibc's malloc.h numbers them


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next who asks, for as long as the process lives; nothing elsewhere.

    Networks take and free tensors of many megabytes all the time. glibc gets them from the system and gives them back
    at once, and the system clears their pages one by one when they are touched: on a CPU that is a quarter of the time
    of restoring, and up to half of a training step (`benchmarks/README.md`). The commands call this; a program that has
    the process to itself may do so too. The price are gaps that nothing fits into: training was seen to settle at two
    thirds more memory, restoring at a tenth more.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
