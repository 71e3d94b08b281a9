"""What a lossy codec can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apollo.errors import ApolloError

Stereo = Literal["joint", "separate"]

CODECS = ("mp3", "aac", "opus", "vorbis")
OLDER = ("mp2", "ac3", "wma")  # old formats of music, for training
COMPRESSION_LEVEL = 7  # of LAME: two thirds of the time that its own default, 3, takes

# The scales of quality that variable bitrates are asked for by: LAME's -V, from best to worst; FFmpeg's -q:a for AAC
# and oggenc's -q, from worst to best. Opus has none: its bitrate is variable around the one asked for.
VBR_QUALITIES = {"mp3": (0.0, 9.0), "aac": (0.1, 2.0), "vorbis": (0.0, 10.0)}


@dataclass(frozen=True)
class Encoding:
    """One way through a codec; what does not apply to it is None.

    Raises:
        ApolloError: If the codec cannot do what is asked; the message names what it can do.
    """

    codec: str = "mp3"  # one of `CODECS` or `OLDER`
    # In bit/s, both channels together, where it is not variable. MP3 is coded at exactly this constant rate; the others
    # aim at it.
    bitrate: int | None = None
    vbr_quality: float | None = None  # where it is, the quality on the codec's own scale, see `VBR_QUALITIES`
    # LAME's `-q`, from 0 (best) to 9 (fastest), for MP3 only; None is `COMPRESSION_LEVEL`.
    compression_level: int | None = None
    # How MP3 codes two channels: "joint", as when nothing is given, lets LAME choose between left and right and middle
    # and side for every frame; "separate" keeps it to left and right.
    stereo: Stereo | None = None

    def __post_init__(self) -> None:
        codec, level, quality = self.codec, self.compression_level, self.vbr_quality
        if codec not in (*CODECS, *OLDER):
            raise ApolloError(f"Unknown codec {codec!r}; choose one of: {', '.join((*CODECS, *OLDER))}.")
        if self.bitrate is None and quality is None:
            raise ApolloError(f"{codec} needs a bitrate in bit/s, or vbr_quality for a variable one.")
        if level is not None and codec != "mp3":
            raise ApolloError(
                f"compression_level is LAME's quality and works only with codec 'mp3'; leave it out for {codec!r}."
            )
        if level is not None and not 0 <= level <= 9:
            raise ApolloError(f"compression_level is {level}, but LAME knows 0 (best) to 9 (fastest).")
        if self.stereo is not None and codec != "mp3":
            raise ApolloError(f"stereo is a mode of LAME and works only with codec 'mp3'; leave it out for {codec!r}.")
        if self.stereo not in (None, "joint", "separate"):
            raise ApolloError(f"stereo is {self.stereo!r}, but LAME can do 'joint' or 'separate'.")
        if quality is not None:
            if codec not in VBR_QUALITIES:
                raise ApolloError(
                    f"{codec} has no quality scale: its bitrate always varies around the one you ask for."
                )
            lowest, highest = VBR_QUALITIES[codec]
            if not lowest <= quality <= highest:
                raise ApolloError(f"vbr_quality is {quality}, but {codec} knows {lowest:g} to {highest:g}.")
