"""Runs Python programs in forks of a process that has imported what they would need seconds for.

`python forks.py NUMBER` takes orders from the socket with that number. It has one thread and has run nothing, so that a
fork of it can do whatever a new process can. A fork belongs to who gave the order: its parent here ends at once.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from types import ModuleType


def next_order(control: socket.socket) -> tuple[list[str], str, dict[str, str], bool]:
    """Fork at every order, and return in the fork what follows `python`, a folder, its environment, and whether it
    leads a session; end when nobody orders any more.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not message:
            os._exit(0)
        if parent := os.fork():
            os.waitpid(parent, 0)
            control.send(b"ready")
            for stream in streams:
                os.close(stream)
        elif child := os.fork():
            control.send(str(child).encode())
            os._exit(0)
        else:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            control.close()
            return json.loads(message)


def run(words: list[str], folder: str, environment: dict[str, str], leads: bool) -> None:
    """Do what `python` does with these words."""
    if leads:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # where it is may have changed with them
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", errors="surrogateescape", closefd=False)
        for number, mode in enumerate("rww")
    )
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.modules["__main__"] = ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(words[0]))  # noqa: PTH120  as it was given
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    for module in ("apollo.cli.restore", "apollo.evaluation.run", "apollo.training.train", "torch.utils.tensorboard"):
        importlib.import_module(module)
    os.fsync = lambda file: None  # as in conftest.py
    gc.freeze()
    run(*next_order(socket.socket(fileno=int(sys.argv[1]))))
