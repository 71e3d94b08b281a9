"""How something was restored: in the tags of a result, and in the settings that reports state.

Tags tell a result from an original in ten years' time, and tell a second run whether it would give the same.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from apollo import __version__
from apollo.audio import AudioInfo, Metadata, read_metadata
from apollo.audio.metadata import RESULT_TAGS
from apollo.errors import AudioFileError
from apollo.nn import Apollo
from apollo.restoration.engine import Restorer
from apollo.restoration.output import Output

PREFIX = "restored_"


@dataclass(frozen=True)
class Provenance:
    """What the tags of a result say."""

    by: str  # the program and its version
    model: str  # the model's name, if known, and its fingerprint in brackets
    options: str  # the options that change the sound
    source: str = ""  # codec and bitrate of the source

    @classmethod
    def of(cls, restorer: Restorer, output: Output, name: str = "", track: int | None = None) -> Provenance:
        """What results of a restorer say; of a model given by its path, only the file's name is used."""
        blend = restorer.blend
        options = {
            "fill": f"{restorer.fill:g}",
            "mix": f"{blend.mix:g}",
            "keep-below": "no" if blend.keep_below is None else f"{blend.keep_below:g}",
            "bits": output.bits or "auto",
            "sample-rate": str(output.sample_rate or "auto"),
            "clip": output.clip,
            **({} if track is None else {"track": f"{track}"}),
            **({"match-loudness": "yes"} if output.match_loudness else {}),
        }
        mark = f"({fingerprint(restorer.model)})"
        model = f"{Path(name).name} {mark}" if name else mark
        return cls(f"Apollo {__version__}", model, " ".join(f"{key}={value}" for key, value in options.items()))

    @classmethod
    def read(cls, path: Path) -> Provenance | None:
        """Read the tags of a file; None if they do not say that it is a result."""
        with suppress(AudioFileError):
            tags = read_metadata(path).joined
            if tags.keys() >= RESULT_TAGS:
                return cls(*(tags.get(f"{PREFIX}{key}", "") for key in ("by", "model", "options", "from")))
        return None

    def on(self, metadata: Metadata, source: AudioInfo) -> Metadata:
        """The metadata of a source with the result's tags added."""
        values = {"by": self.by, "model": self.model, "options": self.options, "from": coding(source)}
        return metadata.with_tags({f"{PREFIX}{key}": [value] for key, value in values.items()})

    def is_like(self, other: Provenance) -> bool:
        """Whether the same was done: the same weights, by any name, and the same options."""
        return self.model.split()[-1:] == other.model.split()[-1:] and self.options == other.options

    def __str__(self) -> str:
        return f"model {self.model}, {self.options}"


@dataclass(frozen=True)
class Settings:
    """What a restorer was given, and what it has chosen itself."""

    model_fingerprint: str  # the same for the same network with the same weights
    device: str  # as PyTorch calls it
    precision: str  # `"32"`, `"bf16"` or `"16"`
    chunk_seconds: float  # seconds restored at once
    batch: int | None  # channels restored at once; None is all
    compiled: bool  # whether the network is compiled
    fill: float  # as for `Restorer`, like `mix` and `keep_below`
    mix: float
    keep_below: float | None

    @classmethod
    def of(cls, restorer: Restorer) -> Settings:
        """The settings of a restorer."""
        return cls(
            fingerprint(restorer.model),
            str(restorer.device),
            restorer.precision,
            restorer.chunk_seconds,
            restorer.batch,
            restorer.compiled,
            restorer.fill,
            restorer.blend.mix,
            restorer.blend.keep_below,
        )


def coding(source: AudioInfo) -> str:
    """Codec and bitrate of a file, such as "mp3 at 128 kbit/s"."""
    return f"{source.codec} at {source.bitrate / 1000:.0f} kbit/s" if source.bitrate else source.codec


def fingerprint(model: Apollo) -> str:
    """A hash of a network's options and weights, the same on every device."""
    digest = sha256(repr(sorted(model.config.items())).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
