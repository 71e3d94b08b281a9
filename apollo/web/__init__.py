"""The page: drop songs, hear them before and after, take them home. Runs on this machine, and needs no other."""

from apollo.web.serve import Settings, serve

__all__ = ["Settings", "serve"]
