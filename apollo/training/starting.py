"""What a run starts from: nothing, the weights of a model, or the point at which it was stopped."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from apollo.checkpoints import load_discriminator
from apollo.checkpoints.exporting import read_for_export
from apollo.checkpoints.reading import read_file
from apollo.errors import ConfigError, ModelFileError, one_line
from apollo.training.system import ApolloSystem

log = logging.getLogger(__name__)


def refuse_to_overwrite(run: Path, last: Path, resume: Path | None) -> None:
    """Raise ConfigError if a run would write over another; `last` is where its newest checkpoint would go.

    A run resumes itself, or another one under a new name. Every process of a run checks this before it joins the
    others, so before any of them writes.
    """
    own = resume is not None and any(folder.resolve() in resume.resolve().parents for folder in (run, last.parent))
    resumable = last.exists()
    if (resumable or (run / "best_model.safetensors").exists()) and not own:
        way = f"resume it with -m {last}, or " if resumable else ""
        raise ConfigError(f"the run {run} exists already: {way}name the new one with exp.name=NAME")


def check_checkpoint(system: ApolloSystem, path: Path) -> None:
    """Make sure that a run can resume from a file.

    Raises ModelFileError if the file is damaged or no checkpoint, and ConfigError if it is one of other networks.
    """
    content, _ = read_file(path)
    if not (content.keys() >= {"loops", "optimizer_states"} and isinstance(content.get("state_dict"), dict)):
        raise ModelFileError(
            f"{path} is not a checkpoint to resume from, such as last.ckpt: start a new one from the weights of a "
            f"model file with --init-from {path}"
        )
    stated = content.get("config")
    refuse_other_sizes(path, stated if isinstance(stated, dict) else {}, system)
    own = {name: tensor.shape for name, tensor in system.state_dict().items()}
    there = {name: getattr(tensor, "shape", None) for name, tensor in content["state_dict"].items()}
    different = sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))
    if different:
        network = different[0].partition(".")[0]
        raise ConfigError(
            f"{path} is the checkpoint of a run with other networks, which differ in {network}: resume with "
            f"that run's own configuration, or start a new one from its generator with --init-from {path}"
        )
    refuse_other_learning(path, content.get("learning"), system)
    if broken := not_finite({key: content[key] for key in content if key not in ("callbacks", "random")}):
        raise ModelFileError(
            f"{path} holds NaN or infinity in {broken}: resume from an earlier checkpoint, or start a new run from a "
            "model file with --init-from"
        )
    if not whole_states(content, system):
        raise ModelFileError(
            f"{path} lacks parts of its optimisers or schedulers: resume from another, or start a new run "
            f"from its weights with --init-from {path}"
        )


def not_finite(value: Any, name: str = "") -> str:
    """Where something is NaN, or a tensor infinite, in dictionaries and lists of any depth; empty where nothing is.

    A number alone may be infinite: schedulers begin with the best loss of all.
    """
    if isinstance(value, torch.Tensor):
        return "" if not value.is_floating_point() or bool(value.isfinite().all()) else name
    if isinstance(value, float):
        return name if math.isnan(value) else ""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return next(
        (found for key, item in items if (found := not_finite(item, f"{name}.{key}" if name else str(key)))), ""
    )


def whole_states(content: Mapping[str, Any], system: ApolloSystem) -> bool:
    """Whether a checkpoint has a state for every optimiser and scheduler, with the shapes of what they train."""
    optimizers, schedulers = content["optimizer_states"], content.get("lr_schedulers")
    for states in (optimizers, schedulers):
        if not isinstance(states, list) or len(states) != len(system.networks):
            return False
        if not all(isinstance(state, dict) for state in states):
            return False
    for network, optimizer in zip(system.networks, optimizers, strict=True):
        parameters, groups, state = list(network.parameters()), optimizer.get("param_groups"), optimizer.get("state")
        if not (isinstance(groups, list) and isinstance(state, dict) and set(state) <= set(range(len(parameters)))):
            return False
        for number, values in state.items():
            moments = [values.get(name) for name in ("exp_avg", "exp_avg_sq")] if isinstance(values, dict) else [0]
            if any(
                getattr(moment, "shape", None) != parameters[number].shape for moment in moments if moment is not None
            ):
                return False
    # What counts moments has some after the first step; a discriminator may wait for its own.
    counting = any(isinstance(group, dict) and "betas" in group for group in optimizers[0]["param_groups"])
    return bool(optimizers[0]["state"]) or not counting or content.get("global_step") == 0


def lost_another(error: Exception) -> bool:
    """Whether processes that train together have lost one another: NCCL has a class for it, gloo has not."""
    kind = getattr(torch.distributed, "DistError", ())
    return isinstance(error, kind) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def is_of_signal(error: BaseException | None) -> bool:
    """Whether an error arose while Ctrl-C, or another signal to stop, was dealt with."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or is_of_signal(error.__context__))


@contextmanager
def going_on(path: Path | None, system: ApolloSystem) -> Iterator[None]:
    """Turn errors before a resumed run's first step into a ModelFileError: its checkpoint is to blame."""
    try:
        yield
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, RuntimeError) as error:
        foreign = isinstance(error, torch.OutOfMemoryError) or "DataLoader worker" in str(error) or is_of_signal(error)
        if path is None or system.begun or foreign or lost_another(error):
            raise
        reason = one_line(error)[:200]
        raise ModelFileError(
            f"{path} cannot be resumed from ({type(error).__name__}: {reason}): take another, or start a new "
            f"run from its weights with --init-from {path}"
        ) from error


def start_from(system: ApolloSystem, path: Path | str) -> None:
    """Take the weights of a model file, and of its discriminator if it has one that fits.

    A file without blocks gives its fill to a network with blocks; the blocks are new. Raises ModelFileError if the file
    is no model, and ConfigError if its network has other sizes than the configuration's.
    """
    model, _ = read_for_export(path)
    refuse_other_sizes(path, model.config, system)
    system.generator.load_state_dict(model.state_dict(), strict=bool(model.blocks))
    if system.discriminator is None:
        return
    weights = load_discriminator(path)
    if weights is None:
        log.info("%s has no discriminator; a new one is made", path)
        return
    try:
        system.discriminator.load_state_dict(weights)
    except RuntimeError:
        log.warning("the discriminator in %s has other sizes than the configuration's; a new one is made", path)


def refuse_other_sizes(path: Path | str, there: Mapping[str, Any], system: ApolloSystem) -> None:
    """Raise ConfigError, which names the sizes, if the generator in a file has others than the configuration."""
    own = system.generator.config
    if there.get("layer") == 0:
        own = {key: own[key] for key in ("sr", "win", "output", "fill") if key in own}
    different = [
        f"{key} is {there[key]} there and {own[key]} here" for key in own if there.get(key, own[key]) != own[key]
    ]
    if different:
        raise ConfigError(
            f"{path} is a model of other sizes: {', '.join(different)}; change model in the configuration"
        )


def refuse_other_learning(path: Path, there: Any, system: ApolloSystem) -> None:
    """Raise ConfigError, which names the values, if a run cannot go on with the optimisers and schedules wanted.

    Those of a checkpoint would be used, or a mixture of both. The oldest checkpoints state none.
    """
    stated, own = there if isinstance(there, dict) else {}, system.learning
    none = "not stated"
    different = [
        f"{key} is {shorten(str(stated.get(key, none)), 80)} there and {own.get(key, none)} here"
        for key in sorted(stated.keys() | own.keys(), key=str)
        if not alike(stated.get(key), own.get(key))
    ]
    if stated and different:
        raise ConfigError(
            f"{path} is of a run that learns otherwise: {', '.join(different)}; a run goes on as it began: resume with "
            f"the same values, or start a new one from its weights with --init-from {path}"
        )


def alike(there: Any, here: Any) -> bool:
    """Whether a value of a checkpoint, which may be anything, is one of a configuration."""
    numbers = isinstance(there, (int, float)) and isinstance(here, (int, float))
    return there == here if numbers else str(there) == str(here)
