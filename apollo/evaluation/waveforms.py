"""The waveforms of a case, aligned and at one rate; songs too long for memory are kept in temporary files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

import numpy as np

from apollo.audio import resampled_length
from apollo.audio.codecs import coded
from apollo.audio.encodings import Encoding
from apollo.audio.signal import Signal
from apollo.data.folders import Track, Waveform, open_track, read_from
from apollo.data.pairs import Pair, try_pair
from apollo.errors import DataError
from apollo.evaluation.cases import Case
from apollo.restoration import Restorer

SAMPLE_RATE = 44_100

_BLOCK = 20 * SAMPLE_RATE
_IN_MEMORY = 10 * 60 * SAMPLE_RATE  # samples of all channels together


def waveforms(case: Case[Path], scratch: Path, align: bool = True) -> tuple[Waveform, Waveform]:
    """The original and the damaged version of a case at 44.1 kHz, aligned unless that is not wanted.

    Two arrays `(channels, samples)` of one shape; of a pair, what both have in common in time. Those that are too long
    for memory are kept in `scratch`, an empty folder that must outlive them. Raises ApolloError if a file cannot be
    read or coded, or the sides of a pair do not belong together.
    """
    if case.damaged is not None:
        return pair_waveforms(case.sources[0], case.damaged, scratch, align)
    original = _mixed(case.sources, scratch)
    assert case.condition.bitrate is not None
    damaged = coded(
        Signal.of_array(original, SAMPLE_RATE), Encoding(case.condition.codec, 1000 * case.condition.bitrate)
    )
    return original, filled(damaged.blocks(), original.shape, scratch)


def pair_waveforms(original: Path, other: Path, scratch: Path, align: bool = True) -> tuple[Waveform, Waveform]:
    """Two recordings of the same thing at 44.1 kHz, where both last.

    The second gets the channels of the first: mono goes to all of them, and many become the mean for one. Unless they
    are aligned, both are taken from their first samples on. Raises ApolloError if one cannot be read, or they are to be
    aligned and are not recordings of the same thing.
    """
    pair = measured(original, other) if align else Pair(open_track(original), open_track(other))
    # The original keeps its samples: only the other side is moved by fractions of one.
    first = ceil(pair.begin * pair.original.sample_rate)
    begin = first / pair.original.sample_rate
    samples = int((pair.begin + pair.seconds - begin) * SAMPLE_RATE + 1e-6)
    channels = pair.original.channels
    sides = (
        _stretches(pair.original, first, samples),
        _stretches(pair.codec, (begin + pair.lag) * pair.codec.sample_rate, samples),
    )
    one, other_side = (filled(side.in_channels(channels).blocks(), (channels, samples), scratch) for side in sides)
    return one, other_side


def measured(original: Path, other: Path) -> Pair:
    """How two recordings are aligned; raises ApolloError if one is unreadable, or they are not of the same thing."""
    pair = try_pair((original, other))
    if not isinstance(pair, Pair):
        raise DataError(str(pair))
    return pair


def _stretches(track: Track, position: float, samples: int) -> Signal:
    """A track from a position at its own rate on, which may lie between two samples, at 44.1 kHz."""

    def read() -> Iterator[Waveform]:
        for done in range(0, samples, _BLOCK):
            begin = position + done * track.sample_rate / SAMPLE_RATE
            nearest = round(begin)
            begin = nearest if abs(begin - nearest) < 1e-3 else begin
            yield read_from(track, begin, min(_BLOCK, samples - done), SAMPLE_RATE)

    return Signal(SAMPLE_RATE, track.channels, samples, read)


def _mixed(paths: Sequence[Path], scratch: Path) -> Waveform:
    """The sum of some recordings that begin together, as long as the shortest; turned down where it exceeds 1."""
    tracks = [open_track(path) for path in paths]
    channels = max(track.channels for track in tracks)
    samples = min(resampled_length(track.samples, track.sample_rate, SAMPLE_RATE) for track in tracks)
    mix = empty((channels, samples), scratch)
    mix[:] = 0
    for track in tracks:
        position = 0
        for block in Signal.of_file(track.path).resampled(SAMPLE_RATE).in_channels(channels).blocks():
            part = block[:, : samples - position]
            mix[:, position : position + part.shape[1]] += part
            position += part.shape[1]
    if len(tracks) > 1:
        mix /= max(1.0, *Signal.of_array(mix, SAMPLE_RATE).measure()[0])
    return mix


def filled(blocks: Iterator[Waveform], shape: tuple[int, ...], scratch: Path) -> Waveform:
    """Blocks joined to a waveform of a shape that is known, kept as `empty` does; silent where they end early."""
    waveform = empty(shape, scratch)
    position = 0
    for block in blocks:
        part = block[:, : shape[1] - position]
        waveform[:, position : position + part.shape[1]] = part
        position += part.shape[1]
    waveform[:, position:] = 0
    return waveform


def empty(shape: tuple[int, ...], scratch: Path) -> Waveform:
    """Room for a waveform: in memory, or in a file of `scratch` where it is longer than some minutes."""
    if shape[0] * shape[1] <= _IN_MEMORY:
        return np.empty(shape, np.float32)
    number = sum(1 for _ in scratch.iterdir())
    return np.memmap(scratch / f"{number}.f32", np.float32, "w+", shape=shape)


def restored(damaged: Waveform, restorer: Restorer, scratch: Path) -> Waveform:
    """What a model makes of a waveform at 44.1 kHz, same shape; raises ApolloError if a sample is not finite."""
    signal = Signal.of_array(damaged, SAMPLE_RATE)
    stream = restorer.stream(signal.measure()[0], SAMPLE_RATE)
    return filled(stream.through(signal.blocks()), damaged.shape, scratch)
