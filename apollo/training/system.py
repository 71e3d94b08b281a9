"""The training step: a discriminator that learns to tell, a generator that learns not to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from apollo.data.crops import Crop
from apollo.nn import Apollo, MultiFrequencyDiscriminator
from apollo.nn.chunks import restore_in_chunks
from apollo.nn.losses import DiscriminatorLoss, GeneratorLoss, NegativeSDR

CHUNK_SECONDS = 10  # validated at a time

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class ApolloSystem(LightningModule):
    """Generator and discriminator, trained in turn on every batch.

    The discriminator steps on the detached estimate, then the generator against it; the gradients of both are clipped.
    Without a discriminator only the generator is trained.

    Args:
        generator: The network that restores.
        discriminator: The network that judges, or `None` if no term of the generator's loss asks it.
        loss_g: The generator's loss.
        loss_d: The discriminator's loss, or `None`.
        metrics: The validation metric, lower is better; logged as `val_loss`.
        optimizers: Make the optimisers of generator and discriminator from their parameters.
        schedulers: Make their schedulers, which step once an epoch.
        clip: Largest norm of the gradient of either network.
        loss_schedule: Weights of the generator's loss that change: first epoch → weights by name, from then on.
    """

    def __init__(
        self,
        generator: Apollo,
        discriminator: MultiFrequencyDiscriminator | None,
        loss_g: GeneratorLoss,
        loss_d: DiscriminatorLoss | None,
        metrics: NegativeSDR,
        optimizers: Sequence[MakeOptimizer],
        schedulers: Sequence[MakeScheduler],
        clip: float = 5.0,
        loss_schedule: Mapping[int, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.loss_g = loss_g
        self.loss_d = loss_d
        self.metrics = metrics
        self.make_optimizers = optimizers
        self.make_schedulers = schedulers
        self.clip = clip
        self.loss_schedule = {int(epoch): dict(weights) for epoch, weights in sorted((loss_schedule or {}).items())}

    def configure_optimizers(self) -> Any:
        """Optimisers and schedulers of the generator and, if there is one, the discriminator."""
        networks = [network for network in (self.generator, self.discriminator) if network is not None]
        optimizers = [make(network.parameters()) for make, network in zip(self.make_optimizers, networks, strict=True)]
        return optimizers, [make(optimizer) for make, optimizer in zip(self.make_schedulers, optimizers, strict=True)]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the network's sizes beside its weights, so that the file alone tells how to build it."""
        checkpoint["config"] = self.generator.config

    def training_step(self, batch: Crop, number: int) -> None:
        """Train both networks on one batch of `{original, degraded}`, each `(batch, channels, samples)`."""
        original, degraded = batch["original"], batch["degraded"]
        found = self.optimizers()
        optimizers = cast(list[LightningOptimizer], found if isinstance(found, list) else [found])
        estimate = self.generator(degraded)
        logged = {}
        if self.discriminator is not None and self.loss_d is not None:
            loss_d = self.loss_d(self.discriminator(original), self.discriminator(estimate.detach()))
            self._step(optimizers[1], loss_d)
            logged["loss_d"] = loss_d.detach()
        terms = self._generator_terms(estimate, original, degraded)
        self._step(optimizers[0], terms["loss"])
        logged |= {("loss_g" if name == "loss" else name): value.detach() for name, value in terms.items()}
        self.log_dict({f"train/{name}": value for name, value in logged.items()}, batch_size=len(original))
        self.log("loss_g", logged["loss_g"], prog_bar=True, logger=False)

    def _generator_terms(self, estimate: Tensor, original: Tensor, degraded: Tensor) -> dict[str, Tensor]:
        if self.discriminator is None:
            return cast(dict[str, Tensor], self.loss_g(estimate, original, degraded))
        # The generator's step must not leave gradients in the discriminator.
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            real = self.discriminator(original)
        made = self.discriminator(estimate)
        self.discriminator.requires_grad_(True)
        return cast(dict[str, Tensor], self.loss_g(estimate, original, degraded, real, made))

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients of the network about to step; a 16-bit run has unscaled them by now."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, self.clip)
        trained = "generator" if parameters[0] is next(self.generator.parameters()) else "discriminator"
        self.log(f"train/gradient_norm_{trained}", norm)

    def on_train_epoch_start(self) -> None:
        """Bring the loss's weights to where the schedule has them."""
        for epoch, weights in self.loss_schedule.items():
            if epoch <= self.current_epoch:
                self.loss_g.reweight(weights)

    def on_train_epoch_end(self) -> None:
        """Step the schedulers."""
        found = self.lr_schedulers()
        for scheduler in found if isinstance(found, list) else [found]:
            cast(LRScheduler, scheduler).step()

    def validation_step(self, batch: Crop, number: int) -> None:
        """Score one item of `{original, degraded}`, each `(1, channels, samples)`, of any length.

        Logs `val_loss`, and what the unprocessed input would score. The item is restored chunk by chunk, with the
        samples that the whole would give; the terms of the loss are those of its first seconds.
        """
        original, degraded = batch["original"], batch["degraded"]
        rate, hop = self.generator.sample_rate, self.generator.hop_length
        estimate = restore_in_chunks(self.generator, degraded[0], CHUNK_SECONDS * rate // hop)[None].to(original)
        scores = {"val_loss": self.metrics(estimate, original), "val_unprocessed": self.metrics(degraded, original)}
        self.log_dict(scores, prog_bar=True, batch_size=1, sync_dist=True)
        head = (x[..., : CHUNK_SECONDS * rate] for x in (estimate, original, degraded))
        terms = self._generator_terms(*head)
        self.log_dict({f"valid/{name}": value for name, value in terms.items()}, batch_size=1, sync_dist=True)
