"""From any model file to those that other tools read: the paper's code and Music-Source-Separation-Training (MSST)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from apollo.atomic import ExistsError, replacing, unwritable
from apollo.checkpoints.loading import OPTIONS, located, read_model
from apollo.checkpoints.published import to_published
from apollo.errors import ConfigError, ModelFileError, nearest
from apollo.nn import Apollo
from apollo.yaml_file import parsing, read_yaml

# How Lightning names its checkpoints, which MSST's users expect to find again in the names of what is made of them.
NAMED_BY_SCORE = re.compile(r"epoch=(\d+)-val_loss=(-?\d+(?:\.\d+)?)\.ckpt")


def read_for_export(path_or_name: str | Path, config: Path | None = None) -> tuple[Apollo, dict[str, str]]:
    """Read a model, as `load_model` does, and the text metadata of its file, to write it in another format.

    The block `model` of the YAML file `config` describes the network; what weights do not tell, such as the sample
    rate, is taken from there, and everything must agree. Raises ModelFileError as `load_model` does
    or if the configuration is another model's, and ConfigError if the configuration cannot be read.
    """
    options = model_options(config) if config is not None else {}
    with located(path_or_name) as path:
        try:
            return read_model(path, options)
        except ModelFileError as error:
            if options:
                read_model(path)  # a file that is at fault itself says so here
                raise ModelFileError(f"{config} does not describe this model: {error}") from None
            raise


def model_options(config: Path) -> dict[str, Any]:
    """Read the constructor options in the block `model` of a YAML file, of ours or MSST's.

    Raises ConfigError if there is no such file or block, or it has a key that no model has.
    """
    with parsing(config):
        block = yaml.safe_load(read_yaml(config)).get("model")
    if not isinstance(block, dict):
        raise ConfigError(f"{config} has no block 'model' with the options of the network")
    options = {str(name): value for name, value in block.items() if name != "_target_"}
    for name in options:
        if name not in OPTIONS:
            raise ConfigError(f"model.{name} in {config} is not known: {nearest(name, OPTIONS)}")
    return options


def export_paper(model: Apollo, path: Path, overwrite: bool = True) -> None:
    """Write the file that the paper's code reads, as on the Hugging Face hub.

    Raises:
        ModelFileError: If the published network cannot hold this model, or the file cannot be written.
    """
    try:
        lightning = version("lightning")
    except PackageNotFoundError:
        lightning = ""
    versions = {"torch_version": str(torch.__version__), "pytorch_lightning_version": lightning}
    content = {
        "model_name": "Apollo",
        "state_dict": to_published(model),
        "model_args": {"n_sample_rate": 2},  # what every such file has, whatever the network
        "infos": {"software_versions": versions},
    }
    write_whole({path: torch_file(content)}, overwrite)


def export_msst(model: Apollo, folder: Path, checkpoint: str = "", overwrite: bool = True) -> tuple[Path, Path]:
    """Write the two files that MSST reads, weights and YAML.

    Args:
        model: The network.
        folder: A folder, which is made if it is missing.
        checkpoint: As for `msst_names`.
        overwrite: Whether existing files are replaced.

    Returns:
        Where weights and YAML lie.

    Raises:
        ModelFileError: If the published network cannot hold this model, or the files cannot be written.
    """
    weights, config = (folder / name for name in msst_names(checkpoint))
    content = {
        "name": "apollo",
        "info": {"software_versions": {"torch_version": str(torch.__version__)}, "description": ""},
        "config": {name: model.config[name] for name in ("sr", "win", "feature_dim", "layer")},
        "state_dict": to_published(model),
    }
    text = yaml.safe_dump(msst_config(model), sort_keys=False)
    write_whole({weights: torch_file(content), config: text.encode()}, overwrite)
    return weights, config


def msst_names(checkpoint: str) -> tuple[str, str]:
    """Name the files for MSST after the checkpoint that they are made from.

    >>> msst_names("epoch=7-val_loss=-12.3456.ckpt")
    ('model_apollo_ep_7_val_loss_-12.3456.ckpt', 'config_apollo_ep_7_val_loss_-12.3456.yaml')
    >>> msst_names("last.ckpt")
    ('model_apollo.ckpt', 'config_apollo.yaml')
    """
    match = NAMED_BY_SCORE.fullmatch(checkpoint)
    suffix = f"_ep_{match[1]}_val_loss_{match[2]}" if match else ""
    return f"model_apollo{suffix}.ckpt", f"config_apollo{suffix}.yaml"


def msst_config(model: Apollo) -> dict[str, Any]:
    """Give what MSST wants to know of a model; of the training block it needs the instruments only."""
    return {
        "audio": {
            "chunk_size": 441000,
            "min_mean_abs": 0.0,
            "num_channels": 2,
            "sample_rate": model.sample_rate,
        },
        "augmentations": {"enable": False},
        "inference": {"batch_size": 1, "num_overlap": 4},
        "model": {name: model.config[name] for name in ("feature_dim", "layer", "sr", "win")},
        "training": {
            "batch_size": 1,
            "coarse_loss_clip": True,
            "grad_clip": 0,
            "instruments": ["restored", "addition"],
            "lr": 1.0,
            "num_epochs": 1000,
            "num_steps": 1000,
            "optimizer": "prodigy",
            "patience": 2,
            "q": 0.95,
            "reduce_factor": 0.95,
            "target_instrument": "restored",
            "use_amp": True,
        },
    }


def torch_file(content: Mapping[str, Any]) -> bytes:
    """Give what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    return buffer.getvalue()


def write_whole(contents: Mapping[Path, bytes], overwrite: bool = True) -> None:
    """Write all of the files or none, and the folders that they go into.

    Raises ExistsError if one exists that is not to be replaced, and ModelFileError if one cannot be written.
    """
    new = [path for path in contents if not path.exists()]
    made: list[Path] = []

    def remember(path: Path, failed: object) -> None:
        if failed is None:
            made.append(path)

    try:
        with ExitStack() as stack:
            for path, content in contents.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.push(lambda kind, error, traceback, path=path: remember(path, kind))
                stack.enter_context(replacing(path, overwrite)).write_bytes(content)
    except (OSError, ExistsError) as error:
        for written in made:
            if written in new:
                with suppress(OSError):
                    written.unlink()
        if isinstance(error, ExistsError):
            raise
        raise ModelFileError(unwritable(path, error)) from None
