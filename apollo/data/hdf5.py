"""One HDF5 file of a store, opened as data from anywhere: it must hold its samples itself, and nothing but numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from apollo.errors import AudioFileError, one_line
from apollo.regular import refuse_special

# What h5py itself can undo: others would be looked for as libraries of the system.
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
CHUNK_BYTES = 1 << 26  # read whole for any crop


@dataclass(frozen=True)
class Stored:
    """The samples of a file while it is open."""

    path: Path
    data: h5py.Dataset  # `(segments, channels, samples)`
    scale: float  # the factor to full scale
    problem: str | None  # what its maker had to tell of it

    def crop(self, segment: int, start: int, samples: int) -> npt.NDArray[np.float32]:
        """Read `(channels, samples)` of a segment; raises AudioFileError if they are not numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            crop = np.asarray(self.data[segment, :, start : start + samples], np.float32) * np.float32(self.scale)
        if not np.isfinite(crop).all():
            raise AudioFileError(f"{self.path} contains NaN or infinite samples: build the store again")
        return crop


@contextmanager
def stored(path: Path) -> Iterator[Stored]:
    """Open a file of a store; raises AudioFileError if it refers to other files, or cannot be read as samples."""
    refuse_special(path, AudioFileError)
    try:
        with h5py.File(path, "r", locking=False) as file:
            if not isinstance(file.get("data", getlink=True), h5py.HardLink):
                raise ValueError("its data are a link")
            data = file["data"]
            if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fi" or data.ndim != 3:
                raise ValueError("its data are not samples")
            creation = data.id.get_create_plist()
            if data.is_virtual or creation.get_external_count():
                raise ValueError("its data are in other files")
            if {creation.get_filter(number)[0] for number in range(creation.get_nfilters())} - FILTERS:
                raise ValueError("its data are encoded in a way that no store uses")
            if math.prod(data.chunks or ()) * data.dtype.itemsize > CHUNK_BYTES:
                raise ValueError("its chunks are larger than any store's")
            yield Stored(path, data, scale(data), problem(data))
    except AudioFileError:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = one_line(error)[:200]
        raise AudioFileError(f"{path} cannot be read ({reason}): build the store again") from None


def scale(data: h5py.Dataset) -> float:
    """The attribute `scale`, 1 where there is none; raises ValueError if it is no factor."""
    if "scale" not in data.attrs:
        return 1.0
    stated = data.attrs.get_id("scale")
    value = float(data.attrs["scale"]) if stated.shape in ((), (1,)) and stated.dtype.kind in "fiu" else math.nan
    if not 0 < value < math.inf:
        raise ValueError("its scale is not a valid factor")
    return value


def problem(data: h5py.Dataset) -> str | None:
    """The attribute `problem`, if it is a text."""
    told = data.attrs.get("problem")
    return told if isinstance(told, str) else None
