"""One ONNX file gives the network's samples for any length, batch and number of channels."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apollo.checkpoints import load_model, save_model
from apollo.checkpoints.exporting import export_paper
from apollo.cli import main
from apollo.nn import Apollo

pytestmark = pytest.mark.slow


def residual(**options: Any) -> Apollo:
    """The default model's architecture, smaller, with weights that do something; its window has an odd length."""
    torch.manual_seed(0)
    model = Apollo(
        44100, 40.03, 16, 1, output="residual", expansion=2, heads=4, kernel_size=5, dilations=(1, 2), **options
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert model.n_fft % 2 == 1
    return model.eval()


@pytest.mark.parametrize("kind", ["direct", "filling"])
def test_onnx_file_gives_the_samples_of_the_network(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx, onnxruntime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    pytest.importorskip("onnxscript")
    source, target = tmp_path / "model.safetensors", tmp_path / "model.onnx"
    if kind == "direct":
        torch.manual_seed(0)
        source = tmp_path / "pytorch_model.bin"  # as it is published: it names no licence
        export_paper(Apollo(feature_dim=16, layer=1).eval(), source)
    else:
        save_model(residual(fill={"channels": 8, "dilations": [1, 4]}), source, licence="CC0-1.0")
    monkeypatch.setattr(sys, "argv", ["apollo", "export", "onnx", "-m", str(source), "-o", str(target)])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    said = capsys.readouterr().out
    assert "opset 18" in said
    assert re.search(r"onnxruntime [\d.]+ × real time, PyTorch [\d.]+ ×", said)

    graph = onnx.load(target)
    onnx.checker.check_model(graph)
    assert [(opset.domain, opset.version) for opset in graph.opset_import] == [("", 18)]
    model = load_model(source)
    metadata = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(metadata["config"]) == model.config
    assert metadata["licence"] == ("unknown" if kind == "direct" else "CC0-1.0")

    session = onnxruntime.InferenceSession(target)
    assert [found.name for found in session.get_inputs()] == ["waveform", "fill"][: 2 if kind == "filling" else 1]
    share = {"fill": np.array(0.3, np.float32)} if kind == "filling" else {}
    hop = model.hop_length
    # The command has compared 1 s and 10 s of mono before it wrote the file.
    for shape in [(1, 2, 44100 + 17), (3, 1, 2 * hop), (2, 2, 2 * hop + 1), (1, 1, hop - 1), (1, 3, 1)]:
        waveform = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))
        (restored,) = session.run(None, {"waveform": waveform.numpy(), **share})
        with torch.inference_mode():
            expected = model(waveform, 0.3)
        assert restored.shape == shape
        assert (torch.from_numpy(restored) - expected).abs().max() <= 1e-4 * expected.abs().max(), shape


def test_onnxruntime_reports_nothing_to_its_makers(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    pytest.importorskip("onnxruntime")
    program = """
import sys
from contextlib import suppress
from pathlib import Path
from apollo.checkpoints.onnx import compare
with suppress(Exception):
    compare(None, Path("missing.onnx"))
print("onnxruntime" in sys.modules)
"""
    result = run_python("-c", program, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.stdout == "True\n"
    assert list(tmp_path.iterdir()) == []  # its telemetry keeps a file there
