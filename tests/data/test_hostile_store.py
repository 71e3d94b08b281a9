"""HDF5 files that refer to others, or hold something else than samples, are left out of a store by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from apollo.data.store import StemStore
from apollo.errors import AudioFileError, DataError

RATE = 100
SEGMENT = 6 * RATE
SAMPLES = np.full((1, 2, SEGMENT), 0.25, np.float32)


def attribute(name: str, value: object) -> Callable[[h5py.File, Path], None]:
    def make(file: h5py.File, secret: Path) -> None:
        file["data"] = SAMPLES
        file["data"].attrs[name] = value

    return make


def link(made: object) -> Callable[[h5py.File, Path], None]:
    def make(file: h5py.File, secret: Path) -> None:
        file["real"] = SAMPLES
        file["data"] = made(secret) if callable(made) else made

    return make


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(SAMPLES.shape, np.float32)
    layout[:] = h5py.VirtualSource(secret, "data", SAMPLES.shape)
    file.create_virtual_dataset("data", layout)


def raw(file: h5py.File, secret: Path) -> None:
    file.create_dataset("data", SAMPLES.shape, np.float32, external=[(str(secret), 0, SAMPLES.nbytes)])


def references(file: h5py.File, secret: Path) -> None:
    data = file.create_dataset("data", SAMPLES.shape, h5py.ref_dtype)
    data[0, 0, 0] = file.ref


def loop(file: h5py.File, secret: Path) -> None:
    group = file.create_group("data")
    group["data"] = group


ATTACKS: dict[str, Callable[[h5py.File, Path], None]] = {
    "external link": link(lambda secret: h5py.ExternalLink(str(secret), "data")),
    "soft link": link(h5py.SoftLink("/real")),
    "soft loop": link(h5py.SoftLink("/data")),
    "loop": loop,
    "virtual": virtual,
    "raw file": raw,
    "references": references,
    "strings": lambda file, _: file.create_dataset("data", SAMPLES.shape, h5py.string_dtype()),
    "bytes": lambda file, _: file.create_dataset("data", SAMPLES.shape, "S8"),
    "complex": lambda file, _: file.create_dataset("data", SAMPLES.shape, np.complex64),
    "records": lambda file, _: file.create_dataset("data", SAMPLES.shape, [("a", "f4"), ("b", "f4")]),
    "truth": lambda file, _: file.create_dataset("data", SAMPLES.shape, bool),
    "nothing": lambda file, _: None,
    "a scalar": lambda file, _: file.create_dataset("data", data=1.0),
    "no space": lambda file, _: file.create_dataset("data", data=h5py.Empty("f")),
    "huge pieces": lambda file, _: file.create_dataset(
        "data", (1 << 16, 2, SEGMENT), "f4", chunks=(1 << 15, 2, SEGMENT)
    ),
    "scale of zero": attribute("scale", 0.0),
    "negative scale": attribute("scale", -1.0),
    "no scale": attribute("scale", np.nan),
    "endless scale": attribute("scale", np.inf),
    "scale in words": attribute("scale", "loud"),
    "scales": attribute("scale", [1.0, 2.0]),
    "empty scale": attribute("scale", h5py.Empty("f")),
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a store has no business with."""
    path = tmp_path / "secret.hdf5"
    with h5py.File(path, "w") as file:
        file["data"] = SAMPLES
    return path


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_is_no_store_of_samples_is_left_out(
    tmp_path: Path, secret: Path, attack: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store" / "bass" / "sample0.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        ATTACKS[attack](file, secret)
    with pytest.raises(DataError, match="holds no stems"):
        StemStore(tmp_path / "store", RATE)
    assert str(path) in caplog.text


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "f4"), (np.inf, "f4"), (1e300, "f8")])
def test_samples_that_are_no_numbers_are_never_given(tmp_path: Path, value: float, kind: str) -> None:
    path = tmp_path / "bass" / "sample0.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["data"] = np.full(SAMPLES.shape, value, kind)
    store = StemStore(tmp_path, RATE)
    with pytest.raises(AudioFileError, match=r"sample0\.hdf5 contains NaN or infinite samples"):
        store.stem(np.random.default_rng(0), 10)
