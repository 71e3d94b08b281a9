"""Clips as a web page holds them: lossless audio and spectrograms in data URIs.

A comparison must not go through a lossy codec once more, so the audio is FLAC of 16 bit. A clip is at most
`MAX_SECONDS` long; where all of them together exceed `MAX_BYTES`, all are cut to a common shorter length around their
middles. With about 60 kB for each picture and a third more for base64, a page with nine clips in three versions stays
below about 15 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apollo.evaluation.clips import Clip
from apollo.player import Sound, data_uri
from apollo.player.comparison import flac
from apollo.player.tiles import Spectrogram, long_term, reference_power, tiles

MAX_SECONDS = 6.0
MAX_BYTES = 9_200_000
COLUMNS = 440  # of a picture

Waveform = NDArray[np.floating[Any]]


def takes(clips: Sequence[Clip]) -> list[tuple[Clip, list[Sound]]]:
    """Each clip, shortened where it must be, with its original and then its versions encoded."""
    clips = [shortened(clip, MAX_SECONDS) for clip in clips]
    audio = [[flac(waveform, clip.sample_rate) for waveform in _levelled(clip)] for clip in clips]
    size = sum(len(data) for versions in audio for data in versions)
    if size > MAX_BYTES:
        longest = max(clip.original.shape[1] / clip.sample_rate for clip in clips)
        # 10 % less than in proportion: the remaining middles may be the loud parts, and short ones are coded worse.
        clips = [shortened(clip, 0.9 * longest * MAX_BYTES / size) for clip in clips]
        audio = [[flac(waveform, clip.sample_rate) for waveform in _levelled(clip)] for clip in clips]
    return [(clip, _sounds(clip, parts)) for clip, parts in zip(clips, audio, strict=True)]


def _sounds(clip: Clip, audio: Sequence[bytes]) -> list[Sound]:
    return [
        Sound(name, [data_uri("audio/flac", part)], [data_uri("image/png", picture)], columns, spectrum=spectrum)
        for name, part, (picture, columns, spectrum) in zip(
            ("original", *clip.versions), audio, pictures(clip), strict=True
        )
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


def pictures(clip: Clip) -> list[tuple[bytes, int, list[float]]]:
    """Of original and versions: a spectrogram as PNG, on the original's scale, its width, and its mean over time."""
    powers = []
    for waveform in (clip.original, *clip.versions.values()):
        spectrogram = Spectrogram(waveform.shape[1], clip.sample_rate, COLUMNS)
        spectrogram.take(waveform)
        spectrogram.end()
        powers.append(spectrogram.power)
    reference = reference_power(powers[0])
    return [(tiles(power, reference)[0], power.shape[1], long_term(power)) for power in powers]
