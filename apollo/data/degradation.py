"""The damage that training teaches to undo: codecs with settings drawn for every crop or file.

What is drawn is data, a `Degradation`, so that it can be written down beside what it was done to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from apollo.audio.bitrates import nearest_bitrate
from apollo.audio.codecs import coded
from apollo.audio.encodings import CODECS, COMPRESSION_LEVEL, OLDER, VBR_QUALITIES, Encoding
from apollo.audio.signal import Signal, recut
from apollo.data.kinds import require_number

FORMATS = (*CODECS, *OLDER)
BITRATES = (24000, 32000, 48000, 64000, 96000, 128000)

Waveform = npt.NDArray[np.float32]

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Degradation:
    """All that is done to a waveform, in this order."""

    lowpass: float | None  # frequency in Hz of a low-pass before the first codec, or None
    encodings: tuple[Encoding, ...]  # the codecs that it goes through, one after the other; none leaves it undamaged
    clip: float | None = None  # level in dB below its own peak that it is cut off at before the first codec, or None

    def as_dict(self) -> dict[str, Any]:
        """The same in what JSON knows, without what does not apply."""
        encodings = [{key: value for key, value in asdict(e).items() if value is not None} for e in self.encodings]
        clip = {} if self.clip is None else {"clip": self.clip}
        return {"lowpass": self.lowpass, **clip, "encodings": encodings}


class RandomCodec:
    """Puts waveforms through codecs whose settings are drawn again each time, MP3 alone unless `formats` says more.

    A bitrate that the format drawn does not have becomes the nearest that it does have for as many channels (see
    `apollo.audio.bitrates.nearest_bitrate`): Vorbis in stereo turns 8 kbit/s into the least that it can.

    What is drawn depends on the generator alone, in this order, and on whether an option is in use, never on how the
    draws before came out: the bitrate (unless fixed); the format (if there are several); for `compression` as a mapping
    its probability and level; for `vbr` its probability and quality; for `stereo: random` the mode; with `double` its
    probability and all of the above for the first codec; for `lowpass` its probability and frequency; for `clipping`
    its probability and level; with `undamaged` its probability.

    Args:
        sample_rate: Of the waveforms, in Hz.
        bitrate: In bit/s, such as 64000; several to choose from, as a list or with their weights:
            `{24000: 2, 64000: 1}`; or `"random"` for one of `BITRATES`.
        compression: LAME's quality from 0 (best, slow) to 9 (all above counts as 9: published configurations give
            kbit/s here); `"random"` for the fast one that training can afford; or
            `{probability: 0.5, level: [0, 9]}` for any of these as often, else the fast one.
        formats: Names in `FORMATS` as a list, or with their weights: `{mp3: 1, aac: 0.5}`.
        vbr: `{probability: 0.3, quality: [0, 9]}` makes that share of MP3s variable, with LAME's `-V` in this range.
        stereo: How MP3 codes two channels: "joint" as LAME sees fit, "separate", or "random" for one or the other.
        lowpass: `{probability: 0.5, frequency: [12000, 16000]}` first takes away what lies above a frequency in Hz.
        double: Share of waveforms that go through a first codec before the second, each with settings of its own.
        clipping: `{probability: 0.2, level: [-12, -1]}` first cuts off what exceeds a level, in dB against the peak.
        undamaged: Share of waveforms that nothing is done to, so that a network learns to leave what is good alone.

    Raises:
        ValueError: If an option is not among these.
    """

    def __init__(
        self,
        sample_rate: int,
        bitrate: int | Sequence[int] | Mapping[int, float] | Literal["random"] = "random",
        compression: int | Mapping[str, Any] | Literal["random"] = "random",
        *,
        formats: Sequence[str] | Mapping[str, float] = ("mp3",),
        vbr: Mapping[str, Any] | None = None,
        stereo: Literal["joint", "separate", "random"] = "joint",
        lowpass: Mapping[str, Any] | None = None,
        double: float = 0.0,
        clipping: Mapping[str, Any] | None = None,
        undamaged: float = 0.0,
    ) -> None:
        self.sample_rate = sample_rate
        self.formats, self.weights = _formats(formats)
        self.bitrate_weights = None
        if isinstance(bitrate, Mapping):
            shares = _weights("bitrate", bitrate)
            bitrate, self.bitrate_weights = list(shares), list(shares.values())
        self.bitrates = _bitrates(bitrate, self.formats)
        self.compression: int | _Sometimes = COMPRESSION_LEVEL
        if isinstance(compression, Mapping):
            self.compression = _sometimes("compression", compression, "level", 0, 9, whole=True)
        elif _is_whole(compression) and int(compression) >= 0:
            self.compression = min(int(compression), 9)
        elif compression != "random":
            raise ValueError(
                f"compression must be 'random', a whole number from 0, or {{probability, level}}, not {compression!r}"
            )
        self.vbr = None if vbr is None else _sometimes("vbr", vbr, "quality", *VBR_QUALITIES["mp3"])
        if stereo not in ("joint", "separate", "random"):
            raise ValueError(f"stereo must be 'joint', 'separate' or 'random', not {stereo!r}")
        self.stereo = stereo
        for name, used in (("vbr", vbr is not None), ("stereo", stereo != "joint")):
            if used and "mp3" not in self.formats:
                raise ValueError(f"{name} is a mode of LAME and needs mp3 among formats, which are {self.formats}")
        self.lowpass = None if lowpass is None else _sometimes("lowpass", lowpass, "frequency", 20, 1_000_000)
        self.double = require_number("double", double, 0, 1)
        self.clipping = None if clipping is None else _sometimes("clipping", clipping, "level", -60, 0)
        self.undamaged = require_number("undamaged", undamaged, 0, 1)

    def __call__(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        """Encode and decode `(channels, samples)`; the result is aligned and as long."""
        return self.apply(waveform, self.choose(rng, len(waveform)))

    def choose(self, rng: np.random.Generator, channels: int = 2) -> Degradation:
        """Draw what to do to a waveform with so many channels."""
        encodings: tuple[Encoding, ...] = (self._encoding(rng, channels),)
        if self.double:
            twice, first = rng.random() < self.double, self._encoding(rng, channels)
            encodings = (first, *encodings) if twice else encodings
        lowpass = None if self.lowpass is None else self.lowpass.draw(rng)
        clip = None if self.clipping is None else self.clipping.draw(rng)
        if self.undamaged and rng.random() < self.undamaged:
            return Degradation(None, ())
        return Degradation(lowpass, encodings, clip)

    def apply(self, waveform: Waveform, degradation: Degradation) -> Waveform:
        """Do what was chosen to `(channels, samples)`; see `degraded`."""
        return np.ascontiguousarray(degraded(Signal.of_array(waveform, self.sample_rate), degradation).array())

    def _encoding(self, rng: np.random.Generator, channels: int) -> Encoding:
        bitrate = self.bitrates[0]
        if len(self.bitrates) > 1:
            bitrate = int(rng.choice(self.bitrates, p=self.bitrate_weights))
        codec = self.formats[0]
        if len(self.formats) > 1:
            codec = self.formats[rng.choice(len(self.formats), p=self.weights)]
        level: float | None = self.compression if isinstance(self.compression, int) else self.compression.draw(rng)
        quality = None if self.vbr is None else self.vbr.draw(rng)
        joint = rng.random() < 0.5 if self.stereo == "random" else self.stereo == "joint"
        if codec != "mp3":
            return Encoding(codec, nearest_bitrate(codec, bitrate, min(channels, 2)))
        return Encoding(
            codec,
            nearest_bitrate(codec, bitrate, min(channels, 2)) if quality is None else None,
            quality,
            COMPRESSION_LEVEL if level is None else int(level),
            ("joint" if joint else "separate") if channels > 1 else None,
        )


def degraded(signal: Signal, degradation: Degradation) -> Signal:
    """A signal after what was chosen for it; the result is aligned and as long.

    More than two channels are coded pair by pair, and the last of an odd number by itself, at the same bitrate. Reading
    it raises ApolloError if samples are not finite.
    """
    pairs = [_degraded(signal[first : first + 2], degradation) for first in range(0, signal.channels, 2)]
    if len(pairs) == 1:
        return pairs[0]

    def read() -> Iterator[Waveform]:
        streams = (recut(pair.blocks(), _BLOCK) for pair in pairs)
        return (np.concatenate(parts) for parts in zip(*streams, strict=True))

    return replace(pairs[0], channels=signal.channels, blocks=read)


def _degraded(signal: Signal, degradation: Degradation) -> Signal:
    if degradation.lowpass is not None:
        signal = signal.low_passed(degradation.lowpass)
    if degradation.clip is not None:
        signal = _clipped(signal, 10 ** (degradation.clip / 20))
    for encoding in degradation.encodings:
        if encoding.bitrate is not None:
            bitrate = nearest_bitrate(encoding.codec, encoding.bitrate, signal.channels)
            encoding = replace(encoding, bitrate=bitrate)
        signal = coded(signal, encoding)
    return signal


def _clipped(signal: Signal, share: float) -> Signal:
    """A signal cut off at a share of its peak."""

    def read() -> Iterator[Waveform]:
        ceiling = np.float32(share * max(signal.measure()[0]))
        return (np.clip(block, -ceiling, ceiling) for block in signal.blocks())

    return replace(signal, blocks=read)


@dataclass(frozen=True)
class _Sometimes:
    """A value from a range, with a probability."""

    probability: float
    low: float
    high: float
    whole: bool

    def draw(self, rng: np.random.Generator) -> float | None:
        """Draw the value, or None; it takes two draws either way."""
        used = rng.random() < self.probability
        if self.whole:
            value = float(rng.integers(int(self.low), int(self.high), endpoint=True))
        else:
            value = float(rng.uniform(self.low, self.high))
        return value if used else None


def _formats(formats: Sequence[str] | Mapping[str, float]) -> tuple[list[str], list[float]]:
    """The names and their shares."""
    weights = dict(formats) if isinstance(formats, Mapping) else {}
    if isinstance(formats, list | tuple):
        weights = {str(name): 1.0 for name in formats}
    if not weights or not all(name in FORMATS for name in weights):
        raise ValueError(
            f"formats must be a list of {', '.join(FORMATS)}, or weights from 0 for some of them, not {formats!r}"
        )
    used = _weights("formats", weights)
    return list(used), list(used.values())


def _weights(option: str, given: Mapping[Any, Any]) -> dict[Any, float]:
    """Weights as shares of one; those of 0 are left out."""
    if not all(_is_number(weight) and weight >= 0 for weight in given.values()) or not sum(given.values()):
        raise ValueError(f"{option} must be weights from 0, at least one of them above it, not {dict(given)!r}")
    total = sum(given.values())
    return {name: float(weight) / total for name, weight in given.items() if weight}


def _bitrates(bitrate: int | Sequence[int] | str, formats: Sequence[str]) -> list[int]:
    """The bitrates to choose from."""
    if bitrate == "random":
        return list(BITRATES)
    choices: list[Any] = list(bitrate) if isinstance(bitrate, list | tuple) else [bitrate]
    if not choices or not all(_is_whole(choice) and choice >= 1000 for choice in choices):
        raise ValueError(
            f"bitrate must be 'random' or a whole number of bit/s such as 64000, or a list of them, not {bitrate!r}"
        )
    for choice in choices:
        nearest = {nearest_bitrate(codec, choice, channels) for codec in formats for channels in (1, 2)}
        if choice not in nearest:
            raise ValueError(
                f"bitrate {choice} is not possible with {', '.join(formats)}: the nearest is "
                f"{min(nearest, key=lambda known: abs(known - choice))} bit/s"
            )
    return [int(choice) for choice in choices]


def _sometimes(
    option: str, given: Mapping[str, Any], name: str, lowest: float, highest: float, whole: bool = False
) -> _Sometimes:
    values = given.get(name) if isinstance(given, Mapping) and set(given) == {"probability", name} else None
    if not isinstance(values, list | tuple) or len(values) != 2:
        raise ValueError(f"{option} must be {{probability: 0 to 1, {name}: [lowest, highest]}}, not {given!r}")
    low, high = values
    kind = _is_whole if whole else _is_number
    if not (kind(low) and kind(high) and lowest <= low <= high <= highest):
        raise ValueError(
            f"{option}.{name} must be two {'whole ' if whole else ''}numbers from {lowest:g} to {highest:g}, the lower "
            f"first, not {values!r}"
        )
    return _Sometimes(require_number(f"{option}.probability", given["probability"], 0, 1), low, high, whole)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
