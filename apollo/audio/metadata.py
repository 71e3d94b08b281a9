"""What an audio file says of itself: container, codec, and tags in one set of names for all formats."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import soundfile
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from apollo.audio.containers import audio_track, open_container
from apollo.audio.libsndfile import open_soundfile
from apollo.audio.tags.reading import read_metadata

RESULT_TAGS = frozenset({"restored_by", "restored_model"})  # of a file that Apollo restored

_CONTAINERS = {"mov": "mp4", "asf": "wma"}
_LOSSLESS = re.compile(r"pcm_.*|flac|alac|wavpack|ape|tta|truehd|mlp|adpcm_.*|shorten|als|dsd_.*")


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself."""

    sample_rate: int  # in Hz
    channels: int
    frames: int | None  # samples a channel; None where only decoding would tell
    # Title, artist and the like, by lower-case name: title, artist, album, album_artist, date, track, disc, genre,
    # composer, comment, lyrics and so on (`apollo.audio.tags.names`); others under their own names. Several values have
    # "; " between them; `read_metadata` gives them apart.
    tags: dict[str, str] = field(default_factory=dict)
    container: str = ""  # what holds the sound: "flac", "wav", "mp3", "mp4", "ogg", "aiff" and so on
    codec: str = ""  # what codes it, by FFmpeg's name: "flac", "pcm_s24le", "mp3", "aac", "opus", "vorbis" and so on
    bitrate: int | None = None  # in bit/s, on average; None where it is not known
    bits: int | None = None  # of a sample, for a lossless codec; None for others and where it is not known
    encoder: str | None = None  # the program that made it, as far as it left its name
    tags_encoding: str | None = None  # the code page that tags were read in by a guess, since the file does not tell it

    @property
    def lossy(self) -> bool:
        """Whether the codec is one that throws sound away."""
        return bool(self.codec) and not _LOSSLESS.fullmatch(self.codec)

    @property
    def restored(self) -> bool:
        """Whether its tags say that Apollo has restored it."""
        return self.tags.keys() >= RESULT_TAGS


def describe(path: Path, sample_rate: int, channels: int, frames: int | None, track: int | None = None) -> AudioInfo:
    """What a file says of itself beyond what reading it has shown already."""
    held = read_metadata(path)
    with ExitStack() as files:
        try:
            container = files.enter_context(open_container(path))
        except (av.FFmpegError, ValueError, OSError):
            return _described_by_libsndfile(path, sample_rate, channels, frames)
        stream = audio_track(container, path, track)
        if stream is None:
            return _described_by_libsndfile(path, sample_rate, channels, frames)
        raw = {**container.metadata, **stream.metadata}
        codec = stream.codec_context.codec.canonical_name
        name = container.format.name.split(",")[0]
        encoder = next((text for key, text in raw.items() if key.lower() == "encoder"), None)
        return AudioInfo(
            sample_rate,
            channels,
            frames,
            held.joined,
            _CONTAINERS.get(name, name),
            codec,
            _bitrate(container, stream),
            _bits(codec, stream, path) if _LOSSLESS.fullmatch(codec) else None,
            encoder or None,
            held.encoding,
        )


def _bitrate(container: InputContainer, stream: AudioStream) -> int | None:
    if stream.bit_rate:
        return stream.bit_rate
    if not container.duration or container.size <= 0:
        return None
    covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
    if len(covers) + 1 < len(container.streams):
        return None
    pictures = sum(next((packet.size for packet in container.demux(cover)), 0) for cover in covers)
    held = pictures * 4 // 3 if container.format.name == "ogg" else pictures  # as text, in base64
    return round(8 * max(0, container.size - held) * av.time_base / container.duration) or None


def _bits(codec: str, stream: AudioStream, path: Path) -> int | None:
    told = codec if codec.startswith("pcm_") else ""
    if codec == "flac":  # FFmpeg has the same name for 24 bits and 20
        with suppress(soundfile.LibsndfileError, TypeError), open_soundfile(path) as file:
            told = file.subtype
    if digits := re.search(r"\d+", told):
        return int(digits[0])
    return {"s16": 16, "s16p": 16, "s32": 24, "s32p": 24}.get(stream.codec_context.format.name)


def _described_by_libsndfile(path: Path, sample_rate: int, channels: int, frames: int | None) -> AudioInfo:
    """For the few kinds that FFmpeg does not know."""
    try:
        with open_soundfile(path) as file:
            kind, subtype, tags = file.format.lower(), file.subtype.lower(), file.copy_metadata()
    except (soundfile.LibsndfileError, TypeError):
        return AudioInfo(sample_rate, channels, frames)
    digits = re.search(r"\d+", subtype)
    return AudioInfo(
        sample_rate,
        channels,
        frames,
        read_metadata(path).joined,
        kind,
        subtype if not subtype.startswith("pcm") else f"pcm_s{digits[0] if digits else ''}le",
        None,
        int(digits[0]) if digits else None,
        tags.get("software"),
    )
