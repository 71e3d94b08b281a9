"""Who restores: models that are run here, and folders of what other tools have made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from apollo.audio import SUFFIXES
from apollo.errors import DataError
from apollo.evaluation.cases import Case
from apollo.evaluation.results import CONTROLS, UNPROCESSED
from apollo.metrics import DEFAULT_METRICS, metric
from apollo.storage import Place, Url, inside, place

if TYPE_CHECKING:
    from apollo.restoration import Restorer


@dataclass(frozen=True)
class Restorations:
    """What somebody else's tool made of the damaged versions."""

    name: str  # as tables call it
    # Where the files lie: under the path of the piece or of its damaged version, or of the folder that holds both, with
    # any ending. For originals under several conditions, `<codec>-<bitrate>/` stands before it.
    folder: Place

    def file_of(self, case: Case[Place], root: Place, several: bool) -> Place:
        """Find what was made of a case of one or `several` conditions; raises DataError unless it is one file."""
        folder = self.folder
        if several:
            folder /= f"{case.condition.codec}-{case.condition.bitrate}"
        if isinstance(folder, Path) and not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        names = [_without_ending(path, root) for path in (case.damaged, *case.sources) if path is not None]
        if case.damaged is not None and case.damaged.parent == case.sources[0].parent != root:
            names.append(inside(case.damaged.parent, root))
            names.append(inside(case.damaged.parent, root) / "restored")
        if case.damaged is not None and len(names[0].parts) > 1:
            names.append(Path(*names[0].parts[1:]))  # restorations of the folder `codec` alone
        for name in names:
            found = _with_any_ending(folder / name)
            if len(found) > 1:
                raise DataError(f"{found[0]} and {found[1].name} both match")
            if found:
                return found[0]
        raise DataError(f"{folder / names[0]} is missing (any suffix counts)")


def parse_restorations(text: str) -> Restorations:
    """Read `NAME=FOLDER`; raises DataError if it is something else, or there is no such folder."""
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise DataError(f"--restored takes NAME=FOLDER, such as other=restored/, not {text!r}")
    there = place(folder)
    if not there.is_dir():
        raise DataError(f"there is no folder {there}: give the folder of what {name} restored")
    return Restorations(name, there)


def _without_ending(path: Place, root: Place) -> Path:
    return inside(path, root).with_suffix("") if root in path.parents else Path(path.stem)


def _with_any_ending(name: Place) -> list[Place]:
    stems = (name.name, f"{name.name}.restored")
    found = [path for path in _files_in(name.parent) if path.stem in stems and path.suffix.lower() in SUFFIXES]
    return sorted(found, key=str)


def _files_in(folder: Place) -> Iterable[Place]:
    if isinstance(folder, Url):
        return objects_in(folder)
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


@cache
def objects_in(folder: Url) -> list[Url]:
    """The objects right in a folder of a store, which are listed once a process."""
    return [url for url in folder.files() if url.parent == folder] if folder.is_dir() else []


@dataclass(frozen=True)
class Settings:
    """What is compared, by which metrics, and with what."""

    models: Sequence[str] = ()  # paths or names, as `apollo.load_model` takes them
    restorations: Sequence[Restorations] = ()  # folders of what other tools made of the damaged versions
    metrics: Sequence[str] = DEFAULT_METRICS  # names that `apollo.metrics.metric` knows
    # Processes, each with one thread. With 1 everything runs in this process, with whatever threads it has.
    workers: int = 1
    device: str = "cpu"  # where the models run, as `Restorer` takes it
    chunk_seconds: float | None = None  # passed to `Restorer`; None leaves its default. It does not change the scores
    # Whether rows are added of what restores nothing (`apollo.evaluation.controls`), to see what it wins.
    controls: bool = False
    # Whether the lag of a damaged version, or of what another tool made of it, is undone before it is scored.
    align: bool = True

    @property
    def systems(self) -> list[str]:
        """All names in a table, `UNPROCESSED` first, controls last."""
        restoring = [*self.models, *(folder.name for folder in self.restorations)]
        return [UNPROCESSED, *restoring, *(CONTROLS if self.controls and restoring else ())]

    def check(self) -> None:
        """Make sure that all metrics are known and no two systems have one name; raises DataError if that is not so."""
        for name in self.metrics:
            metric(name)
        for name in self.systems:
            if self.systems.count(name) > 1:
                raise DataError(f"two systems are called {name!r}: give each a name of its own")

    def restorer(self, model: str) -> Restorer:
        """A model, which is loaded once a process."""
        return restorer_of(model, self.device, self.chunk_seconds)


@cache
def restorer_of(model: str, device: str, chunk_seconds: float | None) -> Restorer:
    """Load a model once a process."""
    from apollo.checkpoints import load_model
    from apollo.restoration import Restorer

    network = load_model(model)
    if chunk_seconds is None:
        return Restorer(network, device=device)
    return Restorer(network, chunk_seconds=chunk_seconds, device=device)


def mark_of_model(restorer: Restorer) -> str:
    """The same only for the same weights in the same network."""
    digest = sha256(repr(restorer.model).encode())
    for name, tensor in sorted(restorer.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
