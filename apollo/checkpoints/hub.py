"""Models that are published on the Hugging Face hub: fetched once, then read from its cache.

`huggingface_hub` is imported where it is used only: whoever has a model file at hand does not wait for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apollo.errors import ModelFileError, one_line

# Short names of published models.
KNOWN = {"paper": "JusperLee/Apollo:pytorch_model.bin"}
# Which of a model's files to take, best first: data that is nothing else, then what the published code writes.
PREFERENCE = ("model.safetensors", "*.safetensors", "pytorch_model.bin", "*.ckpt", "*.bin", "*.pt", "*.pth")
SUFFIXES = frozenset({".safetensors", ".bin", ".ckpt", ".pt", ".pth"})
IDENTIFIER = re.compile(r"(?P<model>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@:]+))?(:(?P<file>[^:]+))?")
SECONDS_TO_ANSWER = 10.0


@dataclass(frozen=True)
class HubModel:
    """What `owner/name@revision:file` says, where revision is a branch, tag or commit; the last two may be left out."""

    model: str
    revision: str = "main"
    file: str | None = None

    def __str__(self) -> str:
        return self.model if self.revision == "main" else f"{self.model}@{self.revision}"


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
        if kept := fetched(wanted):
            return kept[choose(sorted(kept), wanted)]
        reason = one_line(error)[:200] or type(error).__name__
        raise ModelFileError(
            f"there is no file {wanted.model}, and the Hugging Face model {wanted} cannot be fetched and is not in the "
            f"cache ({reason}): check the connection, or give a model file"
        ) from None


def choose(files: Sequence[str], wanted: HubModel) -> str:
    """Pick the weights among a model's files; raises ModelFileError if there are none, or several that may be meant."""
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


def fetched(model: HubModel) -> dict[str, Path]:
    """The files of a model in the hub's cache, by name; the hub is not asked. `hf cache ls` lists them all."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model.model, revision=model.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return {}
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
