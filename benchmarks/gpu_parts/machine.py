"""What the machine is, and what its arithmetic and memory can do at best."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import partial

import torch
from part import MISSING, Part, matrix_rate, set_precision


def main() -> None:
    """Describe and measure the machine."""
    part = Part()
    part.attempt("Machine", partial(description, part))
    for name in ("fp32", "tf32", "bf16", "fp16"):
        part.attempt("Matrix product", partial(multiplying, part, name), precision=name)
    for there, pinned in (("device", False), ("host", False), ("host", True)):
        part.attempt("Copying to the device", partial(copying, part, there, pinned), source=there, pinned=pinned)


def description(part: Part) -> dict[str, object]:
    """Names and versions."""
    found: dict[str, object] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "missing": ", ".join(MISSING) or "nothing",
    }
    if part.device.type == "cuda":
        properties = torch.cuda.get_device_properties(part.device)
        query = [
            "nvidia-smi",
            "--query-gpu=driver_version,clocks.sm,clocks.mem,utilization.gpu",
            "--format=csv,noheader",
        ]
        try:
            state = subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            state = "?"
        found = {
            "gpu": properties.name,
            "GB": properties.total_memory / 1e9,
            "multiprocessors": properties.multi_processor_count,
            "capability": f"{properties.major}.{properties.minor}",
            "driver, clocks, load": state,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            **found,
        }
    return found


def multiplying(part: Part, precision: str) -> dict[str, object]:
    """The rate of a large product."""
    return {"TFLOP/s": matrix_rate(part, set_precision(precision)) / 1e12}


def copying(part: Part, there: str, pinned: bool) -> dict[str, object]:
    """GB/s of a copy, counting bytes read and bytes written where both are the device's."""
    size = 1 << (20 if part.small else 30)
    pinned = pinned and part.device.type == "cuda"
    source = torch.empty(size, dtype=torch.uint8, device=part.device if there == "device" else "cpu", pin_memory=pinned)
    target = torch.empty(size, dtype=torch.uint8, device=part.device)
    seconds = part.seconds_of(lambda: target.copy_(source))
    return {"GB/s": (2 if there == "device" else 1) * size / seconds / 1e9}


if __name__ == "__main__":
    main()
