"""Waveforms and files: read, write, resample, align, and put through a codec. Knows no network."""

from apollo.audio.codecs import CODECS, MARGIN, degrade

__all__ = ["CODECS", "MARGIN", "degrade"]
