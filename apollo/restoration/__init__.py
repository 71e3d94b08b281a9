"""Restoring recordings of any length, exactly as the network would restore them whole."""

from apollo.restoration.engine import RestorationStream, Restorer, choose_device

__all__ = ["RestorationStream", "Restorer", "choose_device"]
