"""How long a training step takes, on what, how far from what matrix products would allow, and what memory it needs.

    python benchmarks/training_speed.py [--device cuda] [--batches 1 4] [--checkpointing] [--compile]
    python benchmarks/training_speed.py --count         # memory alone: nothing is timed, so any machine will do

A step is that of the published recipe, generator against discriminator, on noise. `floor` is its floating-point count,
backward passes included, over the rate of an (8000×256)·(256×2048) product in the same precision, measured before and
after every step. `data` is one core making the same crops from a folder of music by MP3. Times are medians of three
steps. With `--checkpointing`, blocks are computed again for the backward pass, and that counts as work. `peak` is the
memory of whole steps, weights included, by CUDA's allocator, and on a CPU that of the process beyond what it held
before; there it includes gaps in the memory that is kept for later.

`--count` prints what a step keeps at its fullest, tensor by tensor: weights, gradients and moments of both networks,
and what generator, discriminator and losses keep for their backward passes. What one operation needs while it is at
work, and CUDA itself, come on top.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from apollo.audio import write
from apollo.data.crops import Crops
from apollo.data.degradation import RandomCodec
from apollo.data.folders import MusicFolder, find_tracks
from apollo.machine import describe
from apollo.nn import Apollo, MultiFrequencyDiscriminator
from apollo.nn.discriminator import halves
from apollo.nn.losses import DiscriminatorLoss, GeneratorLoss
from apollo.nn.memory import keep_freed_memory
from apollo.speed.benchmark import RUNS
from apollo.speed.measuring import MatrixProduct, PeakMemory, synchronise

PARTS = ("forward", "backward", "discriminator", "losses", "optimisers")


class Step:
    """One training step, taken apart by the clock."""

    def __init__(self, size: tuple[int, int], device: torch.device, precision: str, compile_it: bool = False) -> None:
        self.device = device
        self.autocast = precision == "bfloat16"
        self.generator = Apollo(feature_dim=size[0], layer=size[1]).to(device)
        self.discriminator = MultiFrequencyDiscriminator().to(device)
        self.loss_g, self.loss_d = GeneratorLoss().to(device), DiscriminatorLoss()
        if compile_it:
            self.generator.compile_blocks()
        self.optimizers = [torch.optim.AdamW(n.parameters()) for n in (self.generator, self.discriminator)]
        self.seconds: dict[str, float] = defaultdict(float)

    def context(self) -> AbstractContextManager[None]:
        """Mixed precision, if it is wanted."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)

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
        with self.timed("forward"), self.context():
            estimate = self.generator(degraded)
        with self.timed("discriminator"):
            with self.context():
                loss = self.loss_d(*halves(self.discriminator(torch.cat((original, estimate.detach())))))
            loss.backward()
        with self.timed("losses"), self.context():
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


class FloatingPoint(TorchDispatchMode):
    """Counts the floating-point operations of matrix products and convolutions, by PyTorch's own formulas.

    PyTorch's `FlopCounterMode` would give the same number, but the hooks by which it tells modules apart keep what
    checkpointed blocks compute again: the step that was counted took four times the memory of the others.
    """

    operations = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.operations += formula(*args, **(kwargs or {}), out_val=result)
        return result


class Kept:
    """Counts what forward passes keep for backward passes: every storage once, weights left out.

    Nothing counted is held, so counting needs no more memory than a forward pass without gradients.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self.weights = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        self.storages: dict[StorageWeakRef, int] = {}  # while it is referred to, no other storage takes its identity

    def add(self, tensor: torch.Tensor) -> None:
        """Count a tensor."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.storages[StorageWeakRef(storage)] = storage.nbytes()

    def watching(self) -> AbstractContextManager[None]:
        """Count what is kept inside the block, which no backward pass may follow."""
        return torch.autograd.graph.saved_tensors_hooks(self.add, lambda _: torch.empty(0))

    @property
    def gigabytes(self) -> float:
        """The sum, in GB (10^9 bytes)."""
        return sum(self.storages.values()) / 1e9


def kept_gigabytes(step: Step, degraded: torch.Tensor, checkpointing: bool) -> tuple[float, float]:
    """What the generator keeps, and what one block that is computed again keeps for a while."""
    generator = step.generator
    entering: list[torch.Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0])) for block in generator.blocks
    ]
    generator.checkpointing = checkpointing
    kept, again = Kept(generator), Kept(generator)
    with kept.watching(), step.context():
        generator(degraded)
    generator.checkpointing = False
    for hook in hooks:
        hook.remove()
    if checkpointing:
        for tensor in entering:
            kept.add(tensor)
        with again.watching(), step.context():
            generator.blocks[0](entering[0].detach().requires_grad_())
    return kept.gigabytes, again.gigabytes


def judged_gigabytes(step: Step, original: torch.Tensor) -> float:
    """What discriminator and losses keep: for the discriminator's step or the generator's, whichever keeps more."""
    estimate = original.clone().requires_grad_()
    learning, passing = Kept(step.discriminator), Kept(step.discriminator)
    with learning.watching(), step.context():
        step.loss_d(*halves(step.discriminator(torch.cat((original, estimate.detach())))))
    step.discriminator.requires_grad_(False)
    with step.context(), torch.no_grad():
        real = step.discriminator(original)
    for judgement in real:
        for tensor in (judgement.logits, *judgement.features):
            passing.add(tensor)
    with passing.watching(), step.context():
        step.loss_g(estimate, original, original, real, step.discriminator(estimate))
    step.discriminator.requires_grad_(True)
    return max(learning.gigabytes, passing.gigabytes)


def count(size: tuple[int, int], batches: list[int], seconds: float, device: torch.device) -> None:
    """Print what a step keeps in memory, part by part."""
    print("| precision | batch | gradient checkpointing | weights | generator | one block | judgement | at most GB |")
    print("|---|---|---|---|---|---|---|---|")
    for precision in ("float32", "bfloat16"):
        step = Step(size, device, precision)
        parameters = [p for network in (step.generator, step.discriminator) for p in network.parameters()]
        weights = 4 * sum(p.nbytes for p in parameters) / 1e9  # with gradients and two moments
        for batch in batches:
            waveform = 0.1 * torch.randn(batch, 2, round(seconds * 44100), device=device)
            judged = judged_gigabytes(step, waveform)
            for checkpointing in (False, True):
                kept, again = kept_gigabytes(step, waveform, checkpointing)
                most = weights + kept + max(judged, again)  # blocks are computed again after the judgement's backward
                parts = " | ".join(f"{part:.2f}" for part in (weights, kept, again, judged))
                switch = "on" if checkpointing else "off"
                print(f"| {precision} | {batch} | {switch} | {parts} | **{most:.2f}** |", flush=True)


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
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--checkpointing", action="store_true", help="the memory of batch 4 needs it on most machines")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--count", action="store_true", help="count memory, time nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if device.type == "cpu":
        keep_freed_memory()  # as `apollo train` does
    width, layers = (int(number) for number in arguments.size.split(","))
    print(f"{describe(device)}; torch {torch.__version__}; {width}x{layers}, {arguments.seconds} s stereo")
    if arguments.count:
        count((width, layers), arguments.batches, arguments.seconds, device)
        return
    print("| precision | batch | step s | " + " | ".join(PARTS) + " | data | peak GB | floor s | ratio |")
    print("|" + "---|" * (7 + len(PARTS)))
    for precision in arguments.precisions:
        for batch in arguments.batches:
            memory = PeakMemory(device)
            step = Step((width, layers), device, precision, arguments.compile)
            step.generator.checkpointing = arguments.checkpointing
            shape = (batch, 2, round(arguments.seconds * 44100))
            original, degraded = (0.1 * torch.randn(shape, device=device) for _ in range(2))
            with FloatingPoint() as counted:
                step.run(original, degraded)
            product = MatrixProduct(device, torch.bfloat16 if step.autocast else torch.float32)
            rates = [product.rate()]
            runs = []
            for _ in range(RUNS):
                memory.during(partial(step.run, original, degraded))
                runs.append(dict(step.seconds))
                rates.append(product.rate())
            parts = {part: statistics.median(run[part] for run in runs) for part in PARTS}
            total = statistics.median(sum(run.values()) for run in runs)
            floor = counted.operations / statistics.median(rates)
            cells = [
                precision,
                str(batch),
                f"{total:.2f}",
                *(f"{parts[part]:.2f}" for part in PARTS),
                f"{data_seconds(arguments.seconds, batch):.2f}",
                "?" if memory.peak is None else f"{memory.peak / 1e9:.1f}",
                f"{floor:.2f}",
                f"**{total / floor:.2f}**",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
