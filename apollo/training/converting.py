"""Configurations of other training codes → ours: MSST's, and those whose keys derive from the paper's.

Keys are recognised anywhere in the file. Those with a counterpart here are renamed; the others are listed with the
reason, all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from apollo.data.degradation import FORMATS
from apollo.errors import ConfigError, near_misses

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
# What needs more than another name.
OTHERS = (
    "sample_rate",
    "chunk_size",
    "use_amp",
    "optimizer",
    "patience",
    "reduce_factor",
    "num_samples",
    "codec_type",
    "codec_options",
    "codec_formats",
    "codec_weights",
    "bitrates",
    "r1_gamma",
    "r1_every",
    "output_mode",
    "ema_warmup",
    "clip_prob",
    "tf32",
)

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
# The same blocks and codecs under other names.
BLOCKS = {
    "data": "datas",
    "dataset": "datas",
    "generator": "model",
    "optimizer": "optimizer_g",
    "scheduler": "scheduler_g",
}
OTHER_FORMATS = {
    "m4a": "aac",
    "ogg": "vorbis",
    "libvorbis": "vorbis",
    "libmp3lame": "mp3",
    "libopus": "opus",
    "wmav2": "wma",
}
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "radam": "RAdam", "nadam": "NAdam", "rmsprop": "RMSprop", "sgd": "SGD"}
OUTPUTS = {"direct": "direct", "mapping": "direct", "spectrum": "direct", "residual": "residual"}


@dataclass
class Conversion:
    """A configuration in our keys, and what of the other did not get into it."""

    config: dict[str, Any]  # keys and values, interpolations as they stand
    passed_over: dict[str, list[str]] = field(default_factory=dict)  # reasons, and the keys that each holds for

    def put(self, key: str, value: Any) -> None:
        """Set a value under a dotted key."""
        block = self.config
        *parents, last = key.split(".")
        for parent in parents:
            if not isinstance(block.get(parent), dict):
                block[parent] = {}
            block = block[parent]
        block[last] = value

    def pass_over(self, key: str, reason: str) -> None:
        """Note that a key is not used."""
        self.passed_over.setdefault(reason, []).append(key)

    def lines(self) -> list[str]:
        """What is passed over, a reason a line."""
        return [f"{', '.join(keys)}: {reason}" for reason, keys in self.passed_over.items()]


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
    _compute(reader.found, reader.result)
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
            if name in own:
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
                near = near_misses(name, self.known)
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


def _compute(found: Mapping[str, tuple[str, Any]], result: Conversion) -> None:
    """Put what needs more than another name."""
    config = result.config

    def given(name: str) -> Any:
        return found[name][1] if name in found else None

    if "sample_rate" in found:
        for block in ("datas", "model"):
            config[block]["sr"] = given("sample_rate")
    if "chunk_size" in found:
        config["datas"]["segments"] = round(
            _number(found["chunk_size"]) / _number(("datas.sr", config["datas"]["sr"])), 6
        )
    if "use_amp" in found:
        config["trainer"]["precision"] = 16 if given("use_amp") else 32
    if config["system"].get("clip") == 0:
        config["system"]["clip"] = float("inf")  # 0 means that nothing is clipped there
    if "optimizer" in found:
        _optimizer(found, result)
    if "patience" in found or "reduce_factor" in found:
        plateau = {"patience": given("patience"), "factor": given("reduce_factor")}
        for side in ("scheduler_g", "scheduler_d"):
            config[side] = {
                "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                **{key: value for key, value in plateau.items() if value is not None},
            }
    if "num_samples" in found:
        batch = max(1, int(_number(("datas.batch_size", config["datas"]["batch_size"]))))
        config["datas"]["num_steps"] = max(1, int(_number(found["num_samples"])) // batch)
    if isinstance(given("codec_options"), Mapping):
        for name, value in given("codec_options").items():
            result.put(f"datas.codec.options.{name}", value)
    if {"codec_type", "codec_formats", "codec_weights"} & found.keys():
        _formats(found, result)
    if "bitrates" in found:
        result.put("datas.codec.options.bitrate", _bitrates(found["bitrates"], result))
    if "r1_every" in found:
        result.put("loss_d.r1", {"weight": given("r1_gamma") or 0, "every": given("r1_every")})
    elif "r1_gamma" in found:
        config["loss_d"]["r1"] = given("r1_gamma")
    if "output_mode" in found:
        path, mode = found["output_mode"]
        if str(mode) in OUTPUTS:
            config["model"]["output"] = OUTPUTS[str(mode)]
        else:
            result.pass_over(f"{path}={mode}", "networks here estimate the spectrum itself, or a residual")
    if given("clip_prob"):
        result.put("datas.codec.options.clipping", {"probability": given("clip_prob"), "level": [-12, -1]})
    if given("tf32"):
        config["system"]["matmul_precision"] = "high"
    if given("ema_warmup"):
        if "ema" in config:
            config["ema"]["warmup"] = True
        else:
            result.pass_over(found["ema_warmup"][0], "there is no average to warm up without ema_decay")


def _optimizer(found: Mapping[str, tuple[str, Any]], result: Conversion) -> None:
    path, name = found["optimizer"]
    if made := OPTIMIZERS.get(str(name).lower()):
        result.config["optimizer_g"]["_target_"] = f"torch.optim.{made}"
        return
    result.config["optimizer_g"]["lr"] = 0.001
    keys = [f"{path}={name}", *([found["lr"][0]] if "lr" in found else [])]
    result.pass_over(", ".join(keys), "does not exist here; AdamW with lr 0.001 is used")


def _formats(found: Mapping[str, tuple[str, Any]], result: Conversion) -> None:
    path, names = found.get("codec_formats") or found.get("codec_type") or ("codec_formats", None)
    at, weights = found.get("codec_weights", ("codec_weights", None))
    if isinstance(names, Mapping):
        names, weights = list(names), names
    if names is None and isinstance(weights, Mapping):
        names = list(weights)
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path} must be a list of codecs, not {names!r}")
    shares = [weights.get(name, 0) for name in names] if isinstance(weights, Mapping) else weights or [1] * len(names)
    if not isinstance(shares, list) or len(shares) != len(names):
        raise ConfigError(f"{at} must have a number for each of {path}, not {weights!r}")
    formats: dict[str, float] = {}
    for name, share in zip(names, shares, strict=True):
        ours = OTHER_FORMATS.get(name.lower(), name.lower())
        if ours not in FORMATS:
            result.pass_over(f"{path}={name}", f"not a codec here: known are {', '.join(FORMATS)}")
        elif share:
            formats[ours] = formats.get(ours, 0) + _number((at, share))
    result.put("datas.codec.options.formats", formats)


def _bitrates(given: tuple[str, Any], result: Conversion) -> Any:
    """Bitrates in kbit/s → bit/s; those of several codecs become one list."""
    path, value = given
    if isinstance(value, Mapping) and any(isinstance(each, list) for each in value.values()):
        result.pass_over(path, "bitrates by codec become one list: each codec takes the nearest that it has")
        lists = [each if isinstance(each, list) else [each] for each in value.values()]
        return sorted({_in_bits(path, rate) for each in lists for rate in each})
    if isinstance(value, Mapping):
        return {_in_bits(path, rate): share for rate, share in value.items()}
    if isinstance(value, list):
        return [_in_bits(path, rate) for rate in value]
    return value if value == "random" else _in_bits(path, value)


def _in_bits(path: str, rate: Any) -> int:
    if isinstance(rate, str) and rate.lower().rstrip("k").isdecimal():
        rate = int(rate.lower().rstrip("k"))
    kilobits = _number((path, rate))
    return round(1000 * kilobits if kilobits < 1000 else kilobits)


def _number(given: tuple[str, Any]) -> float:
    path, value = given
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1e12:
        raise ConfigError(f"{path} must be a number above 0, not {value!r}")
    return float(value)
