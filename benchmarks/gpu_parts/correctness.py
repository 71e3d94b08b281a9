"""Whether the network gives the right samples and gradients on the device, in every way of running it."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from networks import networks, ways
from part import LeftOutError, Part, autocast, music, set_precision, snr
from torch import Tensor

from apollo.checkpoints import load_model
from apollo.nn import Apollo, MultiFrequencyDiscriminator
from apollo.nn.chunks import ChunkStream, restore_in_chunks
from apollo.nn.losses import GeneratorLoss

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
# SNR in dB against float64, at least. Rounding to float32 leaves 100 and more; TF32 and float16 have 11 bits, bfloat16
# has 8. The default model only corrects its input; a network that draws the whole spectrum shows all of the rounding.
LIMITS = {
    "default": {"fp32": 100.0, "tf32": 50.0, "bf16": 40.0, "fp16": 50.0},
    "256x6": {"fp32": 90.0, "tf32": 40.0, "bf16": 20.0, "fp16": 40.0},
}


def main() -> None:
    """Check everything."""
    part = Part()
    set_precision("fp32")
    for name in ("upstream.bin", "lightning.ckpt", "msst.ckpt"):
        part.check(f"golden samples of {name}, relative error", partial(golden, part, name))
    seconds = 0.5 if part.small else 4.0
    waveform = music(seconds)[None].to(part.device)
    for name, model in networks(part).items():
        truth = in_float64(model, waveform)
        for precision, limit in LIMITS[name].items():
            if part.small and precision == "fp16":
                continue
            part.check(
                f"{name} in {precision} against float64, SNR in dB",
                partial(against, truth, model, waveform, precision, limit),
                at_least=True,
            )
        part.check(f"{name}: chunks against the whole, relative error", partial(chunks, part, model))
        part.check(f"{name}: a batch against one at a time, relative error", partial(batches, part, model))
        part.check(f"{name}: gradients against float64, relative error", partial(gradients, part, model))
    part.check("out of memory: chunks are halved, relative error", partial(out_of_memory, part))
    for way, (name, model) in itertools.product(list(ways(part))[1:], networks(part).items()):  # compiling takes long
        if model.blocks or "compiled" not in way:
            part.check(f"{name}: {way} against eager, SNR in dB", partial(in_a_way, part, model, way), at_least=True)


def golden(part: Part, name: str) -> tuple[float, float]:
    """A published file gives the samples that the published code gave for it."""
    samples = np.load(GOLDEN / "apollo-tiny.golden.npz")
    model = load_model(GOLDEN / f"apollo-tiny.{name}").to(part.device)
    with torch.no_grad():
        restored = model(torch.from_numpy(samples["input"])[None].to(part.device))[0].cpu()
    return relative(restored, torch.from_numpy(samples["output"])), 1e-5


def relative(found: Tensor, wanted: Tensor) -> float:
    """Largest error over largest value."""
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


def in_float64(model: Apollo, waveform: Tensor) -> Tensor:
    """What the network gives in float64, on the device."""
    with torch.no_grad():
        truth: Tensor = copy.deepcopy(model).double()(waveform.double())
        return truth


def run_in(model: Apollo, waveform: Tensor, precision: str) -> Tensor:
    """What the network gives in a precision."""
    dtype = set_precision(precision)
    try:
        with torch.no_grad(), autocast(waveform.device, dtype):
            restored: Tensor = model(waveform)
            return restored
    finally:
        set_precision("fp32")


def against(truth: Tensor, model: Apollo, waveform: Tensor, precision: str, limit: float) -> tuple[float, float]:
    """How far a precision is from the truth."""
    return snr(run_in(model, waveform, precision), truth), limit


def chunks(part: Part, model: Apollo) -> tuple[float, float]:
    """Cut into chunks, a waveform is restored to the samples of one pass."""
    waveform = music(2.5 if part.small else 20.0)
    with torch.no_grad():
        whole = model(waveform[:, None].to(part.device))[:, 0].cpu()
    return relative(restore_in_chunks(model, waveform, model.sample_rate // model.hop_length), whole), 1e-5


def batches(part: Part, model: Apollo) -> tuple[float, float]:
    """Items of a batch do not know of each other."""
    waveform = music(0.3 if part.small else 3.0).to(part.device)[:, None]
    with torch.no_grad():
        return relative(model(waveform), torch.cat([model(item[None]) for item in waveform])), 1e-5


def gradients(part: Part, model: Apollo) -> tuple[float, float]:
    """Loss and gradients of a training step, discriminator included, are those of float64."""
    original = music(0.3 if part.small else 1.0)[None].to(part.device)
    torch.manual_seed(0)
    judge, loss = MultiFrequencyDiscriminator(window=[64, 512]).to(part.device), GeneratorLoss().to(part.device)

    def gradient(kind: torch.dtype) -> Tensor:
        network, judging = copy.deepcopy(model).to(kind).train(), copy.deepcopy(judge).to(kind)
        clean = original.to(kind)
        damaged = clean + 0.01 * clean.roll(100, -1)
        with torch.no_grad():
            real = judging(clean)
        made = network(damaged)
        loss.to(kind)(made, clean, damaged, real, judging(made))["loss"].backward()
        return torch.cat([p.grad.double().flatten() for p in network.parameters() if p.grad is not None])

    single, double = gradient(torch.float32), gradient(torch.float64)
    return float((single - double).norm() / double.norm()), 1e-2


def in_a_way(part: Part, model: Apollo, way: str) -> tuple[float, float]:
    """Compiled, or as a graph that is replayed on another input, the network gives what it gives otherwise."""
    if "compiled" in way and not part.small and part.seconds_left < 40:
        raise LeftOutError("compiling takes longer than is left")
    waveform = music(0.3 if part.small else 2.0)[None].to(part.device)
    run: Callable[[Tensor], Tensor] = ways(part)[way](model, torch.float32)
    run(torch.zeros_like(waveform) + 0.1)
    return snr(run(waveform), run_in(model, waveform, "fp32")), 90.0


def out_of_memory(part: Part) -> tuple[float, float]:
    """With an allocator that refuses more than a whole song needs, it comes out the same."""
    model = networks(part)["default"]
    waveform = music(4.0 if part.small else 60.0)
    exact = restore_in_chunks(model, waveform, model.sample_rate // model.hop_length)
    halvings: list[int] = []
    stream = ChunkStream(model, 2, 4 * waveform.shape[1] // model.hop_length, batch=2, halved=halvings.append)
    if part.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        restore_in_chunks(model, waveform, waveform.shape[1] // model.hop_length)
        needed = torch.cuda.max_memory_allocated() - held
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(part.device).total_memory
        torch.cuda.set_per_process_memory_fraction((held + needed / 2) / total)
    else:  # a pass that fails stands for it
        forward = model.forward

        def refuse(sound: Tensor, *more: float) -> Tensor:
            if sound.shape[-1] > 3 * model.sample_rate:
                raise MemoryError
            return forward(sound, *more)

        model.forward = refuse  # type: ignore[method-assign]
    logging.disable()
    try:
        restored = torch.cat((stream.push(waveform), stream.flush()), dim=1)
    finally:
        if part.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    if not halvings:
        raise RuntimeError("memory did suffice: the cap does not cap")
    return relative(restored, exact), 1e-5


if __name__ == "__main__":
    main()
