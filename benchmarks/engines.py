"""What the ways of running a network on a CPU take beside PyTorch as it is, and how far their samples are from it.

    OMP_NUM_THREADS=1 python benchmarks/engines.py [--networks default 256x6] [--rounds 7]

Each engine restores the same music, a stereo clip channel by channel as `Restorer` does, once a round. Seconds are of
the processor, which other programs on the machine change least; give one thread, as those that wait take time too.
`speed` is the median over the rounds of the seconds that PyTorch takes, uncompiled and in float32, over those of the
engine; `SNR` is of the engine's samples against PyTorch's. The rows of onnxruntime need the extra `export`, those of
OpenVINO `pip install openvino`.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from apollo import Apollo, load_model
from apollo.checkpoints.onnx import export_onnx
from apollo.nn.memory import keep_freed_memory
from apollo.restoration.compiling import compiled_for

Engine = Callable[[Tensor], Tensor]
SECONDS = {"default": 10.0, "256x6": 2.0}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(SECONDS), choices=list(SECONDS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as `apollo restore` does
    print(f"{options.threads} threads, torch {torch.__version__}, {options.rounds} rounds")
    print("| network | engine | CPU s per s of stereo | speed | SNR in dB |\n|---|---|---|---|---|")
    for name in options.networks:
        torch.manual_seed(0)
        model = load_model("default") if name == "default" else Apollo().eval()
        clip = notes(SECONDS[name])[:, None]
        engines: dict[str, Engine] = {}
        for title, make in ENGINES.items():
            try:
                engines[title] = make(copy.deepcopy(model))
                restored(engines[title], clip)
            except Exception as error:
                engines.pop(title, None)
                print(f"| {name} | {title} | {type(error).__name__}: {str(error).splitlines()[0][:100]} | | |")
        seconds: dict[str, list[float]] = {title: [] for title in engines}
        outputs = {}
        for _ in range(options.rounds):
            for title, engine in engines.items():
                began = time.process_time()
                outputs[title] = restored(engine, clip)
                seconds[title].append(time.process_time() - began)
        plain, truth = next(iter(seconds.values())), next(iter(outputs.values()))
        for title, taken in seconds.items():
            speed = statistics.median(one / other for one, other in zip(plain, taken, strict=True))
            noise = (outputs[title] - truth).square().sum() + 1e-20 * truth.square().sum()
            snr = float(10 * torch.log10(truth.square().sum() / noise))
            each = statistics.median(taken) / SECONDS[name]
            print(
                f"| {name} | {title} | {each:.3f} | {speed:.2f} | {'' if taken is plain else f'{snr:.0f}'} |",
                flush=True,
            )


def notes(seconds: float) -> Tensor:
    """Decaying notes and soft noise below 16 kHz, as from MP3 at 128 kbit/s; `(2, samples)` at 44.1 kHz, peak 1."""
    random = torch.Generator().manual_seed(0)
    time_axis = torch.arange(22050) / 44100
    waveform = 0.002 * torch.randn(2, round(seconds * 44100), generator=random)
    for onset in range(0, waveform.shape[1], 8820):
        pitch = 110 * 2 ** (float(torch.randint(0, 36, (), generator=random)) / 12)
        harmonics = sum(torch.sin(2 * torch.pi * pitch * k * time_axis) / k for k in range(1, 12))
        place = waveform[:, onset : onset + 22050]
        place += torch.rand(2, 1, generator=random) * (torch.exp(-6 * time_axis) * harmonics)[: place.shape[1]]
    spectrum = torch.fft.rfft(waveform)
    spectrum[:, round(16000 * seconds) :] = 0
    waveform = torch.fft.irfft(spectrum, waveform.shape[1])
    return waveform / waveform.abs().max()


def restored(engine: Engine, clip: Tensor) -> Tensor:
    """The clip, one channel after the other."""
    with torch.no_grad():
        return torch.cat([engine(channel[None]) for channel in clip])


def in_bfloat16(network: Engine) -> Engine:
    """The same in mixed precision."""

    def run(waveform: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(waveform)

    return run


def compiled(model: Apollo) -> Engine:
    """As `apollo restore --compile on` does."""
    model.compile_blocks(dynamic=False)

    def run(waveform: Tensor) -> Tensor:
        with compiled_for(True, torch.device("cpu")):
            result: Tensor = model(waveform)
            return result

    return run


class Int8Linear(nn.Module):
    """A linear layer in int8: weights have a scale per output, inputs one per row, or one that is found beforehand.

    Either way, a row does not depend on the rows beside it, so chunks give the samples of the whole.
    """

    def __init__(self, layer: nn.Linear, fixed: bool) -> None:
        super().__init__()
        self.layer, self.fixed = layer, fixed
        self.searching = fixed  # for the range of the inputs, while computing in float32
        self.low = self.high = 0.0
        weight = layer.weight.detach()
        self.scale = weight.abs().amax(1) / 127
        self.zero_points = torch.zeros(len(weight), dtype=torch.int64)
        self.weight = torch.ops.onednn.qlinear_prepack((weight / self.scale[:, None]).round().to(torch.int8), None)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer; `(..., inputs)` → `(..., outputs)`."""
        if self.searching:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
            result: Tensor = self.layer(x)
            return result
        rows = x.reshape(-1, x.shape[-1])
        if self.fixed:
            step = (self.high - self.low) / 255
            zero = round(-self.low / step)
            codes = torch.quantize_per_tensor(rows, step, zero, torch.quint8).int_repr()
            product = self.product(codes, step, zero, self.layer.bias)
        else:
            steps = torch.linalg.vector_norm(rows, torch.inf, dim=1, keepdim=True).clamp(min=1e-12) / 127
            codes = torch.addcmul(torch.tensor(128.0), rows, 1 / steps).round_().to(torch.uint8)
            product = self.product(codes, 1.0, 128, None) * steps
            if self.layer.bias is not None:
                product += self.layer.bias
        return product.view(*x.shape[:-1], -1)

    def product(self, codes: Tensor, step: float, zero: int, bias: Tensor | None) -> Tensor:
        """In int8, given in float32."""
        weights = (self.weight, self.scale, self.zero_points)
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, step, zero, *weights, bias, 1.0, 0, torch.float32, "none", [], ""
        )
        return result


def in_int8(model: Apollo, fixed: bool) -> Engine:
    """The network with its linear layers in int8; fixed scales suit the first waveform, which is the best case."""
    layers = []
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                layers.append(Int8Linear(child, fixed))
                setattr(module, name, layers[-1])

    def run(waveform: Tensor) -> Tensor:
        result: Tensor = model(waveform)
        for layer in layers:
            layer.searching = False
        return result

    return run


def quantised(model: Apollo) -> Engine:
    """Linear layers in int8, their inputs' scale found anew at each call, so that samples depend on the chunk."""
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)


def onnxruntime(model: Apollo, quantise: bool = False) -> Engine:
    """The exported graph in onnxruntime, its products in int8 where asked."""
    import onnxruntime as runtime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path)
        if quantise:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(path, path, op_types_to_quantize=["MatMul", "Gemm"])
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return lambda waveform: torch.from_numpy(
        session.run(None, inputs(waveform, [taken.name for taken in session.get_inputs()]))[0]
    )


def inputs(waveform: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """What an exported graph takes: the waveform, and of a network that fills in what is lost, how much of that."""
    given = {"waveform": waveform.numpy(), "fill": np.ones((), np.float32)}
    return {name: given[name] for name in names}


def openvino(model: Apollo, precision: str) -> Engine:
    """The exported graph in OpenVINO."""
    import openvino as runtime

    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "model.onnx")
        network = runtime.Core().compile_model(Path(folder) / "model.onnx", "CPU", settings)
    return lambda waveform: torch.from_numpy(
        network(inputs(waveform, [taken.any_name for taken in network.inputs]))[0].copy()
    )


ENGINES: dict[str, Callable[[Apollo], Engine]] = {
    "PyTorch": lambda model: model,
    "PyTorch, bfloat16": in_bfloat16,
    "torch.compile": compiled,
    "torch.compile, bfloat16": lambda model: in_bfloat16(compiled(model)),
    "linear layers in int8, a scale per call": quantised,
    "linear layers in int8, a scale per frame": lambda model: in_int8(model, fixed=False),
    "linear layers in int8, a fixed scale": lambda model: in_int8(model, fixed=True),
    "onnxruntime": onnxruntime,
    "onnxruntime, products in int8": lambda model: onnxruntime(model, quantise=True),
    "OpenVINO": lambda model: openvino(model, "f32"),
    "OpenVINO, bfloat16": lambda model: openvino(model, "bf16"),
}

if __name__ == "__main__":
    main()
