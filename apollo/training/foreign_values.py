"""Values of other training codes that need more than another name here: computed, put together or looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apollo.data.degradation import FORMATS
from apollo.errors import ConfigError

# The keys of these values.
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

# Codecs, optimisers and outputs under other names.
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


def compute(found: Mapping[str, tuple[str, Any]], result: Conversion) -> None:
    """Put what the keys in `OTHERS` come to; `found` has path and value of each by its name. Raises ConfigError."""
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
