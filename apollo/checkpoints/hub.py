"""Models that are published on the Hugging Face hub: fetched once, read from its cache ever after.

`huggingface_hub` is imported where it is used only: whoever has a model file at hand does not wait for it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from apollo.checkpoints.archives import Archive
from apollo.errors import ModelFileError, one_line

# Short names of published models.
KNOWN = {"paper": "JusperLee/Apollo:pytorch_model.bin"}
# Which of a model's files to take, best first: data that is nothing else, then what the published code writes.
PREFERENCE = ("model.safetensors", "*.safetensors", "pytorch_model.bin", "*.ckpt", "*.bin", "*.pt", "*.pth")
SUFFIXES = frozenset({".safetensors", ".bin", ".ckpt", ".pt", ".pth"})
IDENTIFIER = re.compile(r"(?P<model>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@:]+))?(:(?P<file>[^:]+))?")
SECONDS_TO_ANSWER = 10.0
# Parameters of which every Apollo model has one, under its published name and under ours.
MARKS = (b"BN.0.0.weight", b"band_split.equal.weight", b"fill.levels.input.weight")


@dataclass(frozen=True)
class HubModel:
    """What `owner/name@revision:file` says; the last two may be left out.

    Attributes:
        model: `owner/name`.
        revision: Branch, tag or commit.
        file: The file in it, with its folders.
    """

    model: str
    revision: str = "main"
    file: str | None = None

    def __str__(self) -> str:
        return self.model if self.revision == "main" else f"{self.model}@{self.revision}"


@dataclass(frozen=True)
class CachedModel:
    """A model file in the hub's cache.

    Attributes:
        name: How to ask for it, as `owner/name@revision:file`.
        path: Where it lies.
        size: In bytes.
    """

    name: str
    path: Path
    size: int


def parse(text: str) -> HubModel | None:
    """Read `owner/name`, with `@revision` and `:file` if wanted; `None` where it can only be a path.

    >>> parse("JusperLee/Apollo@main:pytorch_model.bin")
    HubModel(model='JusperLee/Apollo', revision='main', file='pytorch_model.bin')
    >>> parse("exps/last.ckpt") is None
    True
    """
    match = IDENTIFIER.fullmatch(text)
    if match is None or Path(match["model"]).suffix.lower() in SUFFIXES:
        return None
    return HubModel(match["model"], match["revision"] or "main", match["file"])


def fetch(wanted: HubModel) -> Path:
    """Give the file of a model, from the cache if the hub cannot be reached or the file has not changed.

    Raises:
        ModelFileError: If there is no such model, revision or file, several files may be meant, its owner asks for
            consent first, or the hub cannot be reached and the file is not in the cache.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(wanted.model, revision=wanted.revision, timeout=SECONDS_TO_ANSWER)
        file = choose([sibling.rfilename for sibling in info.siblings or []], wanted)
        return Path(hf_hub_download(wanted.model, file, revision=wanted.revision))
    except ModelFileError:
        raise
    except GatedRepoError:
        raise ModelFileError(
            f"the Hugging Face model {wanted.model} is gated: accept its terms on its page, then run hf auth login"
        ) from None
    except RepositoryNotFoundError:
        raise ModelFileError(
            f"there is neither a file {wanted.model} nor a Hugging Face model of that name that you may see"
        ) from None
    except RevisionNotFoundError:
        raise ModelFileError(f"the Hugging Face model {wanted.model} has no revision {wanted.revision!r}") from None
    except Exception as error:  # whatever the network or what stands between may raise
        kept = {name: path for model, name, path, _ in _cache() if _is(model, wanted)}
        if kept:
            return kept[choose(sorted(kept), wanted)]
        reason = one_line(error)[:200] or type(error).__name__
        raise ModelFileError(
            f"there is no file {wanted.model}, and the Hugging Face model {wanted} cannot be fetched and is not in the "
            f"cache ({reason}): check the connection, or give a model file"
        ) from None


def choose(files: Sequence[str], wanted: HubModel) -> str:
    """Pick the weights among a model's files.

    Raises:
        ModelFileError: If there are none, or several that may be meant.
    """
    weights = [file for file in files if Path(file).suffix.lower() in SUFFIXES]
    if wanted.file is not None:
        if wanted.file in files:
            return wanted.file
        has = ", ".join(weights) or "no model file"
        raise ModelFileError(f"the Hugging Face model {wanted} has no file {wanted.file!r}: it has {has}")
    for pattern in PREFERENCE:
        found = [file for file in weights if Path(file).match(pattern)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ModelFileError(
                f"the Hugging Face model {wanted} has several model files ({', '.join(found)}): "
                f"choose one, such as {wanted}:{found[0]}"
            )
    raise ModelFileError(f"the Hugging Face model {wanted} has no model file")


def cached_models() -> list[CachedModel]:
    """List the Apollo models in the hub's cache, by name; asks nobody."""
    return sorted(
        (
            CachedModel(f"{HubModel(revision.model, min(revision.names))}:{name}", path, size)
            for revision, name, path, size in _cache()
            if path.suffix.lower() in SUFFIXES and holds_apollo(path)
        ),
        key=lambda cached: cached.name,
    )


def holds_apollo(path: Path) -> bool:
    """Tell from the names in a model file, without reading its weights, whether it may hold Apollo."""
    try:
        if zipfile.is_zipfile(path):
            with Archive(path) as archive:
                head = archive.pickle()
        else:
            with path.open("rb") as file:
                head = file.read(1 << 20)
    except Exception:  # a damaged archive can raise anything
        return False
    return any(mark in head for mark in MARKS)


@dataclass(frozen=True)
class _Revision:
    """A revision in the cache: its model, and its branches and tags, or its commit if it has none; and the commit."""

    model: str
    names: frozenset[str]
    commit: str


def _is(revision: _Revision, wanted: HubModel) -> bool:
    named = wanted.revision in revision.names or revision.commit.startswith(wanted.revision)
    return revision.model == wanted.model and named


def _cache() -> Iterator[tuple[_Revision, str, Path, int]]:
    """Yield for all model files in the hub's cache: revision, name with folders, path and bytes."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    for repository in repositories:
        for revision in repository.revisions:
            names = revision.refs or frozenset({revision.commit_hash})
            key = _Revision(repository.repo_id, names, revision.commit_hash)
            for file in revision.files:
                name = file.file_path.relative_to(revision.snapshot_path).as_posix()
                yield key, name, file.file_path, file.size_on_disk
