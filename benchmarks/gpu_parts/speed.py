"""How fast the network is in every way of running it, beside the rate of the chip's own matrix products."""

from __future__ import annotations

import itertools

import torch
from networks import networks, ways
from part import LeftOutError, Part, matrix_rate, set_precision

from apollo.nn import Apollo
from apollo.speed.benchmark import flops_per_second

PRECISIONS = ("bf16", "fp16", "tf32", "fp32")
BATCHES = (1, 4, 16)
COMPILING = 40.0  # seconds that compiling and running may take; 256×6 took 31 on an H100


class Speeds:
    """Measures, and remembers the best share of the matrix rate."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.work = {name: flops_per_second(model.cpu()) for name, model in networks(part).items()}
        self.networks = networks(part)
        self.rates = {name: matrix_rate(part, set_precision(name)) for name in PRECISIONS}
        self.best: dict[str, float] = {}

    def measure(self, name: str, way: str, precision: str, batch: int, seconds: float, channels: int = 2) -> float:
        """A row of the table; gives the seconds that a pass took, infinitely many if it failed."""
        dtype = set_precision(precision)
        model: Apollo = self.networks[name]

        def speed() -> dict[str, object]:
            if way not in ways(self.part):
                raise LeftOutError("only CUDA has graphs")
            samples = round(seconds * model.sample_rate)
            waveform = 0.1 * torch.randn(batch, channels, samples, device=self.part.device)
            run = ways(self.part)[way](model, dtype)
            if self.part.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            took = self.part.seconds_of(lambda: run(waveform))
            rate = self.work[name] * batch * seconds * channels / 2 / took
            share = rate / self.rates[precision]
            self.best[name] = max(self.best.get(name, 0.0), rate / self.rates["bf16"])
            memory = torch.cuda.max_memory_allocated() / 1e9 if self.part.device.type == "cuda" else None
            return {
                "ms": 1000 * took,
                "× real time": batch * seconds / took,
                "TFLOP/s": rate / 1e12,
                "share": share,
                "peak GB": memory,
            }

        needed = COMPILING if "compiled" in way and not self.part.small else 0.0
        columns = {"network": name, "way": way, "precision": precision, "batch": batch}
        table = f"Network, {seconds:g} s of {'stereo' if channels == 2 else 'mono'}"
        given = self.part.attempt(table, speed, needed, **columns)
        self.part.clear()
        return float(str(given.get("ms", "inf"))) / 1000


def main() -> None:
    """Measure what matters most first."""
    part = Part()
    speeds = Speeds(part)
    precisions = PRECISIONS[::2] if part.small else PRECISIONS
    batches = BATCHES[:1] if part.small else BATCHES
    seconds = 0.3 if part.small else 4.0
    second = 0.3 if part.small else 1.0
    paper = [
        speeds.measure("256x6", way, precision, 1, second, channels=1)
        for way, precision in itertools.product(("eager", "graph", "compiled, graph"), precisions)
        if way != "compiled, graph" or precision == "bf16"
    ]
    part.goal("paper's 1 s of mono with 256×6, ms (paper: 206)", 1000 * min(paper), 2.0)
    for name, way, batch in itertools.product(speeds.networks, ("eager", "graph"), batches):
        speeds.measure(name, way, "bf16", batch, seconds)
    with_blocks = [name for name in reversed(speeds.networks) if speeds.networks[name].blocks]  # others compile nothing
    for name, batch, way in itertools.product(with_blocks, batches[::-2], ("compiled", "compiled, graph")):
        speeds.measure(name, way, "bf16", batch, seconds)
    for name, share in speeds.best.items():
        part.goal(f"inference with {name}: share of the bf16 matrix rate", share, 0.5, at_least=True)
    for name, precision, batch in itertools.product(speeds.networks, precisions[1:], batches[::-2]):
        speeds.measure(name, "eager", precision, batch, seconds)
    for name, precision in itertools.product(with_blocks, precisions[1:]):
        speeds.measure(name, "compiled", precision, batches[-1], seconds)


if __name__ == "__main__":
    main()
