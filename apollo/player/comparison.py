"""Two recordings of one piece of music made ready for the player, in memory that does not depend on their length."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from apollo.atomic import temporary_folder
from apollo.audio import relate, resampled_length, write
from apollo.audio.inspection import Inspection, inspect
from apollo.audio.signal import Block, Signal, recut
from apollo.errors import AudioFileError
from apollo.player.element import Sound, element
from apollo.player.tiles import Spectrogram, long_term, reference_power, tiles, top_frequency

Keep = Callable[[str, bytes], str]
"""Keeps a file, given its kind such as `image/png`, and tells the address it has in the page."""

CHUNK = 10  # seconds
LOSSLESS_SECONDS = 300.0  # of stereo
OPUS_BITRATE = 96_000
LEAD = 0.1  # seconds: what Opus needs to get going

_EQUAL_DB = 0.1  # what is nearer in level counts as equal


@dataclass(frozen=True)
class Compared:
    """Two recordings, ready to be heard and seen."""

    player: str  # HTML
    seconds: float  # what both have in common
    lossless: bool  # whether what is heard are their samples, rounded to 16 bits


def compare(
    before: Inspection,
    after: Inspection,
    keep: Keep,
    names: tuple[str, str, str] = ("before", "after", "difference"),
    *,
    light: bool = False,
    gain_db: float | None = None,
) -> Compared:
    """Cut two recordings into chunks that stay in step, and draw them and their difference.

    Args:
        before: The recording that the other one is compared with.
        after: The other, of the same music.
        keep: Takes each file that the page needs.
        names: What to call the two and their difference.
        light: Whether sound of more than five minutes may be coded (Opus of 96 kbit/s), so that a page of hours can be
            carried about.
        gain_db: By how much the second is louder, where it is known to be in step with the first; None has both found
            out.

    Raises:
        AudioFileError: One of them cannot be read, or they are not recordings of the same music.
    """
    rate = max(before.info.sample_rate, after.info.sample_rate)
    channels = max(before.info.channels, after.info.channels)
    lag, gain_db = _relation(before, after, rate) if gain_db is None else (0, gain_db)
    lengths = [resampled_length(item.levels.frames, item.info.sample_rate, rate) for item in (before, after)]
    starts = (max(0, -lag), max(0, lag))
    samples = min(length - start for length, start in zip(lengths, starts, strict=True))
    if samples < 1:
        raise AudioFileError(
            f"{before.path} and {after.path} do not overlap in time: give two versions of one recording"
        )
    chunk = CHUNK * rate
    lossless = not light or samples * channels <= LOSSLESS_SECONDS * 2 * rate
    peak = max(10 ** ((item.levels.peak_db or -math.inf) / 20) for item in (before, after))
    scale = np.float32(1 / max(1.0, peak))
    level = 10 ** (-gain_db / 20) if abs(gain_db) >= _EQUAL_DB else 1.0
    pictures = [Spectrogram(samples, rate) for _ in range(3)]
    encoders = [_Encoder(rate, lossless, keep) for _ in range(2)]
    streams = [
        recut(
            Signal.of_file(item.path).resampled(rate).between(start, start + samples).in_channels(channels).blocks(),
            chunk,
        )
        for item, start in zip((before, after), starts, strict=True)
    ]
    for first, second in zip(*streams, strict=True):
        for encoder, block in zip(encoders, (first, second), strict=True):
            encoder.take(block * scale)
        for picture, block in zip(pictures, (first, second, second * np.float32(level) - first), strict=True):
            picture.take(block)
    for picture in pictures:
        picture.end()
    powers = [picture.power for picture in pictures]
    reference = reference_power(powers[0])
    gains = _equal_loudness(before, after)
    drawn = [[keep("image/png", tile) for tile in tiles(power, reference)] for power in powers]
    columns = powers[0].shape[1]
    sounds = [
        Sound(
            name,
            encoder.chunks,
            addresses,
            columns,
            gain,
            factor,
            item.bandwidth.cutoff_hz if item.levels.peak_db is not None else None,
            long_term(power),
            note(item),
        )
        for name, encoder, addresses, gain, factor, item, power in zip(
            names[:2], encoders, drawn[:2], gains, (1.0, level), (before, after), powers[:2], strict=True
        )
    ]
    sounds.append(Sound(names[2], [], drawn[2], columns, spectrum=long_term(powers[2])))
    lead = 0 if lossless else round(LEAD * rate)
    player = element(sounds, rate, samples, top_frequency(rate), chunk, lead)
    return Compared(player, samples / rate, lossless)


def look_at(path: Path, progress: Callable[[float, float | None], None] = lambda done, total: None) -> Inspection:
    """Inspect a recording to be compared; raises AudioFileError if it is unreadable or holds what is no number."""
    found = inspect(path, progress)
    if not found.levels.finite:
        raise AudioFileError(f"{path} contains NaN or infinite samples: give another file")
    return found


def note(item: Inspection) -> str:
    """What a recording is, in one line."""
    info = item.info
    bitrate = f", {info.bitrate / 1000:.0f} kbit/s" if info.bitrate and info.lossy else ""
    channels = {1: ", mono", 2: ", stereo"}.get(info.channels, f", {info.channels} channels")
    history = f", {item.verdict.history}" if item.verdict.history and not info.lossy else ""
    loudness = f", {item.levels.loudness:.1f} LUFS".replace("-", "−") if item.levels.loudness is not None else ""
    return f"{info.codec}{bitrate}, {info.sample_rate} Hz{channels}{loudness}{history}"


def data_uri(kind: str, data: bytes) -> str:
    """A file within a page: a `Keep`."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _relation(before: Inspection, after: Inspection, rate: int) -> tuple[int, float]:
    """By how many samples at a rate the second is later, and by how many dB louder."""
    relation = relate(before.path, after.path)
    if math.isnan(relation.similarity):  # too short or too soft to tell
        return 0, 0.0
    if relation.problem is not None:
        raise AudioFileError(
            f"{before.path} and {after.path} cannot be compared: {relation.problem}; give two versions of one recording"
        )
    return round(relation.lag * rate / before.info.sample_rate), relation.gain_db


def _equal_loudness(before: Inspection, after: Inspection) -> tuple[float, float]:
    """Factors that turn the louder one down to the softer."""
    one, other = before.levels.loudness, after.levels.loudness
    if one is None or other is None:
        return 1.0, 1.0
    return 10 ** (min(0.0, other - one) / 20), 10 ** (min(0.0, one - other) / 20)


class _Encoder:
    """Makes each chunk a file of its own, which decodes to its very samples or, coded, joins the one before it."""

    def __init__(self, sample_rate: int, lossless: bool, keep: Keep) -> None:
        self.sample_rate = sample_rate
        self.lossless = lossless
        self.keep = keep
        self.chunks: list[str] = []
        self._before: Block | None = None

    def take(self, chunk: Block) -> None:
        if self.lossless:
            self.chunks.append(self.keep("audio/flac", flac(chunk, self.sample_rate)))
            return
        whole = chunk if self._before is None else np.concatenate([self._before, chunk], axis=1)
        self._before = chunk[:, chunk.shape[1] - round(LEAD * self.sample_rate) :]
        self.chunks.append(self.keep("audio/ogg", opus(whole, self.sample_rate)))


def flac(waveform: npt.NDArray[np.floating[Any]], sample_rate: int) -> bytes:
    """Encode `(channels, samples)` within ±1 as FLAC of 16 bits."""
    whole = np.clip(np.round(waveform.T * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    # 1.5 % larger than at 1, in a third of the time.
    soundfile.write(file, whole, sample_rate, format="FLAC", subtype="PCM_16", compression_level=0.2)
    return file.getvalue()


def opus(waveform: Block, sample_rate: int) -> bytes:
    """Encode `(channels, samples)` as Opus."""
    with temporary_folder() as folder:
        path = folder / "chunk.opus"
        write(path, waveform, sample_rate, bitrate=OPUS_BITRATE * max(1, len(waveform) // 2))
        return path.read_bytes()
