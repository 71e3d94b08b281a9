"""Where uploads and results lie while they are needed: a folder that is gone when the page is."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LIFETIME = 3600.0  # seconds for which what nobody uses is kept
_LONGEST = 100  # characters of a name


@dataclass(frozen=True)
class Served:
    """A file that visitors may fetch."""

    path: Path  # where it lies
    download: str | None = None  # the name under which a browser is to save it; None for what belongs to the page


@dataclass
class Room:
    """What belongs to one visitor's job: sources, results, and what the player needs."""

    token: str  # its name in addresses, which nobody can guess: whoever knows it is the visitor
    folder: Path  # where all of it lies
    served: dict[str, Served] = field(default_factory=dict)  # what can be fetched, by address; nothing else can
    players: dict[int, str] = field(default_factory=dict)  # the HTML of each result's player
    busy: bool = False  # whether the job is still running
    used: float = field(default_factory=time.monotonic)  # when something was last done with it
    _zipping: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, name: str, path: Path, download: str | None = None) -> str:
        """Let a file be fetched; gives its address, relative to the page."""
        self.served[name] = Served(path, download)
        return f"apollo/{self.token}/{name}"

    def serve_all(self) -> str:
        """Let all that can be downloaded be fetched as one ZIP file, which is made when it is asked for."""
        return self.serve("all.zip", self.folder / "all.zip", "restored.zip")

    def fetch(self, name: str) -> Served | None:
        """A file by its name."""
        self.used = time.monotonic()
        found = self.served.get(name)
        if found is not None and name == "all.zip":
            self._zip(found.path)
        return found

    def _zip(self, target: Path) -> None:
        with self._zipping:
            if target.exists():
                return
            part = target.with_suffix(".part")
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:  # music does not become smaller
                for served in self.served.values():
                    if served.download is not None and served.path != target:
                        file.write(served.path, served.download)
            part.replace(target)


class Workspace:
    """A folder of uploads and rooms, removed by whoever made it; what has not been used for an hour is removed."""

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self._rooms = folder / "rooms"
        self.uploads.mkdir()
        self._rooms.mkdir()
        self._open: dict[str, Room] = {}

    @contextmanager
    def room(self) -> Iterator[Room]:
        """A new room, which is kept while the block runs and for an hour after its last use."""
        token = secrets.token_hex(16)
        folder = self._rooms / token
        folder.mkdir()
        room = self._open[token] = Room(token, folder, busy=True)
        try:
            yield room
        finally:
            room.used = time.monotonic()
            room.busy = False

    def find(self, token: str) -> Room | None:
        """The room of a token."""
        room = self._open.get(token)
        if room is not None:
            room.used = time.monotonic()
        return room

    def clean(self) -> None:
        """Remove what has not been used for an hour."""
        for token, room in list(self._open.items()):
            if not room.busy and time.monotonic() - room.used > LIFETIME:
                del self._open[token]
                shutil.rmtree(room.folder, ignore_errors=True)
        for upload in self.uploads.iterdir():
            with suppress(OSError):  # it may be gone by now
                if time.time() - upload.stat().st_mtime > LIFETIME:
                    shutil.rmtree(upload) if upload.is_dir() else upload.unlink()

    def keep_clean(self, stopped: threading.Event) -> None:
        """Clean every minute until that is over."""
        while not stopped.wait(60):
            self.clean()


def safe_name(name: str, taken: set[str]) -> str:
    r"""A name for a file that came from outside: a plain one, short, like no other in `taken`, to which it is added.

    Example:
        >>> taken: set[str] = set()
        >>> safe_name("../../etc/Ünï<b>\x00.mp3", taken), safe_name("-.wav", taken), safe_name("-.wav", taken)
        ('Ünï_b__.mp3', 'song.wav', 'song-2.wav')
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = base.rpartition(".")
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,8}", suffix):
        stem, suffix = base.replace(".", "_"), ""  # what follows a dot would be left out of the name of its result
    stem = "".join(letter if letter.isalnum() or letter in " ._-()[],'&+" else "_" for letter in stem)
    stem = stem.encode()[:_LONGEST].decode("utf-8", "ignore").strip(" .-") or "song"
    number, chosen = 1, stem
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{stem}-{number}"
    taken.add(chosen.casefold())
    return f"{chosen}.{suffix}" if suffix else chosen
