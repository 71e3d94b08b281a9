"""Waveforms and files: read, write, resample, align, and put through a codec. Knows no network."""

from apollo.audio.alignment import Relation, lag, relate
from apollo.audio.bandwidth import Bandwidth, inspect_bandwidth
from apollo.audio.codecs import CODECS, MARGIN, degrade
from apollo.audio.decoders import SUFFIXES
from apollo.audio.files import AudioInfo, AudioReader, AudioWriter, info, read, write
from apollo.audio.resampling import Resampler, resample, resampled_length

__all__ = [
    "CODECS",
    "MARGIN",
    "SUFFIXES",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "Bandwidth",
    "Relation",
    "Resampler",
    "degrade",
    "info",
    "inspect_bandwidth",
    "lag",
    "read",
    "relate",
    "resample",
    "resampled_length",
    "write",
]
