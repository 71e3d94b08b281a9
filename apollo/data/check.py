"""What lies in a folder of music, and what of it training can use: the report before a long run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from apollo.audio import AudioReader, inspect_bandwidth
from apollo.audio.levels import SampleMeter, decibels
from apollo.data.folders import SHORTEST, Problem
from apollo.data.layouts import any_layout
from apollo.data.relations import relation_of
from apollo.errors import ApolloError, one_file
from apollo.storage import Place, at_hand
from apollo.work import Progress


@dataclass
class Row:
    """One original with its damaged version, if it has one."""

    original: str | None  # path of the original; `None` if there is only a damaged version
    codec: str | None = None  # path of the damaged version; `None` for clean music without one
    sample_rate: int | None = None  # of the original, in Hz
    codec_sample_rate: int | None = None  # of the damaged version
    channels: int | None = None  # of the original
    codec_channels: int | None = None  # of the damaged version
    samples: int | None = None  # length of the original at its rate
    codec_samples: int | None = None  # length of the damaged version at its own
    # By how many samples of the original's rate the damaged version is late; may be negative and fractional.
    lag: float | None = None
    drift: float | None = None  # by how many the lag grows from beginning to end
    polarity: int | None = None  # −1 if the damaged version is turned upside down
    swapped: bool | None = None  # whether its left is the original's right
    gain_db: float | None = None  # how much louder it is than the original
    similarity: float | None = None  # 0 for different music, 1 for the same
    peak_db: float | None = None  # highest peak of the original in dBFS
    clipped: int | None = None  # peaks of the original that stay at full scale for three samples or more
    silent: float | None = None  # share of the original that is below −80 dBFS
    cutoff_hz: float | None = None  # where the spectrum of the original ends
    # Whether the original itself has been through a lossy codec, even if it was restored since.
    lossy: bool | None = None
    bitrate: int | None = None  # at about how many kbit/s
    problem: str | None = None  # why training would leave it out; `None` if it would not

    def as_json(self) -> dict[str, object]:
        """All attributes by name; what is no number becomes `None`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def check(
    roots: Sequence[Place],
    progress: Progress = lambda done, total, name: None,
    others: Callable[[Place], None] = lambda path: None,
) -> list[Row]:
    """Look at everything below some folders, here or in a store, in whatever layout (see `apollo.data.layouts`).

    `others` is called with every file that is no audio by its name. Gives one row a pair, one a clean file, and one for
    every file or folder that lacks its partner. Raises DataError if a folder is missing or holds no audio.
    """
    work: list[tuple[Place, Place | None]] = []
    problems: list[Problem] = []
    for root in roots:
        found, loose = any_layout(root, others)
        work += [*found.pairs, *((path, None) for path in loose)]
        problems += found.problems
    rows = []
    with ThreadPoolExecutor() as pool:
        for row in pool.map(lambda pair: examine(*pair), work):
            rows.append(row)
            progress(len(rows), len(work), row.original or "")
    return [*rows, *(Row(str(problem.path), problem=problem.reason) for problem in problems)]


def examine(original: Place, codec: Place | None) -> Row:
    """Measure an original and, if there is one, how its damaged version lies to it; never raises for bad files."""
    row = Row(str(original), None if codec is None else str(codec))
    try:
        with one_file(original), at_hand(original) as file:
            measure_original(row, file)
            if codec is not None:
                with one_file(codec), at_hand(codec) as other:
                    measure_codec(row, file, other)
    except ApolloError as error:
        row.problem = str(error)
    return row


def measure_original(row: Row, path: Path) -> None:
    """Fill in what concerns the original alone; raises ApolloError if it cannot be read to its end."""
    with AudioReader(path) as reader:
        row.sample_rate, row.channels = reader.sample_rate, reader.channels
        lossy = reader.info.lossy or reader.info.restored
        samples = SampleMeter(reader.sample_rate)
        for block in reader.blocks():
            samples.take(block)
    row.samples = samples.frames
    if row.samples < SHORTEST * row.sample_rate:
        row.problem = f"it is shorter than {SHORTEST} s ({row.samples} samples)"
        return
    row.peak_db = decibels(samples.peak)
    row.clipped = samples.clipping.peaks
    row.silent = samples.silence.share
    if not samples.finite:
        row.problem = "it contains NaN or infinite samples"
    elif row.silent == 1:
        row.problem = "it is silent from beginning to end"
    else:
        bandwidth = inspect_bandwidth(path)
        row.cutoff_hz, row.bitrate = bandwidth.cutoff_hz, bandwidth.bitrate_kbps
        row.lossy = lossy or bandwidth.lossy or bandwidth.has_cliff  # none of them teaches a network what treble is


def measure_codec(row: Row, original: Path, codec: Path) -> None:
    """Fill in how the damaged version lies to the original; raises ApolloError if it cannot be read to its end."""
    with AudioReader(codec) as reader:
        row.codec_sample_rate, row.codec_channels = reader.sample_rate, reader.channels
        row.codec_samples = sum(block.shape[1] for block in reader.blocks())
    if row.problem is not None:
        return
    relation = relation_of(original, codec)
    row.lag, row.drift, row.polarity = relation.lag, relation.drift, relation.polarity
    row.swapped, row.gain_db, row.similarity = relation.swapped, relation.gain_db, relation.similarity
    row.problem = relation.problem
