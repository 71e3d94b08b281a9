"""Reads the tensors of any model file, without running anything in it."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from apollo.checkpoints.archives import PICKLE_BYTES, Archive, ArchiveError
from apollo.checkpoints.pickles import ForeignNameError, PickleError, read_pickle
from apollo.checkpoints.stand_ins import StandIn
from apollo.errors import ModelFileError, one_line
from apollo.regular import refuse_special

HEADER_BYTES = 1 << 23  # a safetensors file of 16 million weights has 60 kB
# What `torch.save` wrote before PyTorch 1.6 begins with these two numbers, a pickle each.
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors file or one that `torch.save` wrote, told apart by their content.

    Gives what the file holds, tensors on the CPU, and the text metadata of a safetensors file. Objects that
    `apollo.checkpoints.stand_ins` names are left out. Time and memory are in proportion to the file. Raises
    ModelFileError if there is no such file, it is damaged, it is not a model, or reading it would run code.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder: give the model file in it")
        refuse_special(path, ModelFileError)
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {path}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if head[8:] == b"{" and not head.startswith(b"PK"):  # eight bytes of length, then JSON
        return read_safetensors(path, int.from_bytes(head[:8], "little"))
    return read_torch(path), {}


def read_safetensors(path: Path, header: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Read tensors and metadata of a safetensors file whose header has so many bytes."""
    if header > HEADER_BYTES:
        raise ModelFileError(f"{path} is damaged or no model file: its header has {header} bytes, more than any model")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, AttributeError) as error:  # the latter: types that PyTorch lacks
        reason = one_line(error)  # it quotes what the file says
        raise ModelFileError(f"{path} is a damaged safetensors file ({reason}): download it again") from None


def read_torch(path: Path) -> dict[str, Any]:
    """Read a dictionary that `torch.save` wrote; one that asks for more than tensors and stand-ins is refused."""
    try:
        content = read_archive(path) if zipfile.is_zipfile(path) else read_old(path)
    except ForeignNameError as error:
        raise ModelFileError(
            f"{path} was not opened because reading it would run {error}: use a .safetensors or .bin of this "
            "model, or ask someone who trusts the file to save only its 'state_dict' with torch.save"
        ) from None
    except (ArchiveError, PickleError) as error:
        raise ModelFileError(
            f"{path} is damaged or not a model file ({error}): download it again, or give another"
        ) from None
    except Exception:  # a damaged archive can raise anything
        raise ModelFileError(f"{path} is damaged or not a model file: download it again, or give another") from None
    if not isinstance(content, dict):
        kind = "value" if isinstance(content, StandIn) else type(content).__name__
        raise ModelFileError(f"{path} is not a model file: it holds a {kind}, not named weights")
    return content


def read_archive(path: Path) -> Any:
    """Read what `torch.save` writes: a zip file of a pickle and storages."""
    with Archive(path) as archive:

        def load(key: str, dtype: torch.dtype, numel: int) -> Tensor:
            return numbers(archive.storage(key, numel * dtype.itemsize), dtype)

        return read_pickle(io.BytesIO(archive.pickle()), each_once(load))


def read_old(path: Path) -> Any:
    """Read what `torch.save` wrote before PyTorch 1.6: pickles, and the storages that the last but one refers to."""
    storages: dict[str, Tensor] = {}
    left = path.stat().st_size

    def load(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        nonlocal left
        left -= numel * dtype.itemsize
        if left < 0:
            raise PickleError("it is cut off")
        storages[key] = torch.empty(numel, dtype=dtype)  # filled below
        return storages[key]

    with path.open("rb") as file:
        pickles = io.BytesIO(file.read(PICKLE_BYTES))
        for expected in (MAGIC, PROTOCOL):
            found = read_pickle(pickles, load)
            if found != expected:
                raise PickleError("it does not begin as one")
        read_pickle(pickles, load)  # of the machine that wrote it
        content = read_pickle(pickles, each_once(load))
        keys = read_pickle(pickles, load)
        file.seek(pickles.tell())
        for key in keys:
            storage = storages[key]
            (numel,) = struct.unpack("<q", file.read(8))
            size = storage.numel() * storage.itemsize
            if numel != storage.numel():
                raise PickleError(f"its storage {key!r} has another size")
            read = bytearray(size)
            if file.readinto(read) != size:
                raise PickleError("it is cut off")
            storage.copy_(numbers(read, storage.dtype))
    return content


def each_once(load: Callable[[str, torch.dtype, int], Tensor]) -> Callable[[str, torch.dtype, int], Tensor]:
    """Load a storage when it is first asked for, and give the same one from then on."""
    loaded: dict[str, Tensor] = {}

    def give(key: str, dtype: torch.dtype, numel: int) -> Tensor:
        if key not in loaded:
            loaded[key] = load(key, dtype, numel)
        if loaded[key].dtype != dtype or len(loaded[key]) != numel:
            raise PickleError(f"its storage {key!r} has two types")
        return loaded[key]

    return give


def numbers(content: bytearray, dtype: torch.dtype) -> Tensor:
    """The numbers that some bytes are."""
    return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
