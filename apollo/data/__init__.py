"""From folders of music to batches of `{original, degraded}`."""

from apollo.data.module import DataModule, StemDataModule

__all__ = ["DataModule", "StemDataModule"]
