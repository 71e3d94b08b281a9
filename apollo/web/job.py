"""Restores a visitor's songs as `apollo restore` does, and makes each ready for the player."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from apollo.errors import ApolloError
from apollo.player import compare, look_at
from apollo.restoration import Outcome, Output, Restorer, Task, restore_files
from apollo.restoration.output import check_format
from apollo.web.workspace import Room, safe_name

SUFFIXES = {"audio/flac": "flac", "audio/ogg": "ogg", "image/png": "png"}

_TICK = 0.4  # seconds between two looks at how far it is


class Cancelled(BaseException):
    """The visitor wants no more."""


@dataclass(frozen=True)
class Wish:
    """The options that a visitor has chosen."""

    model: str
    mix: float = 1.0  # as `Restorer` takes it
    keep_below: float | None = None  # the same
    fill: float = 1.0  # the same
    file_format: str = "flac"  # one of `apollo.audio.FORMATS`
    force: bool = False  # whether to restore what shows no damage


@dataclass(frozen=True)
class Result:
    """The result for one song."""

    number: int  # counted from 0
    name: str  # of the song
    outcome: Outcome
    message: str = ""  # why it failed or was passed over, without folders that are none of the visitor's business
    download: str = ""  # the address of the restored file
    no_player: str = ""  # why there is none


@dataclass
class State:
    """How far a job is."""

    files: int
    number: int = 0  # the one under way, counted from 0
    name: str = ""
    phase: str = "reading"  # `"reading"`, `"restoring"` or `"drawing"`
    done: float = 0.0  # seconds restored of it
    total: float = 0.0  # of how many
    elapsed: float = 0.0  # seconds that restoring it has taken so far
    results: list[Result] = field(default_factory=list)  # of the songs before it
    over: bool = False  # whether all is done, or cancelled
    cancelled: bool = False  # whether the visitor wanted no more
    error: str = ""  # why nothing could be begun


class Job:
    """Restores songs in a thread of its own, makes them ready for `players`, and tells how far it is."""

    def __init__(
        self,
        room: Room,
        uploads: Sequence[Path],
        wish: Wish,
        restorer: Callable[[Wish], Restorer],
        players: bool = True,
    ) -> None:
        self.room = room
        self.uploads = uploads
        self.wish = wish
        self.restorer = restorer
        self.players = players
        self.state = State(len(uploads))
        self.stopped = threading.Event()
        self._work: Future[None] | None = None

    def cancel(self) -> None:
        """Stop at the next block of sound."""
        self.stopped.set()

    def wait(self) -> None:
        """Wait until nothing is worked on any more."""
        if self._work is not None:
            wait([self._work])

    def run(self) -> Iterator[State]:
        """Do it, and give the state whenever it has changed and a moment has passed; leaving early cancels it."""
        with ThreadPoolExecutor(1) as thread:  # whose end is waited for
            self._work = thread.submit(self._restore_all)
            try:
                while wait([self._work], _TICK).not_done:
                    yield self.state
                error = self._work.exception()
                if isinstance(error, ApolloError):
                    self.state.error = str(error)
                elif isinstance(error, Cancelled):
                    self.state.cancelled = True
                elif error is not None:  # a fault of ours, which the page has to tell of
                    raise error
                self.state.over = True
                yield self.state
            finally:
                self.cancel()

    def _restore_all(self) -> None:
        tasks = self._tasks()
        restorer = self.restorer(self.wish)
        began = time.monotonic()

        def begin(task: Task) -> Callable[[float, float], None]:
            nonlocal began
            began = time.monotonic()
            number = len(self.state.results)
            self._go_on(number, task.source.name, "reading", 0.0, 0.0, 0.0)

            def advance(done: float, total: float) -> None:
                self._go_on(number, task.source.name, "restoring", done, total, time.monotonic() - began)

            return advance

        wish = self.wish
        for outcome in restore_files(tasks, restorer, Output(), False, wish.force, begin, wish.model):
            self.state.results.append(self._result(outcome))
            self._check()

    def _tasks(self) -> list[Task]:
        """One task a song, between names of our own."""
        suffix = check_format(self.wish.file_format)
        sources, targets = self.room.folder / "songs", self.room.folder / "restored"
        sources.mkdir()
        taken: set[str] = set()
        tasks = []
        for upload in self.uploads:
            source = sources / safe_name(upload.name, taken)
            try:
                try:
                    os.link(upload, source)
                except OSError:  # a disk that knows no links
                    shutil.copyfile(upload, source)
            except OSError:
                raise ApolloError(f"{source.name} is no longer here: upload it again") from None
            tasks.append(Task(source, targets / f"{source.stem}.restored.{suffix}"))
        return tasks

    def _result(self, outcome: Outcome) -> Result:
        number, name = len(self.state.results), outcome.task.source.name
        if outcome.report is None:
            return Result(number, name, outcome, self.told(outcome.message))
        target = self.room.folder / "restored" / outcome.task.target.name
        address = self.room.serve(f"restored/{number}", target, target.name)
        no_player = ""
        if self.players:
            self._go_on(number, name, "drawing", outcome.report.seconds, outcome.report.seconds, outcome.report.elapsed)
            try:
                self._draw(number, outcome)
            except ApolloError as error:
                no_player = self.told(str(error))
        return Result(number, name, outcome, "", address, no_player)

    def _draw(self, number: int, outcome: Outcome) -> None:
        assert outcome.report is not None
        folder = self.room.folder / f"player-{number}"
        folder.mkdir()
        count = 0

        def keep(kind: str, data: bytes) -> str:
            nonlocal count
            self._check()
            name = f"{count}.{SUFFIXES[kind]}"
            (folder / name).write_bytes(data)
            count += 1
            return self.room.serve(f"player/{number}/{name}", folder / name)

        source = self.room.folder / "songs" / outcome.task.source.name
        target = self.room.folder / "restored" / outcome.task.target.name
        before, after = (look_at(path, lambda done, total: self._check()) for path in (source, target))
        names = (source.name, target.name, "difference")
        found = compare(before, after, keep, names, gain_db=-outcome.report.turned_down_db)
        self.room.players[number] = found.player

    def _go_on(self, number: int, name: str, phase: str, done: float, total: float, elapsed: float) -> None:
        self._check()
        state = self.state
        state.number, state.name, state.phase = number, name, phase
        state.done, state.total, state.elapsed = done, total, elapsed

    def _check(self) -> None:
        if self.stopped.is_set():
            raise Cancelled

    def told(self, message: str) -> str:
        """A message without the folders of this machine."""
        for folder in (self.room.folder / "songs", self.room.folder / "restored", self.room.folder):
            message = message.replace(f"{folder}{os.sep}", "")
        return message
