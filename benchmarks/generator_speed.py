"""How fast the generator is, and how far from what the machine's matrix products would allow.

    python benchmarks/generator_speed.py [--device cuda] [--batches 1 4 16]

`floor` is the network's floating-point count over the rate of an (8000×256)·(256×2048) product measured in the same
run, in the same precision. Times are medians of three runs, per second of stereo audio.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from contextlib import nullcontext

import torch

import apollo
from apollo.errors import ModelFileError
from apollo.evaluation.benchmark import RUNS, flops_per_second
from apollo.evaluation.machine import MatrixProduct, clock, describe


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
        work = flops_per_second(model)
        model = model.to(device).eval()
        for batch in arguments.batches:
            samples = int(arguments.seconds * model.sample_rate)
            waveform = torch.randn(batch, 2, samples, device=device) * 0.1
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
    product = MatrixProduct(device, dtype)
    return statistics.median(product.rate() for _ in range(RUNS))


def median(function: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a few calls, after one that warms up."""
    return statistics.median([clock(function, device) for _ in range(RUNS + 1)][1:])


if __name__ == "__main__":
    main()
