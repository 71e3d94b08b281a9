"""Model files made to eat time or memory are refused with one sentence, and take neither."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from apollo.checkpoints import load_model
from apollo.checkpoints.pickles import INSTRUCTIONS
from apollo.errors import ModelFileError
from apollo.nn import Apollo

# Python 2's notation for what a pickle does, so that each can be read here.
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\4tQ"  # four numbers
MARK_OF_APOLLO = b"X\x0d\0\0\0BN.0.0.weight"


def archive(content: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> bytes:
    """A file as `torch.save` makes it, with a pickle of one's own and more records."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, record in {"m/data.pkl": content, "m/data/0": bytes(16), **records}.items():
            made.writestr(name, record)
    return file.getvalue()


def weight(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A state of one tensor that views four numbers."""
    numbers = [pickle.dumps(value, 2)[2:-1] for value in (offset, size, stride)]
    tensor = REBUILD + b"(" + STORAGE + b"".join(numbers) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\2}(" + MARK_OF_APOLLO + tensor + b"u."


def overlapping() -> bytes:
    """A directory that names the same megabyte a thousand times."""
    file = archive(b"\x80\2}.", **{"m/data/1": bytes(1 << 20)})
    start = struct.unpack("<L", file[-6:-2])[0]
    directory, end = file[start:-22], file[-22:]
    many = directory + directory[directory.rindex(b"PK\1\2") :] * 1000
    counts = struct.pack("<2HLL", 1003, 1003, len(many), start)
    return file[:start] + many + end[:8] + counts + end[20:]


def hashing_for_ever() -> bytes:
    """A dictionary whose key is a tuple of tuples of tuples, each twice in the next."""
    return b"\x80\2})" + b"2\x86" * 60 + b"K\1s."


def stated(**options: Any) -> bytes:
    """A whole model of which the file says something else."""
    model = Apollo(44100, 20, 16, 1, output="residual")
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    return save(state, {"config": json.dumps({**model.config, **options})})


def bare(**options: str) -> bytes:
    model = Apollo(44100, 20, 16, 1, output="residual")
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, options)


def many_blocks() -> bytes:
    state = {f"blocks.{layer}.x": torch.zeros(1) for layer in range(20_000)}
    return save(
        {**Apollo(44100, 20, 16, 1).state_dict(), **state}, {"config": json.dumps(Apollo(44100, 20, 16, 1).config)}
    )


ATTACKS: dict[str, Callable[[], bytes]] = {
    "deflated zeros": lambda: archive(b"\x80\2}.", zipfile.ZIP_DEFLATED, **{"m/data/1": bytes(1 << 26)}),
    "deflated pickle": lambda: archive(b"(" * (1 << 26), zipfile.ZIP_DEFLATED),
    "records that overlap": overlapping,
    "many records": lambda: archive(b"\x80\2}.", **{f"m/{number}": b"" for number in range(20_000)}) * 2,
    "instructions without end": lambda: archive(b"\x80\2" + b"}0" * INSTRUCTIONS + b"."),
    "keys that hash for ever": lambda: archive(hashing_for_ever()),
    "a set that hashes for ever": lambda: archive(b"\x80\4\x8f(" + hashing_for_ever()[3:-4] + b"\x90."),
    "a memo of four billion": lambda: archive(b"\x80\2}r\xff\xff\xff\xff."),
    "a long integer": lambda: archive(b"\x80\2}K\1\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b"s."),
    "digits": lambda: archive(b"I" + b"9" * (1 << 20) + b"\n."),
    "a bytearray of a terabyte": lambda: archive(b"c__builtin__\nbytearray\n(L1000000000000L\ntR."),
    "a storage of a terabyte": lambda: archive(b"ctorch\nFloatStorage\n(L1000000000000L\ntR."),
    "a string that says it is longer": lambda: archive(b"\x80\4\x8d" + struct.pack("<Q", 1 << 60) + b"x."),
    "a frame that says it is longer": lambda: archive(b"\x80\4\x95" + struct.pack("<Q", 1 << 60) + b"}."),
    "lists in lists": lambda: archive(b"\x80\2" + b"]" * 500_000 + b"a" * 499_999 + b"."),
    "a number repeated": lambda: archive(weight((1 << 40,), (0,))),
    "a view beyond its storage": lambda: archive(weight((5,), (1,))),
    "a view before its storage": lambda: archive(weight((2,), (1,), -1)),
    "a view of a million dimensions": lambda: archive(weight((1,) * 1_000_000, (1,) * 1_000_000)),
    "nothing of immense size": lambda: archive(weight((0, 1 << 62, 1 << 62), (1, 1, 1))),
    "an old file of a terabyte": lambda: (
        b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
        + b"\x80\2}X\1\0\0\0a(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
        + b"0X\3\0\0\0cpuL1000000000000L\ntQs."
    ),
    "a header of a terabyte": lambda: struct.pack("<Q", 1 << 40) + b"{}",
    "a large header": lambda: struct.pack("<Q", 1 << 24) + b"{" + b" " * (1 << 24),
    "lists in a header": lambda: struct.pack("<Q", 200_000) + b'{"a":' + b"[" * 199_995,
    "lists in the options": lambda: bare(config="[" * 100_000),
    "digits in the options": lambda: bare(config='{"sr": ' + "9" * 100_000 + "}"),
    "a text for options": lambda: bare(config='"sr"'),
    "many blocks": many_blocks,
    "a million dilations": lambda: stated(dilations=[1] * 1_000_000),
    "a large dilation": lambda: stated(dilations=[10**9] * 3),
    "no dilations": lambda: stated(dilations=[]),
    "sr of a gigahertz": lambda: stated(sr=10**9),
    "sr of one": lambda: stated(sr=1),
    "fractional heads": lambda: stated(heads=4.0),
    "true heads": lambda: stated(heads=True),
    "heads in a list": lambda: stated(heads=[8]),
    "heads in words": lambda: stated(heads="8"),
    "no heads": lambda: stated(heads=None),
    "a long window": lambda: stated(win=1e300),
    "an infinite window": lambda: stated(win=float("inf")),
    "a window that is no number": lambda: stated(win=float("nan")),
    "blocks without end": lambda: stated(layer=10**12),
    "another output": lambda: stated(output=["direct"]),
}


@pytest.fixture
def bounded() -> Iterator[None]:
    """Fail where memory has grown by 1.5 GB meanwhile."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5e6


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("attack", ATTACKS)
def test_files_that_would_eat_time_or_memory_are_refused(tmp_path: Path, attack: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(ATTACKS[attack]())
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero"):
        with pytest.raises(ModelFileError, match="does not open"):
            load_model(path)


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000, "model\0.bin", "a/b@\0", "\ud800"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(ModelFileError):
        load_model(name)
