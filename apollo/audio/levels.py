"""How loud a recording is, where it peaks, what of it is clipped and what silent: in one pass, in bounded memory.

Loudness and true peaks are those of ITU-R BS.1770-4 and EBU R 128.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.filter import Graph

from apollo.audio.files import AudioReader
from apollo.audio.formats import layout_of
from apollo.audio.resampling import Resampler
from apollo.audio.signal import Block

_PART = 1 << 13  # samples that are made denser at once: larger arrays are given back to the system each time
_FULL_SCALE = 0.999
_RUN = 3  # neighbouring samples at full scale that make a clipped peak
_QUIET = 1e-4  # root mean square of a tenth of a second that counts as silent
_RANGED = 3.4  # seconds with five blocks of 3 s: of fewer, FFmpeg gives the 20 LU of its gate for their range
_ABSOLUTE_GATE = -70.0  # LUFS: what is softer does not count (BS.1770-4, annex 1)


@dataclass(frozen=True)
class Levels:
    """What was measured of a whole recording; levels are None where it is silent throughout."""

    frames: int  # samples a channel
    # Integrated, in LUFS; None as well where it is shorter than 0.4 s, all softer than -70, or of a sample rate or
    # number of channels that FFmpeg cannot weigh.
    loudness: float | None
    # Between soft and loud passages, in LU (EBU Tech 3342); None as well below 3.4 seconds.
    loudness_range: float | None
    peak_db: float | None  # of the largest sample, in dBFS
    true_peak_db: float | None  # of the wave between the samples, in dBTP
    clipped: int  # peaks that stay at full scale for three samples or more
    silent: float  # share of the recording that is below -80 dBFS, from 0 to 1
    finite: bool  # whether all samples are numbers; those that are not count as 0


def measure_levels(reader: AudioReader, progress: Callable[[int], None] = lambda frames: None) -> Levels:
    """Measure a recording from where its reader stands to its end; raises AudioFileError if it is damaged.

    `progress` is called after each block with the samples a channel read so far.
    """
    rate, channels = reader.sample_rate, reader.channels
    loudness = LoudnessMeter(rate, channels)
    samples, between = SampleMeter(rate), _TruePeak(rate, channels)
    for block in reader.blocks():
        block = samples.take(block)
        loudness.take(block)
        between.take(block)
        progress(samples.frames)
    integrated, spread = loudness.end()
    between.end()
    return Levels(
        samples.frames,
        integrated,
        spread if samples.frames >= _RANGED * rate else None,
        decibels(samples.peak),
        # Both are the same wave: between the samples it is no lower than at them.
        decibels(max(samples.peak, between.highest)),
        samples.clipping.peaks,
        samples.silence.share,
        samples.finite,
    )


class SampleMeter:
    """Measures what the samples alone tell of a recording whose blocks go by."""

    def __init__(self, sample_rate: int) -> None:
        self.frames, self.peak, self.finite = 0, 0.0, True  # as `Levels` has them, the peak as a magnitude
        self.clipping, self.silence = Clipping(), _Silence(sample_rate // 10)

    def take(self, block: Block) -> Block:
        """Go on with the next block, of shape (channels, one sample or more); gives it with 0 for what is no number."""
        if not np.isfinite(block).all():
            self.finite = False
            block = np.nan_to_num(block, posinf=0, neginf=0)
        self.frames += block.shape[1]
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.clipping.take(block)
        self.silence.take(block)
        return block


class LoudnessMeter:
    """Measures the loudness of a recording whose blocks go by, with FFmpeg's `ebur128`."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._layout = layout_of(channels)
        self._graph = Graph()
        source = self._graph.add_abuffer(
            sample_rate=sample_rate, format="flt", layout=self._layout, time_base=Fraction(1, sample_rate)
        )
        meter = self._graph.add("ebur128", "metadata=1")
        source.link_to(meter)
        meter.link_to(self._graph.add("abuffersink"))
        self._taken = 0
        self._told: dict[str, str] = {}
        try:
            self._graph.configure()
            self._works = True
        except av.FFmpegError:  # of the sample rates that a damaged header may have, some are beyond it
            self._works = False

    def take(self, block: Block) -> None:
        """Go on with the next block, of shape (channels, samples); finite numbers, perhaps none."""
        if not self._works or not block.shape[1]:
            return
        samples = np.ascontiguousarray(block.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "flt", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._taken, Fraction(1, self._rate)
        self._taken += block.shape[1]
        self._graph.push(frame)
        self._pull()

    def end(self) -> tuple[float | None, float | None]:
        """Integrated loudness in LUFS and its range in LU, each as `Levels` has it."""
        if self._taken:
            self._graph.push(None)
            self._pull()
        loudness = self._value("I")
        return loudness if loudness is not None and loudness > _ABSOLUTE_GATE else None, self._value("LRA")

    def _value(self, name: str) -> float | None:
        value = float(self._told.get(f"lavfi.r128.{name}", "nan"))
        return value if math.isfinite(value) else None

    def _pull(self) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            self._told = dict(frame.metadata) or self._told


class _TruePeak:
    """The highest value of the wave between the samples: those of a denser wave (ITU-R BS.1770-4, annex 2)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        denser = min(4, max(1, round(192_000 / sample_rate)))
        self._resampler = Resampler(sample_rate, denser * sample_rate, channels)
        self._channels = channels
        self.highest = 0.0

    def take(self, block: Block) -> None:
        for start in range(0, block.shape[1], _PART):
            self._note(self._resampler.process(block[:, start : start + _PART]))

    def end(self) -> None:
        self._note(self._resampler.process(np.zeros((self._channels, 0), np.float32), last=True))

    def _note(self, dense: Block) -> None:
        highest = float(max(dense.max(), -dense.min())) if dense.size else 0.0
        self.highest = max(self.highest, highest if math.isfinite(highest) else 0.0)


class Clipping:
    """Counts clipped peaks: runs of at least three samples at full scale in one channel, across blocks."""

    def __init__(self) -> None:
        self.peaks = 0
        self._runs: npt.NDArray[np.int64] | None = None  # of each channel, how long the one at the end is so far

    def take(self, block: Block) -> None:
        """Go on with the next block, of shape (channels, samples)."""
        full = np.abs(block) >= _FULL_SCALE
        before = self._runs if self._runs is not None else np.zeros(len(full), np.int64)
        after = np.zeros_like(before)
        for channel, at in enumerate(full):
            if not at.any():
                continue
            edges = np.flatnonzero(np.diff(np.concatenate(([False], at, [False])).astype(np.int8)))
            starts, lengths = edges[::2], edges[1::2] - edges[::2]
            carried = int(before[channel]) if starts[0] == 0 else 0
            totals = lengths.copy()
            totals[0] += carried
            self.peaks += int(np.count_nonzero(totals >= _RUN)) - int(carried >= _RUN)
            after[channel] = totals[-1] if edges[-1] == len(at) else 0
        self._runs = after


class _Silence:
    """What share of a recording's tenths of a second is silent."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._rest = np.zeros((1, 0), np.float32)
        self._parts = self._silent = 0

    def take(self, block: Block) -> None:
        power = np.concatenate([self._rest, np.mean(block**2, axis=0, keepdims=True)], axis=1)
        whole = power.shape[1] - power.shape[1] % self._size
        parts = power[:, :whole].reshape(-1, self._size).mean(axis=1)
        self._rest = power[:, whole:]
        self._parts += len(parts)
        self._silent += int(np.count_nonzero(parts <= _QUIET**2))

    @property
    def share(self) -> float:
        if self._parts == 0:
            return float(self._rest.size == 0 or float(self._rest.mean()) <= _QUIET**2)
        return self._silent / self._parts


def decibels(peak: float) -> float | None:
    """A magnitude in dBFS; None for 0."""
    return 20 * math.log10(peak) if peak > 0 else None
