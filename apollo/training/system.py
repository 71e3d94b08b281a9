"""The training step: a discriminator that learns to tell, a generator that learns not to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from apollo.data.crops import Crop
from apollo.errors import ConfigError, TrainingError
from apollo.metrics import log_spectral_distance, visqol
from apollo.nn import Apollo, MultiFrequencyDiscriminator
from apollo.nn.chunks import restore_in_chunks
from apollo.nn.discriminator import halves
from apollo.nn.level_loss import LevelLoss, level_bias
from apollo.nn.losses import DiscriminatorLoss, GeneratorLoss, NegativeSDR, r1_penalty
from apollo.training.means import Means

CHUNK_SECONDS = 10  # validated at a time
ADVICE = (  # where numbers are not finite
    "resume from the last checkpoint with trainer.precision=32, or start a new run from it with --init-from and a "
    "lower learning rate"
)

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class ApolloSystem(LightningModule):
    """Generator and discriminator, trained in turn on every batch.

    The discriminator steps on the detached estimate, then the generator against it; the gradients of both are clipped.
    Without a discriminator only the generator is trained. A step whose gradient is not finite is left out.

    Args:
        generator: The network that restores.
        discriminator: The network that judges, or `None` if no term of the generator's loss asks it.
        loss_g: The generator's loss.
        loss_d: The discriminator's loss, or `None`.
        metrics: The validation metric, lower is better; logged as `val_loss`.
        optimizers: Make the optimisers of generator and discriminator from their parameters.
        schedulers: Make their schedulers, which step once an epoch.
        accumulate: Batches whose gradients are averaged for one step; those that are left at the end of an epoch have
            a step of their own.
        clip: Largest norm of the gradient of either network.
        adversarial_warmup: Batches at the start of a run that train the generator without the discriminator.
        adversarial_ramp: Batches after those in which the discriminator's terms of the loss grow to their full weights.
        compile: Whether the generator is compiled for training.
        gradient_checkpointing: Whether the generator's blocks are computed again for the backward pass instead of kept.
        skip_limit: How many steps of one network in a row are left out until the run is ended.
        visqol: Whether validation measures ViSQOL, which takes about a second for ten of music.
        train: Which part of the generator learns, the rest staying as it is: `all`; `repair`, what corrects the
            spectrum, trained and validated without fill; or `levels`, what fills it in, on powers alone.
        matmul_precision: PyTorch's precision of matrix products in float32 during the run: `high` lets GPUs that have
            it compute in TF32, `medium` in bfloat16; what it is when not given.

    Raises:
        ConfigError: If ViSQOL is wanted and not installed, or the part to train does not fit network or loss.
        TrainingError: From training, when `skip_limit` is reached; from validation, when a result is not finite.
    """

    def __init__(
        self,
        generator: Apollo,
        discriminator: MultiFrequencyDiscriminator | None,
        loss_g: GeneratorLoss | LevelLoss,
        loss_d: DiscriminatorLoss | None,
        metrics: NegativeSDR,
        optimizers: Sequence[MakeOptimizer],
        schedulers: Sequence[MakeScheduler],
        accumulate: int = 1,
        clip: float = 5.0,
        adversarial_warmup: int = 0,
        adversarial_ramp: int = 0,
        compile: bool = False,  # noqa: A002 (as Lightning and PyTorch call it)
        gradient_checkpointing: bool = False,
        skip_limit: int = 20,
        visqol: bool = False,
        train: Literal["all", "repair", "levels"] = "all",
        matmul_precision: Literal["highest", "high", "medium"] | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("accumulate", accumulate, 1),
            ("adversarial_warmup", adversarial_warmup, 0),
            ("adversarial_ramp", adversarial_ramp, 0),
            ("skip_limit", skip_limit, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if not clip > 0:
            raise ValueError(f"clip must be above 0, not {clip}: it is the largest norm of a gradient")
        if visqol and find_spec("visqol") is None:
            raise ConfigError(
                "system.visqol needs visqol-python, which is not installed: in Apollo's source folder, run "
                "pip install -c constraints.txt '.[eval]'"
            )
        if (train == "levels") != isinstance(loss_g, LevelLoss):
            raise ConfigError("system.train=levels and loss_g apollo.nn.level_loss.LevelLoss go together: give both")
        if train != "all" and generator.fill is None:
            raise ConfigError(f"system.train={train} is for networks that fill in what is lost: give model.fill")
        if train == "repair" and not generator.blocks:
            raise ConfigError("system.train=repair trains blocks: give a model.layer of at least 1")
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.loss_g = loss_g
        self.loss_d = loss_d
        self.metrics = metrics
        self.make_optimizers = optimizers
        self.make_schedulers = schedulers
        self.accumulate = accumulate
        self.clip = clip
        self.adversarial_warmup = adversarial_warmup
        self.adversarial_ramp = adversarial_ramp
        self.matmul_precision = matmul_precision
        self.skip_limit = skip_limit
        self.visqol = visqol
        self.learning: dict[str, Any] = {}  # the values of the blocks of optimisers and schedulers, by their keys
        self.begun = False  # whether a step of this process has begun
        self.fill = 0.0 if train == "repair" else 1.0
        for name, parameter in generator.named_parameters():
            parameter.requires_grad_(train == "all" or name.startswith("fill.") == (train == "levels"))
        self.skipped = 0
        self.skipped_in_a_row = {"generator": 0, "discriminator": 0}
        self.validated = Means()
        generator.checkpointing = gradient_checkpointing
        if compile:
            generator.compile_blocks()

    @property
    def networks(self) -> list[nn.Module]:
        """The generator and, if there is one, the discriminator."""
        return [network for network in (self.generator, self.discriminator) if network is not None]

    @property
    def logged(self) -> set[str]:
        """The names of all numbers that a run logs, but for level biases, whose names the data decide."""
        terms = [*self.loss_g.weights, "loss"]
        measured = ["lsd", "visqol"] if self.visqol else ["lsd"]
        names = {f"val_{name}{side}" for name in measured for side in ("", "_unprocessed")}
        names |= {"val_loss", "val_unprocessed"} | {f"valid/{term}" for term in terms}
        names |= {f"train/{term}" for term in terms if term != "loss"} | {"train/loss_g", "train/skipped_steps"}
        names.add("train/gradient_norm_generator")
        if self.discriminator is not None and self.loss_d is not None:
            names |= {"train/loss_d", "train/gradient_norm_discriminator"} | ({"train/r1"} if self.loss_d.r1 else set())
        return names

    def configure_optimizers(self) -> Any:
        """Optimisers and schedulers of all networks."""
        learning = [[p for p in network.parameters() if p.requires_grad] for network in self.networks]
        optimizers = [make(parameters) for make, parameters in zip(self.make_optimizers, learning, strict=True)]
        return optimizers, [make(optimizer) for make, optimizer in zip(self.make_schedulers, optimizers, strict=True)]

    def setup(self, stage: str) -> None:
        """Set the precision of matrix products, in every process of a run."""
        if self.matmul_precision is not None:
            self.precision_before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision(self.matmul_precision)

    def teardown(self, stage: str) -> None:
        """Set it back."""
        if self.matmul_precision is not None:
            torch.set_float32_matmul_precision(self.precision_before)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the network's sizes, so that the file alone says how to build it, how it learns, and the random state."""
        checkpoint["config"] = self.generator.config
        checkpoint["learning"] = self.learning
        checkpoint["skipped"] = self.skipped
        checkpoint["random"] = {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the random state of the checkpoint; the oldest of ours have none."""
        self.skipped = int(checkpoint.get("skipped", 0))
        if "random" in checkpoint:
            torch.set_rng_state(checkpoint["random"]["cpu"].cpu())
            if len(checkpoint["random"]["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all([state.cpu() for state in checkpoint["random"]["cuda"]])

    def on_train_start(self) -> None:
        """Raise ConfigError if a schedule ends before the run does; a resumed run has that of its checkpoint."""
        for scheduler in self._schedulers():
            length = getattr(scheduler, "total_steps", None)
            if length is not None and length < (self.trainer.max_epochs or 0):
                raise ConfigError(
                    f"the learning rate's schedule ends after {length} epochs, before trainer.max_epochs="
                    f"{self.trainer.max_epochs}: leave out total_steps in a new run, which --init-from starts from "
                    "this one's weights"
                )
        self.begun = True

    def training_step(self, batch: Crop, number: int) -> None:
        """Train both networks on one batch of `{original, degraded}`, each `(batch, channels, samples)`."""
        original, degraded = batch["original"], batch["degraded"]
        found = self.optimizers()
        optimizers = cast(list[LightningOptimizer], found if isinstance(found, list) else [found])
        steps = (number + 1) % self.accumulate == 0 or self.trainer.is_last_batch
        judged = self._judged_share()
        # Levels are judged before any waveform is made of them.
        estimate = degraded if isinstance(self.loss_g, LevelLoss) else self.generator(degraded, self.fill)
        logged: dict[str, Tensor] = {}
        if judged and self.discriminator is not None and self.loss_d is not None:
            logged |= self._train_discriminator(optimizers[1], original, estimate.detach(), steps)
        terms = self._generator_terms(estimate, original, degraded, judged)
        self._learn(optimizers[0], terms["loss"], steps)
        logged |= {("loss_g" if name == "loss" else name): value.detach() for name, value in terms.items()}
        told = {f"train/{name}": value for name, value in logged.items()} | {"train/skipped_steps": float(self.skipped)}
        self.log_dict(told, batch_size=len(original))
        shown = {name: value for name, value in logged.items() if name in ("loss_g", "loss_d")}
        self.log_dict(shown, prog_bar=True, logger=False, batch_size=len(original))

    def _judged_share(self) -> float:
        """The share of their weights that the discriminator's terms have for the batch at work."""
        joined = self.trainer.fit_loop.total_batch_idx - self.adversarial_warmup
        return min(1.0, (joined + 1) / max(1, self.adversarial_ramp)) if joined >= 0 else 0.0

    def _train_discriminator(
        self, optimizer: LightningOptimizer, original: Tensor, estimate: Tensor, steps: bool
    ) -> dict[str, Tensor]:
        assert self.discriminator is not None
        assert self.loss_d is not None
        every = self.loss_d.r1_every
        penalised = self.loss_d.r1 > 0 and self.trainer.fit_loop.total_batch_idx % every == 0
        if penalised:
            original = original.detach().requires_grad_()
        # Both sides in one pass: half the calls, and one round of power iteration for both.
        real, made = halves(self.discriminator(torch.cat((original, estimate))))
        logged = {"loss_d": self.loss_d(real, made)}
        loss = logged["loss_d"]
        if penalised:
            logged["r1"] = r1_penalty(real, original)
            loss = loss + self.loss_d.r1 * every * logged["r1"]
        self._learn(optimizer, loss, steps)
        return {name: value.detach() for name, value in logged.items()}

    def _generator_terms(
        self, estimate: Tensor, original: Tensor, degraded: Tensor, judged: float = 1.0
    ) -> dict[str, Tensor]:
        if isinstance(self.loss_g, LevelLoss):
            return cast(dict[str, Tensor], self.loss_g(self.generator, original, degraded))
        if self.discriminator is None or not judged:
            return cast(dict[str, Tensor], self.loss_g(estimate, original, degraded))
        # The generator's step must not leave gradients in the discriminator.
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            real = self.discriminator(original)
        made = self.discriminator(estimate)
        self.discriminator.requires_grad_(True)
        return cast(dict[str, Tensor], self.loss_g(estimate, original, degraded, real, made, judged))

    def _learn(self, optimizer: LightningOptimizer, loss: Tensor, steps: bool) -> None:
        """Accumulate the gradients, and step if it is time."""
        self.manual_backward(loss / self._batches_of_step())
        if steps:
            scale = self._gradient_scale()
            optimizer.step()
            optimizer.zero_grad()
            if (factor := self._gradient_scale() / scale) != 1:
                # What the other network has accumulated was scaled as before the step.
                for parameter in self.parameters():
                    if parameter.grad is not None:
                        parameter.grad *= factor

    def _gradient_scale(self) -> float:
        """The factor by which a 16-bit run scales gradients; each optimiser's step may change it."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return float(scaler.get_scale()) if scaler is not None else 1.0

    def _batches_of_step(self) -> int:
        """How many batches share the step that the one at work belongs to: an epoch may end with fewer."""
        before = self.trainer.fit_loop.batch_idx // self.accumulate * self.accumulate
        return min(self.accumulate, int(self.trainer.num_training_batches) - before)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients of the network about to step, or take away those that are not finite.

        A 16-bit run has unscaled them by now; its scaler sees for itself that they are not finite.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        norm = nn.utils.clip_grad_norm_(parameters, self.clip)
        of_generator = any(parameters[0] is parameter for parameter in self.generator.parameters())
        trained = "generator" if of_generator else "discriminator"
        if bool(norm.isfinite()):
            self.skipped_in_a_row[trained] = 0
            self.log(f"train/gradient_norm_{trained}", norm)
            return
        self.skipped += 1
        self.skipped_in_a_row[trained] += 1
        if self.skipped_in_a_row[trained] >= self.skip_limit:
            raise TrainingError(
                f"the gradient of the {trained} was not finite {self.skip_limit} steps in a row, in epoch "
                f"{self.current_epoch}: {ADVICE}"
            )
        for parameter in parameters:  # an optimiser leaves out what has no gradient
            parameter.grad = None

    def on_train_epoch_end(self) -> None:
        """Step the schedulers; those that wait for a plateau look at `val_loss`."""
        for scheduler in self._schedulers():
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            elif "val_loss" in self.trainer.callback_metrics:
                scheduler.step(float(self.trainer.callback_metrics["val_loss"]))

    def _schedulers(self) -> list[LRScheduler]:
        found = self.lr_schedulers()
        return cast(list[LRScheduler], found if isinstance(found, list) else [found])

    def validation_step(self, batch: Crop, number: int) -> Tensor:
        """Score one item of `{original, degraded}`, each `(1, channels, samples)`, of any length; give it restored.

        Logs `val_loss`, `val_lsd` and, where it is wanted, `val_visqol`, each beside what the unprocessed input scores.
        The item is restored chunk by chunk, with the samples that the whole would give; the terms of the loss are those
        of its first seconds. So is `valid/level_bias_24k`, or of what bitrate it is: by how many dB its lost bands
        come back too loud.
        """
        original, degraded = batch["original"], batch["degraded"]
        estimate = self.restore_whole(degraded)
        if not bool(estimate.isfinite().all()):
            item = number * self.trainer.world_size + self.trainer.global_rank
            raise TrainingError(
                f"validation item {item}, counted from 0, is restored to numbers that are not finite, in epoch "
                f"{self.current_epoch}: {ADVICE}"
            )
        rate = self.generator.sample_rate
        scores = {"val_loss": self.metrics(estimate, original), "val_unprocessed": self.metrics(degraded, original)}
        truth = original[0].cpu().numpy()
        for name, waveform in (("", estimate), ("_unprocessed", degraded)):
            heard = waveform[0].float().cpu().numpy()
            scores[f"val_lsd{name}"] = torch.tensor(log_spectral_distance(truth, heard, rate))
            if self.visqol:
                scores[f"val_visqol{name}"] = torch.tensor(visqol(truth, heard, rate))

        def head(side: Tensor) -> Tensor:
            return side[..., : CHUNK_SECONDS * rate].to(self.device)

        terms = self._generator_terms(head(estimate), head(original), head(degraded))
        scores |= {f"valid/{name}": value for name, value in terms.items()}
        if bitrate := int(batch.get("bitrate", torch.tensor(0))):
            sides = (head(side) for side in (original, degraded, estimate))
            scores[f"valid/level_bias_{bitrate // 1000}k"] = level_bias(self.generator, *sides)
        self.validated.add(scores)
        return estimate

    def on_validation_epoch_end(self) -> None:
        """Log the means over all items that have a score."""
        for name, mean in self.validated.of_all(self.trainer.world_size).items():
            self.log(name, mean, prog_bar=name.startswith("val_"), sync_dist=True)
        self.validated = Means()

    def restore_whole(self, degraded: Tensor) -> Tensor:
        """Restore `(1, channels, samples)` of any length, with memory for one chunk."""
        frames = CHUNK_SECONDS * self.generator.sample_rate // self.generator.hop_length
        # What was compiled was compiled for crops of one length, and to be differentiated.
        with torch.compiler.set_stance("force_eager"):
            return restore_in_chunks(self.generator, degraded[0], frames, fill=self.fill)[None].to(degraded)
