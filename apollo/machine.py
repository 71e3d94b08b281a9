"""The machine that the program runs on."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Machine:
    """A processor or GPU."""

    device: str  # its name in PyTorch
    name: str  # its model name
    threads: int | None  # threads of a CPU's matrix products; None on a GPU
    torch: str  # version of PyTorch

    def __str__(self) -> str:
        return self.name if self.threads is None else f"{self.name}, {self.threads} thread{'s' * (self.threads != 1)}"


def describe(device: torch.device) -> Machine:
    """Name the machine."""
    if device.type == "cuda":
        return Machine(str(device), torch.cuda.get_device_name(device), None, torch.__version__)
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        found = re.search(r"^model name\s*: (.+)$", information.read_text(encoding="utf-8"), re.MULTILINE)
        name = found[1] if found else name
    if device.type != "cpu":
        return Machine(str(device), f"{name} ({device.type})", None, torch.__version__)
    return Machine(str(device), name, torch.get_num_threads(), torch.__version__)
