"""What was freed is used again where that was asked for."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

# Page faults of taking and freeing 64 MB eight times: 16,384 pages each time that they come anew. By NumPy, which asks
# for nothing but bytes: tensors are aligned, and may leave gaps.
CODE = """
import resource, sys
import numpy
from apollo.nn.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(9):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.empty(8 << 20).fill(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is that of Linux")
def test_freed_memory_is_used_again_only_where_it_is_kept(run_python: Callable[..., Any]) -> None:
    faults = {name: int(run_python("-c", CODE, name).stdout) for name in ("keep", "give")}
    assert faults["keep"] < 0.1 * faults["give"]
