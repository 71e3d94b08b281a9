"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apollo.errors import ApolloError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a new name beside a file, to write to; what was written takes the file's place when the block ends.

    An exception removes it instead and leaves what was there before.

    Args:
        path: The file to write or replace.

    Raises:
        OSError: If the file cannot be replaced.

    Example:
        >>> with replacing(Path("notes.txt")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("whole or not at all")
    """
    # Short whatever the file is called: a name that is as long as names may be has no room for more.
    temporary = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("r+b") as file:  # else a crash of the machine may leave the name with nothing behind it
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make an output folder where it is missing.

    Raises:
        ApolloError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApolloError(f"the output folder {folder} cannot be made: {error.strerror}") from None
