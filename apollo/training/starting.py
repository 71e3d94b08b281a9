"""What a run starts from: nothing, the weights of a model, or the point at which it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apollo.checkpoints import load_discriminator
from apollo.checkpoints.exporting import read_for_export
from apollo.checkpoints.reading import read_file
from apollo.errors import ConfigError, ModelFileError
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)


def refuse_to_overwrite(run: Path, last: Path) -> None:
    """Make sure that a new run does not write over another.

    Every process of a run asks before it joins the others, thus before any of them can have written.

    Args:
        run: The run's folder.
        last: Where its newest checkpoint would go.

    Raises:
        ConfigError: If there is one already.
    """
    if last.exists():
        raise ConfigError(
            f"the run {run} is there already: go on with -m {last}, or name the new one with exp.name=NAME"
        )


def check_checkpoint(system: ApolloSystem, path: Path) -> None:
    """Make sure that a run can go on from a file.

    Raises:
        ModelFileError: If the file is damaged, or no checkpoint of a run.
        ConfigError: If it is one of other networks than the configuration's.
    """
    content, _ = read_file(path)
    if not (content.keys() >= {"loops", "optimizer_states"} and isinstance(content.get("state_dict"), dict)):
        raise ModelFileError(
            f"{path} holds no run to go on with, as last.ckpt does: start a new one from the weights of a model file "
            f"with --init-from {path}"
        )
    stated = content.get("config")
    refuse_other_sizes(path, stated if isinstance(stated, dict) else {}, system)
    own = {name: tensor.shape for name, tensor in system.state_dict().items()}
    there = {name: getattr(tensor, "shape", None) for name, tensor in content["state_dict"].items()}
    different = sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))
    if different:
        raise ConfigError(
            f"{path} is the checkpoint of a run with other networks, which differ in {different[0]}: go on with that "
            f"run's own configuration, or start a new one from its generator with --init-from {path}"
        )


def start_from(system: ApolloSystem, path: Path | str) -> None:
    """Take the weights of a model file, and of its discriminator if it has one that fits.

    Raises:
        ModelFileError: If the file is no model.
        ConfigError: If its network has other sizes than the configuration's.
    """
    model, _ = read_for_export(path)
    refuse_other_sizes(path, model.config, system)
    system.generator.load_state_dict(model.state_dict())
    if system.discriminator is None:
        return
    weights = load_discriminator(path)
    if weights is None:
        log.info("%s holds no discriminator; it starts anew", path)
        return
    try:
        system.discriminator.load_state_dict(weights)
    except RuntimeError:
        log.warning("the discriminator in %s has other sizes than the configuration's; it starts anew", path)


def refuse_other_sizes(path: Path | str, there: Mapping[str, Any], system: ApolloSystem) -> None:
    """Make sure that the generator in a file is of the sizes that the configuration states.

    Raises:
        ConfigError: If it is not; the message names them.
    """
    own = system.generator.config
    different = [
        f"{key} is {there[key]} there and {own[key]} here" for key in own if there.get(key, own[key]) != own[key]
    ]
    if different:
        raise ConfigError(
            f"{path} is a model of other sizes: {', '.join(different)}; change model in the configuration"
        )
