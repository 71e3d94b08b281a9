"""`apollo export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apollo.atomic import make_folder, refuse_existing
from apollo.cli.options import Model, Overwrite
from apollo.cli.terminal import SETTINGS, note, require, say
from apollo.errors import ApolloError
from apollo.storage import here

if TYPE_CHECKING:
    from apollo.nn import Apollo

app = typer.Typer(help="Write a model in a format for other tools.", **SETTINGS)

Target = Annotated[Path, typer.Option("-o", "--output", parser=here, metavar="FILE", help="The file to write.")]
Config = Annotated[
    Path | None,
    typer.Option("-c", "--config", parser=here, metavar="CONFIG", help="YAML of its training; it must match MODEL."),
]
Licence = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Licence of the weights [default: what MODEL states, or unknown]")
]


@app.command(epilog="Example: apollo export safetensors -m last.ckpt -o model.safetensors --licence CC-BY-4.0")
def safetensors(
    model: Model,
    output: Target,
    config: Config = None,
    licence: Licence = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store half precision: half the size.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write only the weights, in a format that is safe to read."""
    spare(overwrite, output)
    import torch

    from apollo.checkpoints import save_model
    from apollo.checkpoints.exporting import read_for_export

    network, metadata = read_for_export(model, config)
    texts = {name: text for name, text in metadata.items() if name in ("description", "trained_on")}
    dtype = torch.float16 if fp16 else torch.float32
    make_folder(output.parent)
    save_model(network, output, licence or metadata.get("licence", "unknown"), dtype, overwrite, **texts)
    say(f"{output}: {described(network)}")


@app.command(epilog="Example: apollo export paper -m model.safetensors -o pytorch_model.bin")
def paper(model: Model, output: Target, config: Config = None, overwrite: Overwrite = False) -> None:
    """Write a file for the paper's own code."""
    spare(overwrite, output)
    from apollo.checkpoints.exporting import export_paper, read_for_export

    network, _ = read_for_export(model, config)
    export_paper(network, output, overwrite)
    say(f"{output}: {described(network)}")


@app.command(epilog="Example: apollo export msst -c configs/apollo.yaml -m last.ckpt -o msst/")
def msst(
    model: Model,
    config: Config = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", parser=here, metavar="FOLDER", help="Folder for both files.")
    ] = Path("output"),
    overwrite: Overwrite = False,
) -> None:
    """Write weights and YAML for MSST, which is Music-Source-Separation-Training."""
    from apollo.checkpoints.exporting import export_msst, msst_names, read_for_export

    checkpoint = Path(model).name
    spare(overwrite, *(output / name for name in msst_names(checkpoint)))
    network, _ = read_for_export(model, config)
    for path in export_msst(network, output, checkpoint, overwrite):
        say(path)


@app.command(epilog="Example: apollo export onnx -m model.safetensors -o model.onnx")
def onnx(
    model: Model, output: Target, config: Config = None, licence: Licence = None, overwrite: Overwrite = False
) -> None:
    """Write an ONNX graph from waveform to waveform, of any length, checked against PyTorch."""
    require("export", "onnx", "onnxruntime", "onnxscript")
    spare(overwrite, output)
    from apollo.checkpoints.exporting import read_for_export
    from apollo.checkpoints.onnx import OPSET, export_onnx

    network, metadata = read_for_export(model, config)
    make_folder(output.parent)
    note("tracing the network, which takes a minute or two", error=True)
    result = export_onnx(network, output, licence or metadata.get("licence", "unknown"), overwrite)
    say(
        f"{output}: {described(network)}, opset {OPSET}",
        f"differs from PyTorch by {result.difference:.1e} of the peak; onnxruntime {result.runtime_speed:.3g} × real "
        f"time, PyTorch {result.torch_speed:.3g} ×, on 10 s of mono",
    )


def spare(overwrite: bool, *paths: Path) -> None:
    """Refuse to replace files unasked."""
    for path in paths:
        if path.is_dir():
            raise ApolloError(f"{path} is a folder: give a file with -o")
        if not overwrite:
            refuse_existing(path)


def described(network: Apollo) -> str:
    """Say in a few words which network it is."""
    return f"{network.size}, {network.sample_rate} Hz, {network.config['win']} ms"
