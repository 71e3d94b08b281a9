"""How restored sound is written: sample format, sample rate, and what happens to peaks beyond full scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from apollo.audio import FORMATS
from apollo.errors import ApolloError, nearest
from apollo.restoration.waveforms import as_rate
from apollo.storage import Place

BITS = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
CLIPS = ("scale", "clamp", "float")
LOSSY = ("mp3", "m4a", "opus")


@dataclass(frozen=True)
class Output:
    """How results are written. The name of the file gives its format.

    Raises:
        ApolloError: If a value is unknown, or two do not go together.
    """

    # `"16"`, `"24"` or, for WAV only, `"float"`; None is 24. Lossy formats have none.
    bits: str | None = None
    # In Hz; `"keep"` keeps the source's. None keeps it too, except that a source stored by a lossy codec at a rate
    # below the network's gets the network's, and with it its treble.
    sample_rate: int | Literal["keep"] | None = None
    # What to do if the restored sound exceeds full scale: `"scale"` lowers the volume of the whole recording, `"clamp"`
    # cuts the peaks off, `"float"` leaves them, in a WAV of float samples.
    clip: str = "scale"
    keep_times: bool = False  # whether the result gets the source's access and modification times
    match_loudness: bool = False  # whether the result gets the source's loudness (EBU R 128), as far as `clip` allows

    def __post_init__(self) -> None:
        if self.bits is not None and self.bits not in BITS:
            raise ApolloError(f"bits cannot be {self.bits!r}: {nearest(self.bits, BITS)}")
        if self.clip not in CLIPS:
            raise ApolloError(f"clip cannot be {self.clip!r}: {nearest(self.clip, CLIPS)}")
        if isinstance(self.sample_rate, int):
            as_rate(self.sample_rate)
        if self.clip == "float" and self.bits not in (None, "float"):
            raise ApolloError(f"clip 'float' needs float samples, not {self.bits} bits: leave one of the two out")

    def for_file(self, target: Place) -> Output:
        """The same with what the format of a file requires.

        Raises:
            ApolloError: If the format cannot hold it.
        """
        suffix = target.suffix.lower()
        if suffix == ".wav":
            return replace(self, bits="float") if self.clip == "float" else self
        if self.is_float:
            raise ApolloError(f"{target} cannot hold float samples: write WAV (--format wav)")
        if self.bits is not None and suffix != ".flac":
            raise ApolloError(f"{target} has a lossy format, which has no bits: leave them out, or write FLAC")
        return self

    def rate_for(self, sample_rate: int, network_rate: int, lossy: Callable[[], bool]) -> int:
        """The sample rate in Hz of a result; whether the source was lossily coded is asked only if that matters."""
        if self.sample_rate == "keep":
            return sample_rate
        if self.sample_rate is not None:
            return self.sample_rate
        return network_rate if sample_rate < network_rate and lossy() else sample_rate

    @property
    def is_float(self) -> bool:
        """Whether samples beyond full scale can be written as they are."""
        return self.bits == "float" or self.clip == "float"

    @property
    def subtype(self) -> str:
        """Sample format as `AudioWriter` names it."""
        return BITS["float" if self.is_float else self.bits or "24"]

    @property
    def scales(self) -> bool:
        """Whether the volume depends on the loudest sample of the whole recording."""
        return self.clip == "scale" and not self.is_float


def check_format(name: str) -> str:
    """Give the name of a format, or refuse one that cannot be written."""
    if name not in FORMATS:
        raise ApolloError(f"there is no format {name!r}: {nearest(name, FORMATS)}")
    return name
