"""A folder of files that restores in the visitor's own browser: any web server can offer it, and nothing leaves."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.atomic import refuse_existing, temporary_folder
from apollo.errors import ApolloError

if TYPE_CHECKING:
    from apollo.nn import Apollo

_HERE = Path(__file__).parent / "browser"
OWN = ("index.html", "page.css", "page.js", "worker.js")

REGISTRY = "https://registry.npmjs.org"
PACKAGE = "onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
LARGEST = 64 << 20  # bytes of the package; it has 33 million
SECONDS_TO_ANSWER = 60.0
# What of the package is needed, and what it is called here: some servers do not know `.mjs` to be a script.
RUNTIME = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort/ort.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort/ort.wasm",
}

CHUNK_SECONDS = 10


@dataclass(frozen=True)
class Site:
    """A folder that was written."""

    files: int  # how many files it has
    size: int  # of all of them, in bytes
    difference: float  # of the ONNX file from PyTorch, over the peak


def write_site(model: str, folder: Path, overwrite: bool = False) -> Site:
    """Write the folder: the page, the model as ONNX, and onnxruntime-web, which is fetched from the npm registry.

    Args:
        model: As for `load_model`.
        folder: Made if it is missing; other files in it are left alone.
        overwrite: Whether files that are there already are replaced.

    Raises:
        ExistsError: If there is such a file, and it is not to be replaced.
        ApolloError: If the folder is a file, the model cannot be read or exported, onnxruntime-web cannot be fetched,
            or a file cannot be written.
    """
    from apollo.checkpoints.exporting import read_for_export, write_whole
    from apollo.checkpoints.onnx import export_onnx
    from apollo.player import script, style

    names = (*OWN, "player.css", "player.js", "model.onnx", *RUNTIME.values())
    if folder.exists() and not folder.is_dir():
        raise ApolloError(f"{folder} is a file: give a folder to write to")
    if not overwrite:
        for name in names:
            refuse_existing(folder / name)
    network, metadata = read_for_export(model)
    contents = {name: (_HERE / name).read_bytes() for name in OWN}
    contents.update({"player.css": style().encode(), "player.js": script().encode(), **fetch_runtime()})
    with temporary_folder() as temporary:
        comparison = export_onnx(network, temporary / "model.onnx", metadata.get("licence", "unknown"))
        graph = contents["model.onnx"] = (temporary / "model.onnx").read_bytes()
    contents["index.html"] = contents["index.html"].replace(b"{model}", described(network, graph).encode())
    write_whole({folder / name: contents[name] for name in names}, overwrite)
    return Site(len(names), sum(map(len, contents.values())), comparison.difference)


def described(model: Apollo, graph: bytes) -> str:
    """What the page has to know of a model, as attributes in HTML; lengths are in samples."""
    about = {
        "rate": model.sample_rate,
        "context": model.context_frames * model.hop_length,
        "chunk": round(CHUNK_SECONDS * model.sample_rate / model.hop_length) * model.hop_length,
        "fill": int(model.fill is not None),
        "network": hashlib.sha256(graph).hexdigest()[:16],
    }
    return " ".join(f'data-{name}="{value}"' for name, value in about.items())


@cache
def fetch_runtime() -> dict[str, bytes]:
    """Fetch what is needed of onnxruntime-web; raises ApolloError if it cannot be, or is not what its makers published.

    The environment variable `NPM_CONFIG_REGISTRY` names another registry, as for npm.
    """
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or os.environ.get("npm_config_registry") or REGISTRY  # noqa: SIM112
    address = f"{registry.rstrip('/')}/{PACKAGE}"
    if not address.startswith(("https://", "http://")):
        raise ApolloError(f"NPM_CONFIG_REGISTRY must be an address that begins with https://, not {registry!r}")
    try:
        with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as answer:
            package = answer.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ApolloError(
            f"onnxruntime-web cannot be fetched from {address} ({reason}): connect to the network, or name another npm "
            "registry in NPM_CONFIG_REGISTRY"
        ) from None
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != SHA512:
        raise ApolloError(f"{address} is not the package that was published as such: use another npm registry")
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member, name in RUNTIME.items():
            file = archive.extractfile(member)
            assert file is not None
            contents[name] = file.read()
    return contents
