"""Files that appear whole or not at all, replace nothing unasked, and are made by one process at a time."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from apollo.errors import ApolloError
from apollo.regular import refuse_special

_unfinished: set[Path] = set()
_claims: dict[int, Path] = {}  # open files, and their names
_claimed: set[Path] = set()  # what they stand for


class ExistsError(ApolloError):
    """A file exists already and may not be replaced."""


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary name beside a file to write to; it replaces the file when the block ends.

    An exception removes it instead and leaves the old file.

    Args:
        path: The file to write or replace.
        overwrite: Whether to replace a file that exists when the block ends, whoever made it and when.

    Raises:
        ExistsError: If there is one that may not be replaced.
        ApolloError: If it is a device or a pipe.
        OSError: If the file cannot be written.

    Example:
        >>> with replacing(Path("notes.txt")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("whole or not at all")
    """
    refuse_special(path)
    if not overwrite:
        refuse_existing(path)  # before the work rather than after it
    # Short, because a file's name may be as long as names can be. A claimed file has the same temporary name each time,
    # so that it replaces what a killed process has left.
    temporary = path.with_name(f".{_mark(path) if path in _claimed else secrets.token_hex(4)}.part")
    temporary.unlink(missing_ok=True)
    _unfinished.add(temporary)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # else a crash of the machine may leave an empty file
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _move_to_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        _unfinished.discard(temporary)


def exists_already(place: object) -> str:
    """The message about something that is not replaced unasked."""
    return f"{place} exists already: use --overwrite to replace it, or choose another output"


def unwritable(place: object, error: OSError) -> str:
    """The message about a file or folder that the system does not let us write."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    reason = error.strerror or str(error)
    return f"{place} cannot be written ({reason}): {'free some space' if is_full else 'choose another output'}"


def refuse_existing(path: Path) -> None:
    """Make sure that a name is free; raises ExistsError if it is taken, even by a broken link."""
    if os.path.lexists(path):
        raise ExistsError(exists_already(path))


def _move_to_new(temporary: Path, path: Path) -> None:
    """Give a file a free name, even if something else takes it at this very moment."""
    try:
        if sys.platform == "win32":
            temporary.rename(path)  # replaces nothing on Windows
            return
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links: the name is taken by an empty file, which is then replaced
            path.open("xb").close()
            try:
                temporary.replace(path)
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        refuse_existing(path)
        raise


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give an empty folder that is removed when the block ends."""
    with TemporaryDirectory(prefix="apollo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _unfinished.add(folder)
        try:
            yield folder
        finally:
            _unfinished.discard(folder)


def discard_unfinished() -> None:
    """Remove unfinished files and claims of this process, before it exits without leaving its `with` blocks."""
    for temporary in [*_unfinished, *_claims.values()]:
        with suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)
    _claims.clear()  # else the end of a block could remove a mark that another process has made since


def clear_unfinished(folder: Path) -> None:
    """Remove what killed processes have left half-written in a folder, at any depth; no other may be at work in it."""
    for half in folder.rglob(".*.part"):
        if re.fullmatch(r"\.[0-9a-f]{8}\.part", half.name):
            half.unlink()


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Claim a file or folder for this process, and give whether that worked: one process has it at a time.

    A claim ends with its process, however that ends. If no claim can be made, as in a read-only folder, it works for
    everyone.
    """
    mark = path.with_name(f".{_mark(path)}.claim")
    file = _marked(mark)
    if file is not None and file >= 0:
        _claims[file] = mark
        _claimed.add(path)
    try:
        yield file is not None
    finally:
        if file in _claims:  # not in a forked process
            del _claims[file]
            _claimed.discard(path)
            if sys.platform == "win32":  # an open file cannot be removed there
                os.close(file)
            with suppress(OSError):
                mark.unlink()
            if sys.platform != "win32":
                os.close(file)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Claim a folder for one run; raises ApolloError if another run is at work in it."""
    with claimed(folder / "run") as ours:
        if not ours:
            raise ApolloError(f"another run of Apollo is at work in {folder}: wait for it, or choose another folder")
        yield


def _mark(path: Path) -> str:
    """A short hash of the name of a file."""
    return sha256(os.fsencode(path.name)).hexdigest()[:16]


def _marked(mark: Path) -> int | None:
    """Open and lock the file of a claim; None if another process has it, -1 if no claim can be made."""
    while True:
        try:
            file = os.open(mark, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError:
            return -1
        if not _lock(file):
            os.close(file)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(file), mark.stat()):
                return file
        os.close(file)  # another process has removed it since


def _leave_claims() -> None:
    """Let go of claims in a forked process: they belong to its parent."""
    for file in _claims:
        with suppress(OSError):
            os.close(file)
    _claims.clear()
    _claimed.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_claims)


def _lock(file: int) -> bool:
    """Lock an open file for this process until it is closed; tell whether it was free."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a disk without locks
        return sys.platform != "win32" or not isinstance(error, PermissionError)
    return True


def make_folder(folder: Path) -> None:
    """Make an output folder where it is missing; raises ApolloError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApolloError(unwritable(f"the output folder {folder}", error)) from None
