"""Whether a recording that calls itself lossless has been through a lossy encoder.

Two traces are looked for: the grid on which an encoder puts music to zero (of MP3, in `apollo.audio.mp3_grid`; where
that does not show, of AAC and Vorbis, in `apollo.audio.mdct_grid`), and a cliff in the spectrum, for what was coded at
another sample rate, where the grid is lost. Alone the cliff proves nothing: music that was recorded at 22 or 32 kHz, or
filtered by who mastered it, ends in one as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apollo.audio.cliff import N_FFT, ROUNDING, cliff_of, likely_bitrate, segment_powers
from apollo.audio.files import AudioReader
from apollo.audio.mdct_grid import mdct_traces
from apollo.audio.mp3_grid import BLOCK, GRANULE, GRANULES, collapse_of

__all__ = ["Bandwidth", "inspect_bandwidth"]

Stretch = npt.NDArray[np.float32]

_STRETCH = 2.0  # seconds
_STRETCHES = 12
_BLOCKS = 4
# In dB. Music falls by up to 22 at once, and its coefficients by 0.06 (109 stems and ten finished recordings).
_CLIFF = 26.0
_COLLAPSE = 0.25
_MDCT_COLLAPSE = 1.0
_MDCT_BLOCKS = 2  # in which AAC and Vorbis are looked for: half a second of work each


@dataclass(frozen=True)
class Bandwidth:
    """How far up a recording reaches, and what betrays an encoder.

    Attributes:
        cutoff_hz: The frequency above which there is nothing: at the cliff if there is one, else where the music sinks
            into what rounding to 16 bits leaves.
        cliff_db: The steepest fall, over 500 Hz, to a level that nothing above exceeds. Music has up to 22 dB.
        collapse_db: By how much the coefficients of the MP3 filterbank are smaller at one offset than at any other.
            Below 0.1 dB in music; above 1 dB in what was MP3 at the same sample rate and at 128 kbit/s or less.
        bitrate_kbps: If it was MP3, by LAME's low-pass: a guess; None where nothing shows or nothing was filtered.
        silent: Whether all of it is.
        codec: "mp3", "aac" or "vorbis", whose grid shows; None where none does.
        mdct_db: As `collapse_db` for AAC and Vorbis, whichever is more; below 0.4 dB in music. 0 where MP3's shows.
    """

    cutoff_hz: float
    cliff_db: float
    collapse_db: float
    bitrate_kbps: int | None
    silent: bool = False
    codec: str | None = None
    mdct_db: float = 0.0

    @property
    def lossy(self) -> bool:
        """Whether the grid of a lossy encoder shows, which nothing else leaves."""
        return self.codec is not None

    @property
    def has_cliff(self) -> bool:
        """Whether the spectrum falls off as music by itself does not."""
        return self.cliff_db > _CLIFF

    @property
    def suspicious(self) -> bool:
        """Whether a cliff is all that shows, which encoders leave, but low-pass filters too."""
        return self.codec is None and self.has_cliff


def inspect_bandwidth(source: AudioReader | str | Path) -> Bandwidth:
    """Look for the traces of MP3 in a recording: in at most twelve stretches of 2 s, unless those are silent.

    Args:
        source: A file, or a reader of one, which is left standing anywhere. Silence counts as music without an end.

    Raises:
        AudioFileError: It cannot be read.
    """
    with ExitStack() as opened:
        reader = source if isinstance(source, AudioReader) else opened.enter_context(AudioReader(source))
        total = reader.count()
        # On a grid of granules, so that all stretches see an encoder's at the same offset.
        length = min(total, round(_STRETCH * reader.sample_rate) // GRANULE * GRANULE + BLOCK)
        silent, power, blocks = _listen(_spread(reader, total, length))
        if silent:
            silent, power, blocks = _listen(islice(_sounding(reader, length // GRANULE * GRANULE), _STRETCHES))
    cutoff, cliff = cliff_of(power, reader.sample_rate)
    collapse = collapse_of(blocks)
    codec, mdct = "mp3" if collapse > _COLLAPSE else None, 0.0
    if codec is None:
        traces = mdct_traces(blocks[:_MDCT_BLOCKS], 2 * ROUNDING)
        likely = max(traces, key=lambda name: traces[name])
        mdct = traces[likely]
        codec = likely if mdct > _MDCT_COLLAPSE else None
    as_mp3 = codec == "mp3" or (codec is None and cliff > _CLIFF)
    bitrate = likely_bitrate(cutoff, cliff, reader.channels) if as_mp3 else None
    return Bandwidth(cutoff, cliff, collapse, bitrate, silent, codec, mdct)


def _spread(reader: AudioReader, total: int, length: int) -> Iterator[Stretch]:
    """Stretches from start to end of a recording, as far apart as they can be."""
    places = min(_STRETCHES, -(-total // max(length, 1)))
    for place in np.linspace(0, total - length, places):
        reader.seek(int(place) // GRANULE * GRANULE)
        yield reader.read(length)


def _sounding(reader: AudioReader, length: int) -> Iterator[Stretch]:
    """All stretches that are not silent: a song may lie between long silences."""
    reader.seek(0)
    while (stretch := reader.read(length)).shape[1]:
        if stretch.any():
            yield stretch


def _listen(stretches: Iterable[Stretch]) -> tuple[bool, npt.NDArray[np.float64], list[Stretch]]:
    """Whether some stretches are silent, their mean power spectrum, and the loudest blocks of their mid channel."""
    silent = True
    power: npt.NDArray[np.float64] = np.zeros(N_FFT // 2 + 1)
    segments = 0
    blocks: list[tuple[float, Stretch]] = []
    for found in stretches:
        stretch = found if np.isfinite(found).all() else np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
        silent = silent and not stretch.any()
        if stretch.shape[1] >= N_FFT:
            powers = segment_powers(stretch)
            power += powers.sum(axis=(0, 1))
            segments += powers.shape[0] * powers.shape[1]
        mid = stretch.mean(axis=0)
        for start in range(0, len(mid) - BLOCK + 1, GRANULE * GRANULES):
            block = mid[start : start + BLOCK]
            blocks.append((float(np.vdot(block, block)), block.copy()))
        blocks = sorted(blocks, key=lambda block: -block[0])[:_BLOCKS]
    return silent, power / max(segments, 1), [block for loudness, block in blocks if loudness > 0]
