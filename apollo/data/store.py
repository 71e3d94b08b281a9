"""The stem store: `<root>/<class>/sample<k>.hdf5`, each with one dataset `data`, (segments, 2, 6 · sample rate).

It is the layout of the published training code. Its loader takes values as they are, so it reads stores of float32; in
stores of int16 the dataset's attribute `scale` is the factor to full scale, which `StemStore` applies and it does not.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from apollo.atomic import replacing
from apollo.data.activity import SEGMENT_SECONDS, Waveform
from apollo.data.hdf5 import stored
from apollo.data.stem_corpus import CLASSES, MIXTURE
from apollo.errors import AudioFileError, DataError

log = logging.getLogger(__name__)

SampleType = Literal["int16", "float32"]

SUFFIX = ".hdf5"
# Measured by benchmarks/stem_speed.py. A crop of 3 s decompresses little that it does not need, and the two channels of
# a chunk lie close enough together for gzip to find that they are alike, as in many stems they are.
CHUNK_SECONDS = 0.5
COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_SPARE = 1 << 26


def write_segments(
    path: Path,
    hops: Iterable[Waveform],
    active: Sequence[int],
    sample_rate: int,
    dtype: SampleType,
    peak: float,
    problem: str | None = None,
) -> None:
    """Write the active segments of a stem; the file appears whole or not at all, and no more than 6 s are in memory.

    Args:
        path: The file.
        hops: The stem in hops of 3 s, each `(2, 3 · sample_rate)`, the last one perhaps shorter.
        active: Numbers of the segments to write, in order; segment `n` is hops `n` and `n + 1`.
        sample_rate: In Hz.
        dtype: Of the samples in the file. As int16, what came from 16 bits is kept exactly.
        peak: Of the stem; above 1, samples of int16 are scaled to fit.
        problem: What is to be told of the stem, kept as an attribute.

    Raises:
        OSError: If the file cannot be written.
    """
    segment = SEGMENT_SECONDS * sample_rate
    scale = 1.0 if dtype == "float32" else 1 / 32768 if peak <= 1 else peak / 32767
    rows = {number: row for row, number in enumerate(active)}
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        chunk = max(1, int(CHUNK_SECONDS * sample_rate))
        data = file.create_dataset("data", (len(active), 2, segment), dtype, chunks=(1, 2, chunk), **COMPRESSION)
        data.attrs["scale"] = scale
        data.attrs["sample_rate"] = sample_rate
        if problem:
            data.attrs["problem"] = problem

        def put(number: int, waveform: Waveform) -> None:
            if (row := rows.get(number)) is not None:
                _require_space(path.parent)
                if dtype == "int16":
                    data[row, :, : waveform.shape[1]] = np.rint(waveform / scale).clip(-32768, 32767).astype(np.int16)
                else:
                    data[row, :, : waveform.shape[1]] = waveform

        number = -1
        before: Waveform | None = None
        for number, hop in enumerate(hops):
            if before is not None:
                put(number - 1, np.concatenate((before, hop), axis=1))
            before = hop
        if number == 0 and before is not None:  # shorter than a hop; what is not written is 0
            put(0, before)


def _require_space(folder: Path) -> None:
    """Raise OSError while the disk is not yet full: HDF5 crashes the process when a write fails."""
    if shutil.disk_usage(folder).free < _SPARE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


@dataclass(frozen=True)
class StoredStem:
    """One file of a store."""

    path: Path
    segments: int


class StemStore:
    """Random crops of the stems and mixtures in a store, ours or one made by the published code.

    A stem is drawn by class, then file, then segment, all evenly. Files are opened for every crop, 0.3 ms each, so that
    a store may be handed to other processes by any means. Files that cannot be read are left out, by name, in one
    warning.

    Args:
        root: The store.
        sample_rate: That it must have been made at, in Hz.
        samples: Length of the crops that will be drawn, if known.

    Raises:
        DataError: If there is no such store, it has another sample rate, or crops are to be longer than its segments.
    """

    def __init__(self, root: Path, sample_rate: int, samples: int | None = None) -> None:
        if not root.is_dir():
            raise DataError(f"there is no folder {root}: give a store made by 'apollo data stems'")
        self.root = root
        self.max_samples = SEGMENT_SECONDS * sample_rate
        if samples is not None:
            self._check_length(samples)
        self.stems: dict[str, list[StoredStem]] = {}
        unreadable = []
        for name in (*CLASSES, MIXTURE):
            for path in sorted((root / name).glob(f"*{SUFFIX}")):
                try:
                    with stored(path) as file:
                        shape = file.data.shape
                except AudioFileError as error:
                    log.debug("%s", error)
                    unreadable.append(str(path))
                    continue
                if shape[1] != 2 or shape[2] != self.max_samples:
                    raise DataError(
                        f"{path} holds data of shape {shape}, not (segments, 2, {self.max_samples}), which are "
                        f"{SEGMENT_SECONDS} s at {sample_rate} Hz: build the store again, or change datas.sr"
                    )
                if shape[0]:
                    self.stems.setdefault(name, []).append(StoredStem(path, shape[0]))
        if unreadable:
            log.warning("left out %d unreadable file(s): %s", len(unreadable), ", ".join(unreadable))
        self.mixtures = self.stems.pop(MIXTURE, [])
        self.classes = sorted(self.stems)
        self.coherent = bool(self.mixtures)
        if not self.classes:
            raise DataError(f"{root} holds no stems as <class>/sample<k>{SUFFIX}: make them with 'apollo data stems'")

    def stem(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one stem."""
        files = self.stems[self.classes[rng.integers(len(self.classes))]]
        return self._crop(rng, files, samples)

    def mixture(self, rng: np.random.Generator, samples: int) -> Waveform:
        """Draw a crop `(2, samples)` of one mixture."""
        return self._crop(rng, self.mixtures, samples)

    def _crop(self, rng: np.random.Generator, files: Sequence[StoredStem], samples: int) -> Waveform:
        self._check_length(samples)
        chosen = files[int(rng.integers(len(files)))]
        segment = rng.integers(chosen.segments)
        start = int(rng.integers(self.max_samples - samples + 1))
        with stored(chosen.path) as file:
            return file.crop(int(segment), start, samples)

    def _check_length(self, samples: int) -> None:
        if samples > self.max_samples:
            raise DataError(
                f"{self.root} holds segments of {self.max_samples} samples and cannot give crops of {samples}: "
                "lower datas.segments"
            )
