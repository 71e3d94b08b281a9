"""Whether a recording that calls itself lossless has been through a lossy encoder.

Two things are looked for: the grid on which an encoder puts music to zero (`apollo.audio.traces`), and a cliff in the
spectrum. Alone the cliff proves nothing: music that was recorded at 22 or 32 kHz, or filtered by who mastered it, ends
in one as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio.cliff import N_FFT, NATURAL_CLIFF, cliff_of, likely_bitrate, reach_of, segment_powers
from apollo.audio.files import AudioReader
from apollo.audio.grids import Block
from apollo.audio.traces import block_length, find_trace

Stretch = npt.NDArray[np.float32]

_STRETCH = 2.0  # seconds
_STRETCHES = 12
_BLOCKS = 4  # in which encoders are looked for
_CLIPPED = 0.9997  # and which are better not clipped, as that blurs the grid
_CLIFF = 26.0  # dB: music falls by up to 22 at once (109 stems and ten finished recordings)


@dataclass(frozen=True)
class Bandwidth:
    """How far up a recording reaches, and what betrays an encoder."""

    # The frequency above which there is nothing: at the cliff if there is one, else where the music sinks into what
    # rounding to 16 bits leaves.
    cutoff_hz: float
    # The steepest fall, over 500 Hz, to a level that nothing above exceeds. Music has up to 22 dB.
    cliff_db: float
    # If it was MP3, by LAME's low-pass: a guess; None where nothing shows or nothing was filtered.
    bitrate_kbps: int | None
    silent: bool = False  # whether all of it is
    codec: str | None = None  # "mp3", "aac", "vorbis" or "opus", whose grid shows; None where none does
    coded_rate: int | None = None  # the sample rate at which it worked, in Hz
    # By how many standard deviations its grid stands out: more than 8, where other music has up to 5.
    strength: float = 0.0

    @property
    def lossy(self) -> bool:
        """Whether the grid of a lossy encoder shows, which nothing else leaves."""
        return self.codec is not None

    @property
    def has_cliff(self) -> bool:
        """Whether the spectrum falls off as music by itself does not by far."""
        return self.cliff_db > _CLIFF

    @property
    def cut(self) -> bool:
        """Whether it falls off by more than music by itself does, so that an encoder, if there was one, cut it off."""
        return self.cliff_db > NATURAL_CLIFF

    @property
    def suspicious(self) -> bool:
        """Whether a cliff is all that shows, which encoders leave, but low-pass filters too."""
        return self.codec is None and self.has_cliff


def inspect_bandwidth(source: AudioReader | str | Path) -> Bandwidth:
    """Look for the traces of lossy encoders in a recording: in twelve stretches of 2 s, unless those are silent.

    Args:
        source: A file, or a reader of one, which is left standing anywhere. Silence counts as music without an end.

    Raises:
        AudioFileError: It cannot be read.
    """
    with ExitStack() as opened:
        reader = source if isinstance(source, AudioReader) else opened.enter_context(AudioReader(source))
        total, rate = reader.count(), reader.sample_rate
        block = block_length(rate)
        length = min(total, max(round(_STRETCH * rate), block))
        silent, power, blocks = _listen(_spread(reader, total, length), block)
        if silent:
            silent, power, blocks = _listen(islice(_sounding(reader, length), _STRETCHES), block)
    cutoff, cliff = cliff_of(power, rate)
    trace = find_trace(blocks, rate, reach_of(power, rate))
    codec = trace and trace.codec
    as_mp3 = codec == "mp3" or (codec is None and cliff > _CLIFF)
    bitrate = likely_bitrate(cutoff, cliff, reader.channels) if as_mp3 else None
    found = (trace.codec, trace.sample_rate, trace.strength) if trace else ()
    return Bandwidth(cutoff, cliff, bitrate, silent, *found)


def _spread(reader: AudioReader, total: int, length: int) -> Iterator[tuple[int, Stretch]]:
    """Stretches from start to end of a recording, as far apart as they can be, and where each begins."""
    places = min(_STRETCHES, -(-total // max(length, 1)))
    for place in np.linspace(0, total - length, places):
        reader.seek(int(place))
        yield int(place), reader.read(length)


def _sounding(reader: AudioReader, length: int) -> Iterator[tuple[int, Stretch]]:
    """All stretches that are not silent: a song may lie between long silences."""
    reader.seek(0)
    start = 0
    for stretch in reader.blocks(length):
        if stretch.any():
            yield start, stretch
        start += stretch.shape[1]


def _listen(stretches: Iterable[tuple[int, Stretch]], block: int) -> tuple[bool, npt.NDArray[np.float64], list[Block]]:
    """Whether some stretches are silent, their mean power spectrum, and the loudest blocks that are not clipped."""
    silent = True
    power: npt.NDArray[np.float64] = np.zeros(N_FFT // 2 + 1)
    segments = 0
    best: list[tuple[bool, float, int, Stretch]] = []
    for place, found in stretches:
        stretch = found if np.isfinite(found).all() else np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        silent = silent and not stretch.any()
        if stretch.shape[1] >= N_FFT:
            powers = segment_powers(stretch)
            power += powers.sum(axis=(0, 1))
            segments += powers.shape[0] * powers.shape[1]
        for start in range(0, stretch.shape[1] - block + 1, block):
            samples = stretch[:, start : start + block]
            clipped = np.count_nonzero(np.abs(samples) > _CLIPPED) > 2
            best.append((bool(clipped), -float(np.vdot(samples, samples)), place + start, samples))
        best = sorted(best, key=lambda candidate: candidate[:3])[:_BLOCKS]
    # Encoders choose between left and right and middle and side: every second block is looked at as they do then.
    blocks = []
    for number, (_, _, start, samples) in enumerate(best):
        middle = samples.mean(axis=0)
        channel = samples[0].copy() if samples[0].any() and number % 2 == 0 else middle
        if channel.any():
            blocks.append(Block(channel, start))
    return silent, power / max(segments, 1), blocks
