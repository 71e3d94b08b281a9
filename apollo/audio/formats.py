"""The formats that audio is written in, and how FFmpeg is told so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True)
class Format:
    """How FFmpeg writes a format."""

    name: str  # as people call it
    muxer: str  # of the container
    # Encoder and its sample format by subtype; a lossy format has one, for any subtype.
    encoders: dict[str, tuple[str, str]]
    channels: Collection[int] = range(1, 9)  # how many it can hold
    cover: str | None = "stream"  # how a picture gets in: as a stream, as a tag, or not at all
    options: dict[str, str] = field(default_factory=dict)  # for the muxer
    codec: str | None = None  # of a lossy format, its name in `apollo.audio.codecs`
    bitrate: int = 0  # of a lossy format, in bit/s for each channel, unless that is more than it can do


KNOWN_FORMATS = {
    "flac": Format("FLAC", "flac", {"PCM_16": ("flac", "s16"), "PCM_24": ("flac", "s32")}),
    "wav": Format(
        "WAV",
        "wav",
        {"PCM_16": ("pcm_s16le", "s16"), "PCM_24": ("pcm_s24le", "s32"), "FLOAT": ("pcm_f32le", "flt")},
        channels=range(1, 1025),
        cover=None,
        options={"rf64": "auto"},  # what is longer than the 4 GiB that the header of a WAV can tell
    ),
    "mp3": Format("MP3", "mp3", {"": ("libmp3lame", "fltp")}, channels=(1, 2), codec="mp3", bitrate=320_000),
    "m4a": Format("M4A", "mp4", {"": ("aac", "fltp")}, options={"brand": "M4A "}, codec="aac", bitrate=128_000),
    # Of five channels and of seven, FFmpeg 8 and before mix up which is which.
    "opus": Format(
        "Opus", "opus", {"": ("libopus", "flt")}, (1, 2, 3, 4, 6, 8), cover="tag", codec="opus", bitrate=96_000
    ),
}
WRITTEN_SUFFIXES = {f".{name}": name for name in KNOWN_FORMATS} | {".ogg": "opus"}

FORMATS = tuple(KNOWN_FORMATS)


def layout_of(channels: int) -> str:
    """FFmpeg's name for the usual places of so many channels."""
    return _LAYOUTS.get(channels, f"{channels} channels")
