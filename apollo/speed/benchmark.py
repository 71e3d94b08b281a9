"""How fast a model restores, in what memory, and how far from what the machine's matrix products would allow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from apollo import __version__
from apollo.checkpoints.loading import located, read_model
from apollo.errors import ApolloError
from apollo.machine import Machine
from apollo.nn import Apollo
from apollo.nn.memory import is_out_of_memory
from apollo.restoration import Restorer, choose_device
from apollo.restoration.engine import PRECISIONS, require_precision
from apollo.speed.measuring import MatrixProduct, PeakMemory, seconds_of

RUNS = 3
CHUNKS = (20.0, 5.0)
BATCHES = (1, 4)
PAPER_MILLISECONDS = 206.23  # Li & Luo, arXiv 2409.08514: "GPU time for 1 s" of Apollo, 16.54 M parameters

Kind = Literal["chunks", "clips", "paper"]


@dataclass(frozen=True)
class Measurement:
    """The time and memory of one way to run a model."""

    # `"chunks"` is a stereo file of any length through `Restorer`, each chunk with its context; `"clips"` a batch of
    # stereo clips through the network; `"paper"` a second of mono through the network.
    kind: Kind
    precision: str  # `"32"`, or `"bf16"` or `"16"` for mixed precision
    audio_seconds: float  # length of a chunk or clip
    batch: int  # clips at once
    seconds: float  # what a chunk or batch took, median of three
    floor_seconds: float  # what the network's matrix products alone would take at `matrix_rate`
    # Floating-point operations a second of a large matrix product in this precision, measured between the three runs.
    matrix_rate: float
    # Most bytes that the runs held beyond the weights and what was held before; None where this cannot be measured.
    memory: int | None

    @property
    def real_time(self) -> float:
        """Seconds of audio restored in a second."""
        return self.batch * self.audio_seconds / self.seconds

    @property
    def times_floor(self) -> float:
        """How many times as long as its matrix products the network takes."""
        return self.seconds / self.floor_seconds


@dataclass(frozen=True)
class Benchmark:
    """The measurements of one model."""

    model: str  # its path or name
    parameters: int
    flops: float  # floating-point operations per second of stereo audio; see `flops_per_second`
    file_bytes: int  # size of the model file
    measurements: list[Measurement]  # every way it was run


def benchmark(
    models: Sequence[str],
    device: str = "cpu",
    precisions: Sequence[str] | None = None,
    chunks: Sequence[float] = CHUNKS,
    batches: Sequence[int] = BATCHES,
    clip_seconds: float = 2.0,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> list[Benchmark]:
    """Measure models on noise, on which they work as hard as on music.

    Of precision, chunk and batch one is varied at a time, the others staying at the first of their values.

    Args:
        models: Paths or names, as `apollo.load_model` takes them.
        device: Where to compute (`"cpu"`, `"cuda"`, `"mps"` or `"auto"`).
        precisions: Keys of `PRECISIONS`; by default all that the device has.
        chunks: Seconds that `Restorer` adds at once, from 1 to 3600.
        batches: Numbers of clips that the network is given at once.
        clip_seconds: Length of these clips.
        progress: Told how many measurements are done, of how many, and what is measured next.

    Raises:
        ApolloError: If the device is missing or lacks the precision, or there is not enough memory.
        ModelFileError: If a model cannot be loaded.
    """
    place = choose_device(device)
    for precision in precisions or ():
        require_precision(precision, place)
    # All that the device has; without doubles.
    precisions = list(dict.fromkeys(precisions or (p for p in PRECISIONS if p != "16" or place.type != "cpu")))
    for batch in batches:
        if batch < 1:
            raise ApolloError(f"a batch must hold at least 1 clip, not {batch}")
    ways: list[tuple[Kind, str, float, int]] = [
        *(("chunks", precisions[0], chunk, 1) for chunk in dict.fromkeys(chunks)),
        *(("chunks", precision, chunk, 1) for precision in precisions[1:] for chunk in chunks[:1]),
        *(("clips", precisions[0], clip_seconds, batch) for batch in dict.fromkeys(batches)),
        ("paper", precisions[0], 1.0, 1),
    ]
    names = list(dict.fromkeys(models))
    files = [read_file(name) for name in names]
    # Whatever is refused is refused before anything is measured.
    for chunk in chunks:
        Restorer(files[0][0], chunk)
    products = {precision: MatrixProduct(place, PRECISIONS[precision]) for precision in precisions}
    results = []
    for index, (name, (network, file_bytes)) in enumerate(zip(names, files, strict=True)):
        flops = flops_per_second(network)
        network.to(place)
        measurements = []
        for number, (kind, precision, seconds, batch) in enumerate(ways):
            what = f"{Path(name).name}, {label(kind, seconds, batch)}, precision {precision}"
            progress(index * len(ways) + number, len(names) * len(ways), what)
            if kind == "chunks":
                restorer = Restorer(network, seconds, precision=precision)
                seconds = restorer.chunk_frames * network.hop_length / network.sample_rate
                prepare = chunk_by_chunk(restorer)
            else:
                channels = 1 if kind == "paper" else 2
                prepare = through_network(network, batch, channels, seconds, PRECISIONS[precision])
            try:
                took, rate, memory = measure(prepare, network, products[precision])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                raise ApolloError(f"not enough memory for {what}: choose smaller chunks or batches") from None
            floor = flops * batch * seconds / rate / (2 if kind == "paper" else 1)
            measurements.append(Measurement(kind, precision, seconds, batch, took, floor, rate, memory))
        network.to("cpu")
        results.append(Benchmark(name, sum(p.numel() for p in network.parameters()), flops, file_bytes, measurements))
    return results


def label(kind: Kind, seconds: float, batch: int) -> str:
    """Name what is measured, in at most 16 characters for usual sizes."""
    if kind == "chunks":
        return f"chunks of {round(seconds, 2):g} s"
    return "1 s mono (paper)" if kind == "paper" else f"batch of {batch} × {seconds:g} s"


def read_file(name: str) -> tuple[Apollo, int]:
    """The network of a model file, and the file's size in bytes."""
    with located(name) as path:
        return read_model(path)[0], path.stat().st_size


def flops_per_second(model: Apollo) -> float:
    """Floating-point operations that a second of stereo audio takes, a multiply-add counted as two.

    Counted are matrix products and convolutions, the two products of attention among them, in a network on the CPU;
    not the Fourier transforms and what is done number by number.
    """
    # Every frame costs the same, so a few tell, as long as no dilation needs to fill them up.
    frames = math.lcm(*model.config["dilations"])
    spectrum = torch.zeros(1, frames, model.n_fft // 2 + 1, 2, dtype=model.spectrum_dtype)
    # With gradients, because the attention kernel that a CPU uses without them is not counted.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        model.restore_spectrum(spectrum)
    return float(2 * counter.get_total_flops() / frames * model.sample_rate / model.hop_length)


def chunk_by_chunk(restorer: Restorer) -> Callable[[], Callable[[], Tensor]]:
    """Prepare to restore one chunk after the other of a stereo file without end, the first one as a warm-up."""
    length = restorer.chunk_frames * restorer.model.hop_length
    noise = 0.1 * torch.randn(2, length + restorer.model.context_frames * restorer.model.hop_length)

    def prepare() -> Callable[[], Tensor]:
        stream = restorer.stream([1.0, 1.0])
        stream.push(noise)
        return lambda: stream.push(noise[:, :length])

    return prepare


def through_network(
    model: Apollo, batch: int, channels: int, seconds: float, dtype: torch.dtype
) -> Callable[[], Callable[[], Tensor]]:
    """Prepare to run the network on clips on its own device, with one run as a warm-up."""
    device = next(model.parameters()).device
    noise = 0.1 * torch.randn(batch, channels, round(seconds * model.sample_rate), device=device)

    def run() -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return model(noise)  # type: ignore[no-any-return]

    def prepare() -> Callable[[], Tensor]:
        run()
        return run

    return prepare


def measure(
    prepare: Callable[[], Callable[[], object]], model: Apollo, products: MatrixProduct
) -> tuple[float, float, int | None]:
    """Measure what `prepare` returns after a warm-up, beside matrix products on the same device in the same precision.

    Gives the median seconds of three runs, the median rate of matrix products between them, and peak memory.
    """
    device, times, rates = products.device, [], []
    # Kernels that are loaded at their first use are no memory that the audio needs.
    through_network(model, 1, 1, 0.5, products.dtype)()
    memory = PeakMemory(device)
    run = memory.during(prepare)
    for _ in range(RUNS):
        times.append(memory.during(lambda: seconds_of(run, device)))
        rates.append(products.rate())
    return statistics.median(times), statistics.median(rates), memory.peak


def as_json(results: Sequence[Benchmark], machine: Machine) -> dict[str, Any]:
    """All that was measured, times in seconds and sizes in bytes."""
    models: list[dict[str, Any]] = [asdict(result) for result in results]
    for model, result in zip(models, results, strict=True):
        for row, measurement in zip(model["measurements"], result.measurements, strict=True):
            row.update(real_time=measurement.real_time, times_floor=measurement.times_floor)
    return {"apollo": __version__, "machine": asdict(machine), "models": models}
