"""Only regular files are opened: a pipe may never give anything, a device may never end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path

from apollo.errors import ApolloError

_SPECIAL: dict[str, Callable[[int], bool]] = {
    "a named pipe": stat.S_ISFIFO,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    "a socket": stat.S_ISSOCK,
}


def refuse_special(path: Path, error: type[ApolloError] = ApolloError) -> None:
    """Refuse a path that leads, by any links, to a pipe, device, socket or system file.

    Folders pass, and so do paths that are missing or not accessible: opening them says what is wrong.

    Args:
        path: What will be opened or replaced.
        error: What to raise.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return
    what = next((name for name, is_one in _SPECIAL.items() if is_one(status.st_mode)), None)
    if what is None and stat.S_ISREG(status.st_mode) and status.st_dev in _system_devices():
        what = "a system file"
    if what is not None:
        raise error(f"{path} is {what}, which Apollo does not open: copy its content to a regular file and name that")


@cache
def _system_devices() -> frozenset[int]:
    """The devices of the file systems in which Linux shows its own state."""
    return frozenset(Path(place).stat().st_dev for place in ("/proc", "/sys") if os.path.ismount(place))
