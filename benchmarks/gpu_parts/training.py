"""How long a training step takes, beside the chip's matrix products, and what memory it needs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from part import LeftOutError, Part, matrix_rate, set_precision

sys.path.append(str(Path(__file__).parents[1]))
from training_speed import FloatingPoint, Step

COMPILING = 90.0  # seconds that compiling both passes and running may take
CAP = 8e9  # bytes of a small card


def main() -> None:
    """Measure steps on 3 s of stereo with the published network and its discriminator."""
    part = Part()
    rates = {name: matrix_rate(part, set_precision(name)) for name in ("bf16", "tf32", "fp32")}
    shares = [0.0]
    cases = [
        *(("bf16", batch, False, False) for batch in (1, 4, 8)),
        ("bf16", 1, True, False),
        ("bf16", 4, False, True),
        ("tf32", 1, False, False),
        ("fp32", 1, False, False),
        *(("bf16", batch, True, False) for batch in (4, 8)),
        ("bf16", 8, False, True),
        ("tf32", 4, False, False),
    ]
    for precision, batch, checkpointing, compiling in cases[:1] + cases[3:5] if part.small else cases:
        columns = {"precision": precision, "batch": batch, "checkpointing": checkpointing, "compiled": compiling}
        given = part.attempt(
            "Training step, 256×6, 3 s of stereo",
            partial(step, part, precision, batch, checkpointing, compiling, rates[precision]),
            COMPILING if compiling and not part.small else 0.0,
            **columns,
        )
        part.clear()
        shares.append(float(str(given.get("share", 0.0))))
    part.goal("training with 256×6: share of the matrix rate", max(shares), 0.35, at_least=True)
    part.attempt("What fits into 8 GB", partial(fitting, part), batch=1, precision="bf16", checkpointing=True)


def sizes(part: Part) -> tuple[tuple[int, int], float]:
    """Width and blocks of the network, and seconds of its clips."""
    return ((16, 1), 0.1) if part.small else ((256, 6), 3.0)


def step(
    part: Part, precision: str, batch: int, checkpointing: bool, compiling: bool, rate: float
) -> dict[str, object]:
    """Time steps, part by part."""
    set_precision(precision)
    size, seconds = sizes(part)
    one = Step(size, part.device, "bfloat16" if precision == "bf16" else "float32", compiling)
    one.generator.checkpointing = checkpointing
    original, degraded = (0.1 * torch.randn(batch, 2, round(seconds * 44100), device=part.device) for _ in range(2))
    # Counted on a twin that is not compiled: what is compiled is no longer made of operations that can be counted.
    twin = Step(size, part.device, "bfloat16" if precision == "bf16" else "float32")
    with FloatingPoint() as counted:
        twin.run(original[:1], degraded[:1])
    del twin
    cuda = part.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    try:
        took = part.seconds_of(lambda: one.run(original, degraded), for_seconds=2.0)
    except torch.OutOfMemoryError:
        raise LeftOutError("more than this GPU's memory") from None
    parts = {f"{name} ms": 1000 * spent for name, spent in one.seconds.items()}
    work = counted.operations * batch
    memory = torch.cuda.max_memory_allocated() / 1e9 if cuda else None
    speeds = {"ms": 1000 * took, "clips/s": batch / took, "TFLOP/s": work / took / 1e12, "share": work / took / rate}
    return {**speeds, **parts, "peak GB": memory}


def fitting(part: Part) -> dict[str, object]:
    """Take steps with an allocator that gives no more than a small card has."""
    set_precision("bf16")
    size, seconds = sizes(part)
    if part.device.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(part.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, CAP / total))
    try:
        one = Step(size, part.device, "bfloat16")
        one.generator.checkpointing = True
        clips = [0.1 * torch.randn(1, 2, round(seconds * 44100), device=part.device) for _ in range(2)]
        for _ in range(2):
            one.run(*clips)
    finally:
        if part.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    return {"fits": True}


if __name__ == "__main__":
    main()
