"""From a file to tensors, whatever it is, without running anything that it may carry."""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from apollo.checkpoints.inert import STAND_INS
from apollo.errors import ModelFileError


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a safetensors file or one that `torch.save` wrote, told apart by their content.

    Objects that `apollo.checkpoints.inert` names are passed over.

    Args:
        path: The file.

    Returns:
        What the file holds, tensors on the CPU, and the text metadata of a safetensors file (else empty).

    Raises:
        ModelFileError: If there is no such file, it is damaged, it is not a model, or reading it would run code.
    """
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder: give the model file in it")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {path}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from None
    if head[8:] == b"{" and not head.startswith(b"PK"):  # eight bytes of length, then JSON
        return read_safetensors(path)
    return read_torch(path), {}


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read tensors and metadata of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} is a damaged safetensors file ({error}): fetch it again") from None


def read_torch(path: Path) -> dict[str, Any]:
    """Read a dictionary that `torch.save` wrote; one that asks for more than tensors and stand-ins is refused."""
    try:
        allowed = torch.serialization.safe_globals([(stand_in, name) for name, stand_in in STAND_INS.items()])
        with warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")  # about pickle protocols that are refused below anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        refused = isinstance(error, (pickle.UnpicklingError, RuntimeError))
        foreign = foreign_class(path, str(error)) if refused else None
        if foreign is not None:
            raise ModelFileError(
                f"{path} was not opened because reading it would run {foreign}: use a .safetensors or .bin of this "
                "model, or have somebody who trusts the file save its 'state_dict' alone with torch.save"
            ) from None
        raise ModelFileError(f"{path} is damaged or not a model file: fetch it again, or give another") from None
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} is not a model file: it holds a {type(content).__name__}, not named weights")
    return content


def foreign_class(path: Path, refusal: str) -> str | None:
    """Name the class or function for which PyTorch refused a pickle, or None if that was not the reason.

    Args:
        path: The refused file.
        refusal: PyTorch's message; it names what is refused for the pickle protocol that PyTorch itself writes.
    """
    named = re.search(r"GLOBAL ([\w.]+)", refusal)
    if named:
        return f"builtins.{named[1]}" if "." not in named[1] else named[1]
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".pkl")]
                globals_ = [found for name in names for found in pickled_globals(archive.open(name))]  # type: ignore[arg-type]
        else:
            with path.open("rb") as file:
                globals_ = list(pickled_globals(file))
    except (OSError, zipfile.BadZipFile, RuntimeError):
        return None
    harmless = ("torch.", "collections.")
    return next((name for name in globals_ if not name.startswith(harmless) and name not in STAND_INS), None)


def pickled_globals(file: BinaryIO) -> Iterator[str]:
    """Yield the dotted names that the pickles at the head of a file would import, by reading their opcodes only."""
    strings: list[str] = []
    while True:
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name in ("GLOBAL", "INST"):
                    yield str(argument).replace(" ", ".")
                elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                    yield ".".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
        except Exception:  # the end of the pickles, or no pickle at all: nothing more to name
            return
