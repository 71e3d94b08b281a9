"""What the parts of `benchmarks/gpu.py` have in common: arguments, a deadline, a row for everything that is tried."""

from __future__ import annotations

import argparse
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

LIBRARIES = ("av", "soundfile", "soxr", "lightning", "omegaconf", "h5py", "huggingface_hub", "rich", "typer", "yaml")
MISSING = tuple(name for name in LIBRARIES if importlib.util.find_spec(name) is None)


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets modules import libraries that are missing: the network, the engine and the losses hardly use them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find what is missing."""
        if fullname.split(".")[0] in MISSING:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        """Give something that has every attribute."""
        return MagicMock(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


sys.meta_path.append(StandIns())


class LeftOutError(Exception):
    """Something cannot be tried here, which is nobody's fault."""


def needs(*libraries: str) -> None:
    """Leave out what is under way unless some libraries are there."""
    if absent := [name for name in libraries if name in MISSING]:
        raise LeftOutError(f"needs {', '.join(absent)}")


class Part:
    """One part of the benchmark, with where it writes its rows.

    Attributes:
        device: Where to compute.
        small: Whether everything is to be small, which it is where there is no GPU.
    """

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--device", default="cuda")
        parser.add_argument("--rows", type=Path, required=True)
        parser.add_argument("--seconds", type=float, default=60.0)
        arguments = parser.parse_args()
        self.device = torch.device(arguments.device)
        self.small = self.device.type == "cpu"
        self.rows: Path = arguments.rows
        self.deadline = time.monotonic() + arguments.seconds
        torch.manual_seed(0)
        if self.small:  # a CPU's compiler takes a minute where the network takes milliseconds
            torch.compiler.set_stance("force_eager")

    @property
    def seconds_left(self) -> float:
        """Until nothing more should begin."""
        return self.deadline - time.monotonic()

    def row(self, table: str, **columns: object) -> None:
        """Put a row down, for good."""
        with self.rows.open("a", encoding="utf-8") as rows:
            rows.write(json.dumps({"table": table, **columns}, default=str) + "\n")
        print(table, columns, flush=True)

    def attempt(
        self, table: str, function: Callable[[], Mapping[str, object]], needs_seconds: float = 0.0, **columns: object
    ) -> Mapping[str, object]:
        """Try something, and put down what it gives, or why it gives nothing; nothing is raised.

        Args:
            table: Where its row stands.
            function: Gives the rest of the row.
            needs_seconds: That it may take: with less time left, it is left out.
            **columns: The beginning of the row.

        Returns:
            What the function gave; empty if it failed.
        """
        if self.seconds_left <= needs_seconds:
            self.row(table, **columns, problem="left out: no time left")
            return {}
        try:
            given = function()
            self.row(table, **columns, **given)
            return given
        except LeftOutError as error:
            self.row(table, **columns, problem=f"left out: {error}")
        except subprocess.TimeoutExpired:
            self.row(table, **columns, problem="stopped: no time left")
        except Exception as error:
            traceback.print_exc()
            line = (str(error).strip().splitlines() or [""])[0][:200]
            self.row(table, **columns, problem=f"{type(error).__name__}: {line}", wrong=True)
        self.clear()
        return {}

    def check(self, what: str, function: Callable[[], tuple[float, float]], at_least: bool = False) -> None:
        """Check that a number is at most, or at least, its limit; the function gives both."""

        def judged() -> dict[str, object]:
            measured, limit = function()
            right = measured >= limit if at_least else measured <= limit
            limited = f"{'≥' if at_least else '≤'} {limit:.3g}"
            return {"measured": measured, "limit": limited, "right": right, **({} if right else {"wrong": True})}

        self.attempt("Correctness", judged, check=what)

    def goal(self, what: str, measured: float, wanted: float, at_least: bool = False) -> None:
        """Put down how a goal stands."""
        met = measured >= wanted if at_least else measured <= wanted
        self.row("Goals", goal=what, measured=measured, wanted=f"{'≥' if at_least else '≤'} {wanted:g}", met=met)

    def clear(self) -> None:
        """Give memory back that nobody holds any more; a CPU has enough."""
        torch.compiler.reset()
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def seconds_of(self, function: Callable[[], object], for_seconds: float = 0.5) -> float:
        """Median seconds of a call, to the end of its work, after two that warm up."""
        from apollo.speed.measuring import seconds_of

        seconds_of(function, self.device)
        one = seconds_of(function, self.device)
        calls = 1 if self.small else max(3, min(50, round(for_seconds / one)))
        return statistics.median(seconds_of(function, self.device) for _ in range(calls))


def set_precision(name: str) -> torch.dtype:
    """Let float32 products be what a name says, and give the type for autocast."""
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name, torch.float32)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Mixed precision, unless it is float32; weights are not kept in it, which a captured graph could not bear."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def matrix_rate(part: Part, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a product of two large square matrices of noise."""
    size = 512 if part.small else 8192
    a, b = (torch.randn(size, size, device=part.device).to(dtype) for _ in range(2))
    product = torch.empty_like(a)
    return 2 * size**3 / part.seconds_of(lambda: torch.mm(a, b, out=product))


def snr(estimate: Tensor, truth: Tensor) -> float:
    """Signal-to-noise ratio in dB."""
    power = truth.double().square().sum()
    noise = (estimate.double() - truth.double()).square().sum()
    return float(10 * torch.log10(power / (noise + 1e-20 * power)))


def music(seconds: float, channels: int = 2, sample_rate: int = 44100) -> Tensor:
    """Half-second notes that decay, over soft noise, `(channels, samples)`, with a peak of 1."""
    generator = torch.Generator().manual_seed(0)
    waveform = 0.002 * torch.randn(channels, round(seconds * sample_rate), generator=generator)
    since = torch.arange(sample_rate // 2) / sample_rate
    for onset in range(0, waveform.shape[1], sample_rate // 5):
        pitch = 110 * 2 ** (float(torch.randint(0, 36, (), generator=generator)) / 12)
        note = torch.exp(-6 * since) * sum(torch.sin(2 * torch.pi * pitch * k * since) / k for k in range(1, 12))
        place = waveform[:, onset : onset + len(note)]
        place += torch.rand(channels, 1, generator=generator) * note[: place.shape[1]]
    return waveform / waveform.abs().max()


def run_apollo(part: Part, *words: object) -> None:
    """Run an `apollo` command for as long as there is time."""
    command = [sys.executable, "-m", "apollo", *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(part.seconds_left, 1))
    if done.returncode:
        raise RuntimeError(f"apollo {words[0]} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
