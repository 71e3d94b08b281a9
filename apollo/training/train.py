"""A training run from a configuration to a model file."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from apollo.atomic import alone, clear_unfinished, replacing
from apollo.checkpoints import load_model, save_model
from apollo.data.loading import CropModule
from apollo.errors import ApolloError, ConfigError, TrainingError, one_line
from apollo.foreign import silenced, unsaid
from apollo.nn.memory import keep_freed_memory
from apollo.storage import Place, Url, at_hand, inside, place
from apollo.training.blocks import Spec
from apollo.training.callbacks import Clips, Speed
from apollo.training.mirror import mirrored
from apollo.training.progress import Lines, shows_bars
from apollo.training.recipe import Faults, Recipe, naming, parse
from apollo.training.saving import StopOnSignal, last_checkpoint, signals_given_back, written
from apollo.training.starting import check_checkpoint, going_on, lost_another, refuse_to_overwrite, start_from
from apollo.training.system import ApolloSystem, MakeScheduler
from apollo.training.trainer import build_trainer
from apollo.training.types import parameters_of
from apollo.training.weights_and_biases import begin, finish

log = logging.getLogger(__name__)

# Lightning advertises packages of its makers, and warns of checkpoints, which runs never overwrite; PyTorch tells
# Lightning what to write otherwise.
NOT_FOR_USERS = r"\[lit(logger|models)\]|isinstance\(treespec|Checkpoint directory .* exists and is not empty"


def train(
    config_path: Path,
    overrides: Sequence[str] = (),
    resume: Place | None = None,
    init: Path | str | None = None,
    foreign: bool = False,
) -> Place | None:
    """Train as a configuration says.

    Args:
        config_path: YAML file.
        overrides: `key=value` each, applied over the file.
        resume: Checkpoint to resume from, here or in a store, as if the run had never ended.
        init: Model file to start a new run from.
        foreign: Whether the file is one of MSST or of another training code, to be converted.

    Returns:
        The best model as a `.safetensors` file, or `None` if no checkpoint was written.

    Raises:
        ApolloError: If the configuration or the data cannot be used.
    """
    if resume is not None and init is not None:
        raise ConfigError("-m resumes a run and --init-from starts a new one: give one of them")
    if isinstance(resume, Path) and not resume.is_file():
        raise ConfigError(f"there is no checkpoint file {resume}: give one, such as exps/NAME/checkpoints/last.ckpt")
    recipe = parse(config_path, overrides, foreign)
    exp = recipe["exp"].arguments
    runs = place(str(exp.get("dir", ".")))
    with (
        ExitStack() as stack,
        telling(config_path, recipe),
        unsaid("lightning.pytorch.utilities.rank_zero", NOT_FOR_USERS),
    ):
        if not isinstance(runs, Url):
            return fit(recipe, stack.enter_context(at_hand(resume)) if resume is not None else None, init)
        folder, mirror = stack.enter_context(mirrored(runs, str(exp.get("name", "apollo")), resume))
        recipe = recipe.moved(str(exp["dir"]), str(folder))
        if isinstance(resume, Url) and mirror.url in resume.parents:
            checkpoint: Path | None = mirror.folder / inside(resume, mirror.url)
        else:
            checkpoint = stack.enter_context(at_hand(resume)) if resume is not None else None
        best = fit(recipe, checkpoint, init, mirror.try_to_send)
        return mirror.url / inside(best, mirror.folder) if best is not None else None


@contextmanager
def telling(path: Path, recipe: Recipe) -> Iterator[None]:
    """Turn errors of a configuration or a run that a user can cause into an ApolloError of one sentence."""
    try:
        with naming(path):
            yield
    except ApolloError as error:
        *traceback, last = str(error).strip().splitlines()
        if not traceback:
            raise
        # From a worker process it comes wrapped in the worker's traceback, whose last line is the message.
        raise type(error)(last.removeprefix(f"apollo.errors.{type(error).__name__}: ")) from error
    except MisconfigurationException as error:
        raise ConfigError(f"{path}: {one_line(error)}") from error
    except OSError as error:
        name = error.filename
        place = os.fsdecode(name) if isinstance(name, bytes) else name or f"a file in {recipe.run}"
        raise TrainingError(
            f"{place} cannot be read or written ({error.strerror or one_line(error)}): fix that, and resume with -m "
            "from the newest checkpoint, or start again"
        ) from error
    except Exception as error:
        if "DataLoader worker" in str(error):
            raise TrainingError(
                "a process that loads data was killed, perhaps because memory ran out: resume with -m from the "
                f"newest checkpoint in {recipe.run}, with fewer datas.num_workers"
            ) from error
        if lost_another(error):
            raise TrainingError(
                "another process of this run has ended or cannot be reached: see its own message, and resume with -m "
                f"from the newest checkpoint in {recipe.run}"
            ) from error
        if "Early stopping conditioned on metric" in str(error):
            monitor = recipe["early_stopping"].arguments.get("monitor")
            raise ConfigError(
                f"{path}: early_stopping.monitor={monitor} was not logged by then: monitor val_loss"
            ) from error
        if not type(error).__module__.startswith("wandb."):
            raise
        raise ConfigError(f"{path}: Weights & Biases failed ({one_line(error)}): set logger=null") from error


def check(path: Path, recipe: Recipe) -> None:
    """Raise ApolloError if a run of this recipe would end before it reads any data, on a machine of any kind."""
    faults = Faults()
    with telling(path, recipe):
        if "datas" in recipe.specs:
            with faults.noted():
                recipe["datas"].made.check(**recipe["datas"].arguments)  # type: ignore[attr-defined]
        if "model" in recipe.specs:  # else it is for `apollo data prepare`
            # What Lightning says of this machine is no matter: a run may be meant for another.
            with faults.noted(), silenced("lightning.pytorch"):
                system = build_system(recipe)
                callbacks = build_callbacks(recipe, system.generator.sample_rate)
                build_trainer(recipe, system, callbacks, here=False)
        faults.tell()


def fit(
    recipe: Recipe,
    resume: Path | None = None,
    init: Path | str | None = None,
    saved: Callable[[], None] = lambda: None,
) -> Path | None:
    """Build everything that a recipe names, train, and export the best model; `saved` is called after checkpoints."""
    seed_everything(recipe.seed, workers=True, verbose=False)
    run = recipe.run
    system = build_system(recipe)
    callbacks = build_callbacks(recipe, system.generator.sample_rate)
    if resume is not None:
        check_checkpoint(system, resume)
    refuse_to_overwrite(run, last_checkpoint(callbacks, run), resume)
    if init is not None:
        start_from(system, init)
    trainer = build_trainer(recipe, system, callbacks, saved)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    data: CropModule = recipe["datas"].build(seed=recipe.seed)
    data.check_shares(trainer.world_size)
    with ExitStack() as stack:
        if trainer.is_global_zero:
            with written(run):
                run.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(run))
            clear_unfinished(run)
            with written(run / "config.yaml"), replacing(run / "config.yaml") as temporary:
                temporary.write_text(recipe.yaml, encoding="utf-8")
            trainer.loggers = begin(trainer.loggers, recipe.loggers)
        try:
            with signals_given_back(), going_on(resume, system):
                trainer.fit(system, datamodule=data, ckpt_path=str(resume) if resume else None, weights_only=True)
        except BaseException:
            finish(trainer.loggers, failed=True)
            raise
        finish(trainer.loggers, failed=False)
        return export_best(trainer, run, recipe.licence)


def build_system(recipe: Recipe) -> ApolloSystem:
    """The networks, losses and optimisers of a recipe; those of a discriminator only if the loss asks it."""
    faults = Faults()
    settings = recipe["trainer"].arguments
    parts: dict[str, Any] = {}
    with faults.noted():
        parts["generator"] = recipe["model"].build()
    rate = parts["generator"].sample_rate if "generator" in parts else 44100
    sides = ["g"]
    with faults.noted():
        parts["loss_g"] = recipe["loss_g"].build(sample_rate=rate)
        sides += ["d"] if parts["loss_g"].needs_discriminator else []
    for name, side in (("metrics", "g"), ("discriminator", "d"), ("loss_d", "d")):
        with faults.noted():
            parts[name] = recipe[name].build() if side in sides else None
    with faults.noted():
        parts["optimizers"] = [recipe[f"optimizer_{side}"].build for side in sides]
        parts["schedulers"] = [schedule(recipe[f"scheduler_{side}"], settings.get("max_epochs")) for side in sides]
    faults.tell()
    # Lightning leaves accumulation to those who optimise by hand, and refuses its own key.
    system: ApolloSystem = recipe["system"].build(**parts, accumulate=settings.get("accumulate_grad_batches", 1))
    for name in (f"{kind}_{side}" for kind in ("optimizer", "scheduler") for side in sides):
        values = {"_target_": recipe[name].made.__name__, **recipe[name].arguments}
        system.learning |= {f"{name}.{key}": value for key, value in values.items()}
    return system


def schedule(spec: Spec, epochs: int | None) -> MakeScheduler:
    """A scheduler as long as the run, where it has a length that the block leaves open.

    One step more than there are epochs: the last epoch still learns.
    """
    if epochs is None or epochs < 1 or "total_steps" not in parameters_of(spec.made)[0] or "epochs" in spec.arguments:
        return spec.build
    return partial(spec.build, total_steps=epochs + 1)


def build_callbacks(recipe: Recipe, sample_rate: int) -> list[Callback]:
    """What a recipe has done beside the training steps, and what every run does."""
    callbacks: list[Callback] = []
    faults = Faults()
    for name in ("checkpoint", "early_stopping", "ema"):
        if name in recipe.specs:
            with faults.noted():
                callbacks.append(recipe[name].build())
    faults.tell()
    last = last_checkpoint(callbacks, recipe.run)
    told = recipe["trainer"].arguments.get("enable_progress_bar", True) and not shows_bars()
    lines = [Lines()] if told else []
    return [*callbacks, Speed(sample_rate), *lines, Clips(recipe.run / "clips", sample_rate), StopOnSignal(last)]


def export_best(trainer: Trainer, run: Path, licence: str) -> Path | None:
    """Write the best checkpoint's generator as `best_model.safetensors`, and the scores of the best few beside it.

    Where none was kept as one of the best, the newest state takes its place, and a warning says so.
    """
    checkpoint = trainer.checkpoint_callback
    if not trainer.is_global_zero:
        return None
    if not isinstance(checkpoint, ModelCheckpoint) or not (checkpoint.best_model_path or checkpoint.last_model_path):
        log.warning("no model was written: trainer.fast_dev_run, and runs without a batch or checkpoints, write none")
        return None
    scores = {path: float(score) for path, score in checkpoint.best_k_models.items()}
    with written(run / "best_k_models.json"), replacing(run / "best_k_models.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=1))
    target = run / "best_model.safetensors"
    if not checkpoint.best_model_path:
        newest = checkpoint.last_model_path
        log.warning("%s is of the newest state, %s: the block checkpoint kept none of the best", target.name, newest)
    save_model(load_model(checkpoint.best_model_path or checkpoint.last_model_path), target, licence=licence)
    return target
