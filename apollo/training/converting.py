"""Configurations of other training codes → ours: MSST's, and those whose keys derive from the paper's.

Keys are recognised anywhere in the file. Those with a counterpart here are renamed; the others are listed with the
reason, all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from apollo.errors import near_misses
from apollo.training.foreign_values import OTHERS, Conversion, compute

# What holds where the other file says nothing: the published recipe.
PUBLISHED = """
exp: {dir: ./exps, name: apollo}
datas: {_target_: apollo.data.DataModule, original_dir: train/original, valid_dir: valid, codec: {enable: true},
  sr: 44100, segments: 3, num_steps: 1000, batch_size: 1, num_workers: 2}
model: {_target_: apollo.nn.Apollo, sr: 44100, win: 20, feature_dim: 256, layer: 6}
discriminator: {_target_: apollo.nn.MultiFrequencyDiscriminator}
optimizer_g: {_target_: torch.optim.AdamW, lr: 0.001, weight_decay: 0.01}
optimizer_d: {_target_: torch.optim.AdamW, lr: 0.0001, weight_decay: 0.01, betas: [0.5, 0.99]}
scheduler_g: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 0.98}
scheduler_d: {_target_: torch.optim.lr_scheduler.StepLR, step_size: 2, gamma: 0.98}
loss_g: {_target_: apollo.nn.losses.GeneratorLoss}
loss_d: {_target_: apollo.nn.losses.DiscriminatorLoss}
metrics: {_target_: apollo.nn.losses.NegativeSDR, sdr_type: sisdr}
system: {_target_: apollo.training.system.ApolloSystem}
checkpoint: {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: '${exp.dir}/${exp.name}/checkpoints',
  monitor: val_loss, mode: min, save_top_k: 5, save_last: true, filename: '{epoch}-{val_loss:.4f}'}
trainer: {_target_: lightning.pytorch.Trainer, accelerator: auto, devices: 1, max_epochs: 1000, precision: bf16}
"""

# The same numbers under other names.
RENAMED = {
    "seed": "seed",
    "num_epochs": "trainer.max_epochs",
    "epochs": "trainer.max_epochs",
    "gradient_accumulation_steps": "trainer.accumulate_grad_batches",
    "lr": "optimizer_g.lr",
    "lr_g": "optimizer_g.lr",
    "lr_d": "optimizer_d.lr",
    "grad_clip": "system.clip",
    "train_dir": "datas.original_dir",
    "eval_dir": "datas.valid_dir",
    "freq_weight": "loss_g.weights.magnitude",
    "adv_weight": "loss_g.weights.adversarial",
    "feature_weight": "loss_g.weights.feature_matching",
    "waveform_weight": "loss_g.weights.waveform",
    "ema_decay": "ema.decay",
    "ema_momentum": "ema.decay",
    "disc_start_step": "system.adversarial_warmup",
    "adv_ramp_steps": "system.adversarial_ramp",
    "clean_prob": "datas.codec.options.undamaged",
}

_LOSS = "belongs to MSST's own loss; loss_g is ours"
_STEMS = "Apollo restores all of the music at once, without stems"
_RESTORING = "is for restoring: give --chunk and --batch to apollo restore"
_LEVELS = "datas takes music as it is mixed"
IGNORED = {
    **dict.fromkeys(("instruments", "target_instrument", "other_fix", "num_channels"), _STEMS),
    **dict.fromkeys(("q", "coarse_loss_clip", "loss_multistft"), _LOSS),
    **dict.fromkeys(("normalize", "min_mean_abs", "num_stems", "snr_range"), _LEVELS),
    "inference": _RESTORING,
    "augmentations": "datas.codec.options says what damages music here",
}
# The same blocks under other names.
BLOCKS = {
    "data": "datas",
    "dataset": "datas",
    "generator": "model",
    "optimizer": "optimizer_g",
    "scheduler": "scheduler_g",
}
# What their arguments mean depends on the class: a learning rate of 1 is usual for one optimiser, and ruins another.
MEANT_FOR_ONE_CLASS = ("optimizer_g", "optimizer_d", "scheduler_g", "scheduler_d")

Takes = Callable[[str, str | None], set[str] | None]


def converted(held: Mapping[str, Any], takes: Takes) -> Conversion:
    """Convert a configuration; raises ConfigError if a value that others are computed from is not a number.

    `takes` tells the keys that a block of ours takes, with a `_target_` or, where that is `None`, with its usual one;
    it gives `None` if the block cannot have that target.
    """
    reader = _Reader(takes)
    reader.read("", "", held, set())
    for name, (_, value) in reader.found.items():
        if name in RENAMED:
            reader.result.put(RENAMED[name], value)
    compute(reader.found, reader.result)
    return reader.result


class _Reader:
    """Goes through the keys of a file and sorts them."""

    def __init__(self, takes: Takes) -> None:
        self.takes = takes
        self.result = Conversion(yaml.safe_load(PUBLISHED))
        self.usual = {name: takes(name, None) or set() for name in (*self.result.config, "ema", "early_stopping")}
        self.found: dict[str, tuple[str, Any]] = {}
        self.known = {*RENAMED, *OTHERS, *IGNORED, *self.usual, *set().union(*self.usual.values())}

    def read(self, path: str, ours: str, block: Mapping[Any, Any], own: set[str]) -> None:
        """Go through a block that is `ours` here and shares the keys `own` with it; its dotted path ends in a dot."""
        for key, value in block.items():
            name, full = str(key), f"{path}{key}"
            if name == "_target_":
                continue
            if ours == "optimizer_g" and name in ("name", "type"):
                self.found["optimizer"] = (full, value)
            elif name in own:
                self.result.put(f"{ours}.{name}", value)
            elif name in IGNORED:
                self.result.pass_over(full, IGNORED[name])
            elif value is None:  # an empty block, or a key that is switched off
                if not path and name in ("licence", "logger"):
                    self.result.config[name] = None
            elif (name in RENAMED or name in OTHERS) and not (name == "optimizer" and isinstance(value, Mapping)):
                self.found[name] = (full, value)
            elif not path and name in ("licence", "logger"):
                self.result.config[name] = value
            elif isinstance(value, Mapping) and not path:
                self.read_block(name, value)
            elif place := next((p for p in ("datas", "model", "system", "trainer") if name in self.usual[p]), None):
                self.result.put(f"{place}.{name}", value)
            elif isinstance(value, Mapping):
                self.read(f"{full}.", ours, value, own)
            else:
                near = [known for known in near_misses(name, self.known) if known != name]
                self.result.pass_over(full, f"not known: did you mean {near[0]!r}?" if near else "not known here")

    def read_block(self, name: str, block: Mapping[Any, Any]) -> None:
        """Go through a block of the whole file."""
        ours = BLOCKS.get(name, name)
        config = self.result.config
        target = block.get("_target_")
        own = self.usual.get(ours, set())
        if target is not None and ours != "datas":  # our own module does what theirs do
            stated = self.takes(ours, str(target))
            if stated is None and ours not in config:
                self.result.pass_over(name, f"{target} is not here")
                return
            if stated is None and ours in MEANT_FOR_ONE_CLASS:
                if ours == "optimizer_g":
                    self.found["optimizer"] = (f"{name}._target_", target)
                else:
                    usual = config[ours]["_target_"].split(".")[-1]
                    self.result.pass_over(f"{name}._target_", f"{target} does not exist here; {usual} is used")
                for key in block.keys() - {"_target_"}:
                    self.result.pass_over(f"{name}.{key}", f"is for {target}")
                return
            if stated is None:
                self.result.pass_over(f"{name}._target_", f"{target} does not exist here; ours is used")
            else:
                # What the published recipe says is for its own classes, and does not stay beside another.
                own = stated
                config[ours] = {"_target_": target}
        if ours in ("early_stopping", "checkpoint") and target is not None:
            config[ours] = dict(block)
        elif ours == "datas":
            self.read(f"{name}.", ours, block, own - {*RENAMED, *OTHERS})
        else:
            self.read(f"{name}.", ours, block, own)
