"""How long a training step takes, on what, how far from what matrix products would allow, and what memory it needs.

    python benchmarks/training_speed.py [--device cuda] [--batches 1 4] [--seconds 3] [--size 256,6] [--compile]

A step is that of the published recipe, generator against discriminator, on noise. `floor` is its floating-point count,
backward passes included, over the rate of an (8000×256)·(256×2048) product measured in the same run in the same
precision. `kept` is what the generator keeps for its backward pass, counted tensor by tensor; on a GPU `peak` is what
CUDA's allocator says of the whole step. `data` is one core making the same crops from a folder of music by MP3.
Times are medians of three steps.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from generator_speed import RUNS, describe, matrix_rate, synchronise
from torch.utils.flop_counter import FlopCounterMode

from apollo.audio import write
from apollo.data.crops import Crops
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder, find_tracks
from apollo.nn import Apollo, MultiFrequencyDiscriminator
from apollo.nn.losses import DiscriminatorLoss, GeneratorLoss
from apollo.training.system import halves

PARTS = ("forward", "backward", "discriminator", "losses", "optimisers")


class Step:
    """One training step, taken apart by the clock."""

    def __init__(self, size: tuple[int, int], device: torch.device, precision: str, compiled: bool) -> None:
        self.device = device
        self.autocast = precision == "bfloat16"
        self.generator = Apollo(feature_dim=size[0], layer=size[1]).to(device)
        self.discriminator = MultiFrequencyDiscriminator().to(device)
        self.loss_g, self.loss_d = GeneratorLoss().to(device), DiscriminatorLoss()
        self.restore = torch.compile(self.generator) if compiled else self.generator
        self.optimizers = [torch.optim.AdamW(n.parameters()) for n in (self.generator, self.discriminator)]
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the time that a block takes to a part."""
        synchronise(self.device)
        begun = time.perf_counter()
        yield
        synchronise(self.device)
        self.seconds[part] += time.perf_counter() - begun

    def run(self, original: torch.Tensor, degraded: torch.Tensor) -> None:
        """Take a step, as `apollo.training.system` does."""
        self.seconds.clear()
        context = torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)
        with self.timed("forward"), context:
            estimate = self.restore(degraded)
        with self.timed("discriminator"):
            with context:
                loss = self.loss_d(*halves(self.discriminator(torch.cat((original, estimate.detach())))))
            loss.backward()
        with self.timed("losses"), context:
            self.discriminator.requires_grad_(False)
            with torch.no_grad():
                real = self.discriminator(original)
            made = estimate.detach().requires_grad_()
            terms = self.loss_g(made, original, degraded, real, self.discriminator(made))
            terms["loss"].backward()
            self.discriminator.requires_grad_(True)
        with self.timed("backward"):
            estimate.backward(made.grad)
        with self.timed("optimisers"):
            for optimizer in self.optimizers:
                parameters = optimizer.param_groups[0]["params"]
                torch.nn.utils.clip_grad_norm_(parameters, 5.0)
                optimizer.step()
                optimizer.zero_grad()


class Kept:
    """Counts what forward passes keep for backward passes: every storage once, weights left out."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        self.storages: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []  # an address must not be given to another tensor while we count

    def add(self, tensor: torch.Tensor) -> torch.Tensor:
        """Count a tensor."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.weights:
            self.storages[storage.data_ptr()] = storage.nbytes()
            self.alive.append(tensor)
        return tensor

    @property
    def gigabytes(self) -> float:
        """The sum, in GB (10^9 bytes)."""
        return sum(self.storages.values()) / 1e9


def kept_gigabytes(step: Step, degraded: torch.Tensor, checkpointing: bool) -> float:
    """What the generator keeps; with checkpointing also what one block, computed again, keeps for a while."""
    generator, total = step.generator, 0.0
    entering: list[torch.Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0])) for block in generator.blocks
    ]
    generator.checkpointing = checkpointing
    context = torch.autocast(step.device.type, torch.bfloat16, enabled=step.autocast)
    kept = Kept(generator)
    with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor), context:
        generator(degraded)
    generator.checkpointing = False
    for hook in hooks:
        hook.remove()
    if checkpointing:
        for tensor in entering:
            kept.add(tensor)
        again = Kept(generator)
        with torch.autograd.graph.saved_tensors_hooks(again.add, lambda tensor: tensor), context:
            generator.blocks[0](entering[0].detach().requires_grad_())
        total = again.gigabytes
    return total + kept.gigabytes


def data_seconds(seconds: float, batch: int) -> float:
    """How long one core takes for a batch of crops."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "noise.wav", 0.1 * rng.standard_normal((2, 30 * 44100)), 44100)
        crops = Crops(MusicFolder(find_tracks(Path(folder)), 44100), RandomCodec(44100), round(seconds * 44100), seed=0)
        begun = time.process_time()
        for number in range(12):
            crops[number]
        return batch * (time.process_time() - begun) / 12


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each clip")
    parser.add_argument("--size", default="256,6", help="feature channels and blocks")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    width, layers = (int(number) for number in arguments.size.split(","))
    print(f"{describe(device)}; torch {torch.__version__}; {width}x{layers}, {arguments.seconds} s stereo")
    print(
        "| precision | batch | step s | " + " | ".join(PARTS) + " | data | floor s | ratio | kept GB | checkpointed |"
    )
    print("|" + "---|" * (8 + len(PARTS) + 1))
    for precision in ("float32", "bfloat16"):
        for batch in arguments.batches:
            step = Step((width, layers), device, precision, arguments.compile)
            shape = (batch, 2, round(arguments.seconds * 44100))
            original, degraded = (0.1 * torch.randn(shape, device=device) for _ in range(2))
            with FlopCounterMode(display=False) as counter:
                step.run(original, degraded)
            runs = []
            for _ in range(RUNS):
                step.run(original, degraded)
                runs.append(dict(step.seconds))
            parts = {part: statistics.median(run[part] for run in runs) for part in PARTS}
            total = statistics.median(sum(run.values()) for run in runs)
            rate = matrix_rate(device, torch.bfloat16 if step.autocast else torch.float32)
            floor = counter.get_total_flops() / rate
            kept = [kept_gigabytes(step, degraded, checkpointing) for checkpointing in (False, True)]
            cells = [
                precision,
                str(batch),
                f"{total:.2f}",
                *(f"{parts[part]:.2f}" for part in PARTS),
                f"{data_seconds(arguments.seconds, batch):.2f}",
                f"{floor:.2f}",
                f"**{total / floor:.2f}**",
                *(f"{gigabytes:.2f}" for gigabytes in kept),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
            if device.type == "cuda":
                print(f"peak {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of the whole step")
                torch.cuda.reset_peak_memory_stats(device)


if __name__ == "__main__":
    main()
