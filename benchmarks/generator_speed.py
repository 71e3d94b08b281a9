"""How fast the generator is, and how far from what the machine's matrix products would allow.

    python benchmarks/generator_speed.py [--device cuda] [--batches 1 4 16]

`floor` is the network's floating-point count over the rate of an (8000×256)·(256×2048) product, in the same precision,
measured before and after every run of the network: a shared machine's rate changes within seconds. Times are per second
of stereo audio; times and rates are medians.
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable

import torch

import apollo
from apollo.errors import ModelFileError
from apollo.machine import describe
from apollo.speed.benchmark import RUNS, flops_per_second
from apollo.speed.measuring import MatrixProduct, seconds_of


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
                autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
                product = MatrixProduct(device, torch.bfloat16 if precision == "bfloat16" else torch.float32)
                for mode in ("eager",) if arguments.no_compile else ("eager", "compiled"):
                    run = compiled(model) if mode == "compiled" else model

                    def forward(run: Callable[..., object] = run, x: torch.Tensor = waveform) -> None:
                        with torch.no_grad(), autocast:  # noqa: B023 - called before the next turn
                            run(x)

                    seconds, rate = side_by_side(forward, product)
                    seconds /= batch * arguments.seconds
                    print(
                        f"{name:<10}{precision:<11}{mode:<10}{batch:>5}{seconds:>10.4f}{work / rate:>10.4f}"
                        f"{seconds * rate / work:>7.2f}{rate / 1e12:>9.2f}",
                        flush=True,
                    )


def compiled(model: apollo.Apollo) -> apollo.Apollo:
    """A copy of a network whose blocks are compiled, with the weights laid out for the processor."""
    torch.compiler.reset()
    torch._inductor.config.freezing = True
    model = copy.deepcopy(model)
    model.compile_blocks()
    return model


def models() -> dict[str, apollo.Apollo]:
    """The published network and, where it is installed, the default model."""
    found = {"256x6": apollo.Apollo()}
    try:
        found["default"] = apollo.load_model("default")
    except ModelFileError as error:
        print(error)
    return found


def side_by_side(forward: Callable[[], object], product: MatrixProduct) -> tuple[float, float]:
    """Median seconds of some calls, after one that warms up, and the matrix product's median rate between them."""
    seconds_of(forward, product.device)
    durations = []
    rates = [product.rate()]
    for _ in range(RUNS):
        durations.append(seconds_of(forward, product.device))
        rates.append(product.rate())
    return statistics.median(durations), statistics.median(rates)


if __name__ == "__main__":
    main()
