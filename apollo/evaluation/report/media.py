"""Clips as a web page holds them: lossless audio and spectrograms in data URIs.

A comparison must not go through a lossy codec once more, so the audio is FLAC of 16 bit. A clip is at most
`MAX_SECONDS` long; where all of them together exceed `MAX_BYTES`, all are cut to a common shorter length around their
middles. With about 30 kB for each picture and a third more for base64, a page with nine clips in three versions stays
below about 15 MB.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from apollo.evaluation.clips import Clip
from apollo.spectrograms.triptych import N_FFT, loudness, power_spectrogram

MAX_SECONDS = 6.0
MAX_BYTES = 9_500_000
PICTURE_SIZE = (440, 160)
MAX_FREQUENCY = 22_000.0
RANGE_DB = 90.0

Waveform = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Take:
    """One version of a clip.

    Attributes:
        audio: Data URI of a FLAC file.
        picture: Data URI of a PNG file: its spectrogram from 0 Hz to `top_frequency`.
    """

    audio: str
    picture: str


def takes(clips: Sequence[Clip]) -> list[tuple[Clip, list[Take]]]:
    """Each clip, shortened where it must be, with its original and then its versions encoded."""
    clips = [shortened(clip, MAX_SECONDS) for clip in clips]
    audio = [[flac(waveform, clip.sample_rate) for waveform in _levelled(clip)] for clip in clips]
    size = sum(len(data) for versions in audio for data in versions)
    if size > MAX_BYTES:
        longest = max(clip.original.shape[1] / clip.sample_rate for clip in clips)
        # 5 % less than in proportion: the remaining middles may be the loud parts.
        clips = [shortened(clip, 0.95 * longest * MAX_BYTES / size) for clip in clips]
        audio = [[flac(waveform, clip.sample_rate) for waveform in _levelled(clip)] for clip in clips]
    return [
        (
            clip,
            [
                Take(_data_uri("audio/flac", sound), _data_uri("image/png", picture))
                for sound, picture in zip(sounds, pictures(clip), strict=True)
            ],
        )
        for clip, sounds in zip(clips, audio, strict=True)
    ]


def shortened(clip: Clip, seconds: float) -> Clip:
    """The middle of a clip."""
    samples = clip.original.shape[1]
    keep = min(samples, max(1, int(seconds * clip.sample_rate)))
    first = (samples - keep) // 2
    return replace(
        clip,
        start=clip.start + first / clip.sample_rate,
        original=clip.original[:, first : first + keep],
        versions={system: waveform[:, first : first + keep] for system, waveform in clip.versions.items()},
    )


def _levelled(clip: Clip) -> list[Waveform]:
    """Original and versions, all made softer by one factor where one of them would clip."""
    waveforms: list[Waveform] = [clip.original, *clip.versions.values()]
    peak = max(float(np.abs(waveform).max(initial=0.0)) for waveform in waveforms)
    return [waveform / peak for waveform in waveforms] if peak > 1 else waveforms


def flac(waveform: Waveform, sample_rate: int) -> bytes:
    """Encode `(channels, samples)` within ±1 as FLAC of 16 bit."""
    whole = np.clip(np.round(waveform.T * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, sample_rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return file.getvalue()


def top_frequency(sample_rate: int) -> float:
    """Of the pictures, in Hz."""
    return min(MAX_FREQUENCY, sample_rate / 2)


def pictures(clip: Clip) -> list[bytes]:
    """Spectrograms of original and versions as PNG, `PICTURE_SIZE` pixels, on one scale in dB under the original."""
    width, height = PICTURE_SIZE
    powers = []
    for waveform in (clip.original, *clip.versions.values()):
        # Half a window on either side, so that the picture is as long as the sound.
        padded = np.pad(waveform, ((0, 0), (N_FFT // 2, N_FFT // 2)))
        power = power_spectrogram(padded, max(1, waveform.shape[1] // (2 * width)))
        bins = round(top_frequency(clip.sample_rate) / (clip.sample_rate / 2) * (power.shape[0] - 1)) + 1
        powers.append(_shrunk(_shrunk(power[:bins], height).T, width).T)
    loud = loudness(powers[0])
    return [_png(10 * np.log10(np.maximum(power / loud, 1e-20)) / RANGE_DB + 1) for power in powers]


def _shrunk(values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Average neighbouring rows, or repeat them where there are too few."""
    edges = np.linspace(0, len(values), rows + 1)
    first = np.floor(edges[:-1]).astype(int)
    last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
    total = np.vstack([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    means: NDArray[np.float64] = (total[last] - total[first]) / (last - first)[:, None]
    return means


def _png(levels: NDArray[np.float64]) -> bytes:
    """Levels from 0 to 1, low frequencies first, in 64 colours: a palette takes a third of true colour."""
    from matplotlib import colormaps
    from PIL import Image

    colours = (np.asarray(colormaps["magma"](np.linspace(0, 1, 64)))[:, :3] * 255).round().astype(np.uint8)
    indices = (np.clip(levels, 0, 1) * 63).round().astype(np.uint8)[::-1]
    image = Image.fromarray(np.ascontiguousarray(indices)).convert("L")
    image.putpalette(colours.tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
