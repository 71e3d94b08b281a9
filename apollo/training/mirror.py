"""A run whose folder lies in a store: it works in a temporary one, and what changes there is brought to the store."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apollo.errors import ApolloError, ConfigError, TrainingError
from apollo.storage import Place, Url, download, inside, publish, stand_in

log = logging.getLogger(__name__)


class Mirror:
    """A folder of this machine, which may be missing still, and the one in a store that it stands for."""

    def __init__(self, folder: Path, url: Url) -> None:
        self.folder = folder
        self.url = url
        self._sent: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Bring everything here; raises ApolloError if the store does not give it."""
        for url in self.url.files():
            file = self.folder / inside(url, self.url)
            file.parent.mkdir(parents=True, exist_ok=True)
            download(url, file)
        self._sent = self._found()

    def send(self) -> None:
        """Bring to the store what is new here or has changed, each file whole, and remove there what is gone.

        Raises ApolloError if the store does not take it; what it has taken is not sent again.
        """
        found = self._found()
        for name, state in found.items():
            if self._sent.get(name) != state:
                publish(self.folder / name, self.url / name, overwrite=True)
                self._sent[name] = state
        for name in self._sent.keys() - found.keys():
            (self.url / name).remove()
            del self._sent[name]

    def try_to_send(self) -> None:
        """Send, but let a run go on that a store does not answer for a while: what is missing goes along next time."""
        try:
            self.send()
        except ApolloError as error:
            log.warning("%s; the run goes on, and uploads it with the next checkpoint", error)

    def _found(self) -> dict[Path, tuple[int, int]]:
        """Sizes and times of what is here but hidden, the newest state of the run last, which speaks of the others."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        names = sorted((path.relative_to(self.folder) for path in files), key=lambda name: (name.stem == "last", name))
        states = [(self.folder / name).stat() for name in names]
        return {name: (state.st_size, state.st_mtime_ns) for name, state in zip(names, states, strict=True)}


@contextmanager
def mirrored(folder: Url, name: str, resume: Place | None) -> Iterator[tuple[Path, Mirror]]:
    """Give a folder of runs here, and the run of a name in it, with what the store has if it is to be resumed.

    Raises ConfigError if there is such a run already and it is not to be resumed, and TrainingError if at the end the
    store does not take what the run has made, which is then kept here.
    """
    run = folder / name
    run.check_bucket()
    own = isinstance(resume, Url) and run in resume.parents
    if run.is_dir() and not own:
        raise ConfigError(
            f"the run {run} already exists: resume it with -m {run}/checkpoints/last.ckpt, or name the new run with "
            "exp.name=NAME"
        )
    with stand_in(folder) as here:
        mirror = Mirror(here / name, run)
        mirror.folder.mkdir(parents=True)
        if own:
            mirror.fetch()
        try:
            yield here, mirror
        except Exception:  # a full disk, or a bug: what the run has made is kept all the same
            finish(mirror)
            raise
        finish(mirror)


def finish(mirror: Mirror) -> None:
    """Send what the run has left, or keep it."""
    try:
        mirror.send()
    except ApolloError as error:
        kept = Path(tempfile.mkdtemp(prefix="apollo-run-"))
        shutil.copytree(mirror.folder, kept, dirs_exist_ok=True)
        raise TrainingError(f"{error}; what the run has made is kept in {kept}: copy it there") from None
