"""The two networks that are measured, and the ways of running them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from part import Part, autocast
from torch import Tensor

from apollo.checkpoints import load_model
from apollo.nn import Apollo

Run = Callable[[Tensor], Tensor]


def networks(part: Part) -> dict[str, Apollo]:
    """The default model and the published size, or tiny ones that stand for them."""
    if part.small:
        tiny = Apollo(win=40, feature_dim=16, layer=1, output="residual", expansion=2, heads=4, dilations=(1, 2))
        for parameter in tiny.parameters():  # so that it changes something
            parameter.data += 0.02 * torch.randn_like(parameter)
        found = {"default": tiny, "256x6": Apollo(feature_dim=32, layer=1)}
    else:
        found = {"default": load_model("default"), "256x6": Apollo()}
    return {name: model.to(part.device).eval() for name, model in found.items()}


def eager(model: Apollo, dtype: torch.dtype) -> Run:
    """The network as it is."""

    def run(waveform: Tensor) -> Tensor:
        with torch.no_grad(), autocast(waveform.device, dtype):
            restored: Tensor = model(waveform)
            return restored

    return run


def compiled(model: Apollo, dtype: torch.dtype) -> Run:
    """A copy with compiled blocks, for one length."""
    torch.compiler.reset()
    twin = copy.deepcopy(model)
    twin.compile_blocks(dynamic=False)
    return eager(twin, dtype)


def graphed(model: Apollo, dtype: torch.dtype) -> Run:
    """What lies between the transforms as a CUDA graph, captured at the first call for the shape of its waveform.

    The inverse transform asks the GPU whether its windows overlap as they must, which no graph can do.
    """
    taken = given = graph = None

    def run(waveform: Tensor) -> Tensor:
        nonlocal taken, given, graph
        with torch.no_grad(), autocast(waveform.device, dtype):
            spectrum = model.stft(waveform.flatten(0, 1))
            if graph is None:
                taken = spectrum.clone()
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(2):
                        model.restore_spectrum(taken)
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    given = model.restore_spectrum(taken)
            assert taken is not None
            assert given is not None
            taken.copy_(spectrum)
            graph.replay()
            return model.istft(given, waveform.shape[-1]).view_as(waveform)

    return run


def compiled_and_graphed(model: Apollo, dtype: torch.dtype) -> Run:
    """Both."""
    torch.compiler.reset()
    twin = copy.deepcopy(model)
    twin.compile_blocks(dynamic=False)
    return graphed(twin, dtype)


WAYS = {"eager": eager, "graph": graphed, "compiled": compiled, "compiled, graph": compiled_and_graphed}


def ways(part: Part) -> dict[str, Callable[[Apollo, torch.dtype], Run]]:
    """The ways that a device has."""
    return {name: way for name, way in WAYS.items() if part.device.type == "cuda" or "graph" not in name}
