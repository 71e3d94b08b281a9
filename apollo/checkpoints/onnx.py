"""From a network to an ONNX file, for programs that have no PyTorch: a waveform in, a waveform out.

ONNX runtimes agree on convolutions more than on Fourier transforms, so those are convolutions here: frequency `k` of a
frame is its product with `window · exp(−2πi k t / n_fft)`, and the inverse is the same kernel transposed, with the
frequencies that stand for their mirror image too taken twice.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from apollo.atomic import replacing, unwritable
from apollo.errors import ModelFileError
from apollo.foreign import silenced
from apollo.nn import Apollo

OPSET = 18
TOLERANCE = 1e-4  # of the peak
CHECKED_SECONDS = (1, 10)
SHARE = 0.7  # of the fill, where there is one: any but 1, which an ignored input would give


@dataclass(frozen=True)
class Comparison:
    """An ONNX file in onnxruntime beside the network in PyTorch, on the CPU with as many threads."""

    difference: float  # largest difference between their samples, over the peak
    runtime_speed: float  # seconds of mono audio that onnxruntime restores in a second
    torch_speed: float  # the same for PyTorch


class WaveformGraph(nn.Module):
    """The network with transforms that every ONNX runtime has; `(batch, channels, samples)` → same, as `Apollo` does.

    The network must be in float32 on the CPU. One with a fill takes its share as a second input, a scalar.
    """

    kernel: Tensor
    inverse: Tensor
    power: Tensor

    def __init__(self, network: Apollo) -> None:
        super().__init__()
        self.network = network
        n_fft = network.n_fft
        window = network.window.double()
        frequencies = torch.arange(n_fft // 2 + 1)
        angles = torch.outer(frequencies, torch.arange(n_fft)).remainder(n_fft).double() * (2 * math.pi / n_fft)
        kernel = torch.cat((angles.cos() * window, -angles.sin() * window))
        mirrored = torch.where((frequencies > 0) & (2 * frequencies < n_fft), 2, 1).double() / n_fft
        self.register_buffer("kernel", kernel.float().unsqueeze(1))  # (2 * bins, 1, n_fft)
        self.register_buffer("inverse", mirrored.float().repeat(2).unsqueeze(-1))  # (2 * bins, 1)
        self.register_buffer("power", window.square().float().view(1, 1, -1))

    def forward(self, waveform: Tensor, fill: Tensor | None = None) -> Tensor:
        """Restore `(batch, channels, samples)`."""
        batch, channels, samples = waveform.shape
        spectrum = self.stft(waveform.reshape(batch * channels, samples))
        estimate = self.network.restore_spectrum(spectrum, 1.0 if fill is None else fill)
        return self.istft(estimate, samples).reshape(batch, channels, samples)

    def stft(self, waveform: Tensor) -> Tensor:
        """As `Apollo.stft`, with the ends reflected by choosing samples, so that no branch depends on the length."""
        n_fft, hop = self.network.n_fft, self.network.hop_length
        shortest = 2 * hop + n_fft % 2
        length: int = torch.sym_max(waveform.shape[-1], shortest)  # type: ignore[no-untyped-call]
        last = (length + hop - 1) // hop * hop + 2 * (n_fft // 2)
        position = (torch.arange(last) - n_fft // 2).abs()
        position = (length - 1) - (length - 1 - position).abs()
        padded = F.pad(waveform, (0, shortest))[:, position]
        spectrum = F.conv1d(padded.unsqueeze(1), self.kernel, stride=hop)
        return torch.stack(spectrum.transpose(1, 2).chunk(2, dim=-1), dim=-1)

    def istft(self, spectrum: Tensor, samples: int) -> Tensor:
        """As `Apollo.istft`: overlapping frames add up, and so do their windows, by which the sum is divided."""
        hop, left = self.network.hop_length, self.network.n_fft // 2
        frames = torch.cat(spectrum.unbind(-1), dim=-1).transpose(1, 2) * self.inverse
        waveform = F.conv_transpose1d(frames, self.kernel, stride=hop)
        envelope = F.conv_transpose1d(torch.ones_like(frames[:1, :1]), self.power, stride=hop)
        return (waveform / envelope)[:, 0, left : left + samples]


def export_onnx(model: Apollo, path: Path, licence: str = "unknown", overwrite: bool = True) -> Comparison:
    """Write an ONNX file and compare it with the network.

    The graph takes `waveform` and gives `restored`, both `(batch, channels, samples)` in float32 of any size. That of a
    network with a fill also takes `fill`, a scalar from 0 to 1. Options of the network and licence are in the metadata.

    Args:
        model: The network.
        path: The file, usually `*.onnx`.
        licence: Licence of the weights.
        overwrite: Whether an existing file is replaced.

    Raises:
        ModelFileError: If the file cannot be written, or does not give the network's samples.
    """
    model = model.cpu().eval()
    graph = WaveformGraph(model).eval()
    # Sizes are traced as symbols only where they are not 1.
    inputs = {"waveform": torch.zeros(2, 3, model.sample_rate)}
    shapes: list[dict[int, str]] = [{0: "batch", 1: "channels", 2: "samples"}]
    if model.fill is not None:
        inputs["fill"] = torch.tensor(1.0)
        shapes.append({})
    with silenced("torch.onnx"), torch.no_grad():
        program = torch.onnx.export(
            graph,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["restored"],
            dynamic_shapes=tuple(shapes),
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(config=json.dumps(model.config), licence=licence)
    try:
        with replacing(path, overwrite) as temporary:
            program.save(temporary, external_data=False)
            comparison = compare(model, temporary)
            if not comparison.difference <= TOLERANCE:
                raise ModelFileError(
                    f"{path} was not written: its samples would differ by {comparison.difference:.1e} of the peak"
                )
    except OSError as error:
        raise ModelFileError(unwritable(path, error)) from None
    return comparison


def compare(model: Apollo, path: Path) -> Comparison:
    """Restore noise of several lengths with an ONNX file and with the network, and time the longest."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else what onnxruntime does is reported to its makers
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    share = {} if model.fill is None else {"fill": np.array(SHARE, np.float32)}
    difference, taken = 0.0, (1.0, 1.0)
    for seconds in CHECKED_SECONDS:
        noise = 0.1 * torch.randn(1, 1, seconds * model.sample_rate, generator=generator)
        began = time.perf_counter()
        with torch.inference_mode():
            expected = model(noise, SHARE)
        between = time.perf_counter()
        (restored,) = session.run(None, {"waveform": noise.numpy(), **share})
        taken = (time.perf_counter() - between, between - began)
        peak = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
        difference = max(difference, float((torch.from_numpy(restored) - expected).abs().max() / peak))
    return Comparison(difference, CHECKED_SECONDS[-1] / taken[0], CHECKED_SECONDS[-1] / taken[1])
