"""Restoring with many workers at once, on this machine or on a cluster, by Ray."""

from apollo.cluster.connection import Workers, connected
from apollo.cluster.restoring import Job, restore_with_workers

__all__ = ["Job", "Workers", "connected", "restore_with_workers"]
