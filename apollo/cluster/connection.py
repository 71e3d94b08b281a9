"""A Ray cluster, joined or started, and how many workers of what size fit into it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from apollo.errors import ApolloError, one_line

cluster_nodes: Any = ray.nodes  # which Ray has given no types

STORE = 100_000_000  # bytes of Ray's object store, which holds the network and nothing else


@dataclass(frozen=True)
class Workers:
    """Workers that are alike."""

    count: int
    threads: int  # cores that each has
    gpus: float  # GPUs that each has; a fraction where several share one

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        return f"{self.count} worker{'s' * (self.count > 1)} of {self.threads} core{'s' * (self.threads > 1)}{gpus}"

    @classmethod
    def fitting(cls, count: int | None, gpus: float | None, use_gpus: bool) -> Workers:
        """Those that use all of the cluster that is joined: one a GPU, or where there are none, one a core.

        Args:
            count: How many are asked for; None is as many as fit.
            gpus: How many GPUs each is to have; None is one if there are any.
            use_gpus: Whether GPUs are to be used at all.

        Raises:
            ApolloError: If the cluster does not have what is asked for.
        """
        nodes = [node["Resources"] for node in cluster_nodes() if node["Alive"]]
        cores = [int(node.get("CPU", 0)) for node in nodes]
        all_gpus = sum(node.get("GPU", 0.0) for node in nodes) if use_gpus else 0.0
        if gpus is None:
            gpus = 1.0 if all_gpus else 0.0
        if gpus > all_gpus:
            raise ApolloError(f"--gpus asks for {gpus:g} per worker, but only {all_gpus:g} are available")
        if not sum(cores):
            raise ApolloError("the Ray cluster has no cores: start its nodes with ray start --num-cpus")
        count = count or (int(all_gpus / gpus) if gpus else sum(cores))
        return cls(count, max(1, min(sum(cores) // count, max(cores))), gpus)


def check_there(address: str) -> None:
    """Make sure that something listens at an address, for which Ray waits for many minutes.

    Raises:
        ApolloError: If nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), 10).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ApolloError(f"there is no Ray cluster at {address} ({error}): see what ray status says there") from None


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Join a Ray cluster, and leave it when the block ends; one that was started for it ends as well.

    Args:
        address: `host:port` or `ray://host:port` of a cluster's head, `"auto"` for the one that this machine is part
            of, or `"local"` to start one that has this machine alone.

    Raises:
        ApolloError: If there is none, or none can be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for Ray to report home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Ray takes SIGTERM for itself, where the command has its own way to end.
    before = signal.getsignal(signal.SIGTERM) if threading.current_thread() is threading.main_thread() else None
    check_there(address)
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE} if address == "local" else {}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **own)
    except Exception as error:  # whatever the network or the machine makes of it
        ray.shutdown()
        reason = one_line(error)[:200]
        what = "Ray cannot be started" if address == "local" else f"there is no Ray cluster at {address}"
        raise ApolloError(
            f"{what} ({type(error).__name__}: {reason}): see whether ray status finds one, or leave the address out"
        ) from None
    try:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        yield
    finally:
        ray.shutdown()
