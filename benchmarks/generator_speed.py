"""How fast the generator is, and how far from what the machine's matrix products would allow.

    python benchmarks/generator_speed.py [--device cuda] [--batches 1 4 16]

`floor` is the network's floating-point count over the rate of an (8000×256)·(256×2048) product measured in the same
run, in the same precision. Times are medians of three runs, per second of stereo audio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.utils.flop_counter import FlopCounterMode

import apollo
from apollo.errors import ModelFileError

RUNS = 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each clip")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    print(f"{describe(device)}; torch {torch.__version__}; clips of {arguments.seconds} s stereo")
    print(f"{'model':<10}{'precision':<11}{'mode':<10}{'batch':>5}{'s/s':>10}{'floor':>10}{'ratio':>7}{'TFLOP/s':>9}")
    for name, model in models().items():
        model = model.to(device).eval()
        for batch in arguments.batches:
            samples = int(arguments.seconds * model.sample_rate)
            waveform = torch.randn(batch, 2, samples, device=device) * 0.1
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                model(waveform)
            work = counter.get_total_flops() / (batch * arguments.seconds)
            for precision in ("float32", "bfloat16") if device.type == "cpu" else ("float32", "tf32", "bfloat16"):
                torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
                for compiled in (False,) if arguments.no_compile else (False, True):
                    run = torch.compile(model) if compiled else model
                    autocast = precision == "bfloat16"

                    def forward(
                        run: Callable[..., object] = run, x: torch.Tensor = waveform, a: bool = autocast
                    ) -> None:
                        with (
                            torch.inference_mode(),
                            torch.autocast(device.type, torch.bfloat16) if a else nullcontext(),
                        ):
                            run(x)

                    seconds = median(forward, device) / (batch * arguments.seconds)
                    rate = matrix_rate(device, torch.bfloat16 if autocast else torch.float32)
                    mode = "compiled" if compiled else "eager"
                    print(
                        f"{name:<10}{precision:<11}{mode:<10}{batch:>5}{seconds:>10.4f}{work / rate:>10.4f}"
                        f"{seconds * rate / work:>7.2f}{rate / 1e12:>9.2f}",
                        flush=True,
                    )
                    torch.compiler.reset()


def models() -> dict[str, apollo.Apollo]:
    """The published network and, where it is installed, the default model."""
    found = {"256x6": apollo.Apollo()}
    try:
        found["default"] = apollo.load_model("default")
    except ModelFileError as error:
        print(error)
    return found


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a matrix product of the network's size."""
    a, b = torch.randn(8000, 256, device=device, dtype=dtype), torch.randn(256, 2048, device=device, dtype=dtype)
    return 10 * 2 * 8000 * 256 * 2048 / median(lambda: [a @ b for _ in range(10)], device)


def median(function: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a few calls, after one that warms up."""
    times = []
    for _ in range(RUNS + 1):
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def synchronise(device: torch.device) -> None:
    """Wait for a GPU to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> str:
    """Name the machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
