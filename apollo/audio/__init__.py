"""Waveforms and files: read, write, resample, align, and put through a codec. Knows no network."""

from apollo.audio.alignment import Relation, lag, relate
from apollo.audio.bandwidth import Bandwidth, inspect_bandwidth
from apollo.audio.cliff import CutoffMeter
from apollo.audio.codecs import MARGIN, degrade
from apollo.audio.encodings import CODECS
from apollo.audio.files import AudioReader, info, read
from apollo.audio.folders import SUFFIXES, audio_files
from apollo.audio.formats import FORMATS
from apollo.audio.metadata import AudioInfo
from apollo.audio.pictures import Cover
from apollo.audio.pipes import (
    RAW_FORMATS,
    RawFormat,
    RawStreamWriter,
    WavStreamWriter,
    read_raw_stream,
    read_wav_stream,
)
from apollo.audio.remarks import Remarks
from apollo.audio.resampling import Resampler, resample, resampled_length
from apollo.audio.tags.model import Chapter, Metadata
from apollo.audio.tags.reading import read_cover, read_metadata
from apollo.audio.verdict import Verdict, needs_restoration
from apollo.audio.writing import AudioWriter, write

__all__ = [
    "CODECS",
    "FORMATS",
    "MARGIN",
    "RAW_FORMATS",
    "SUFFIXES",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "Bandwidth",
    "Chapter",
    "Cover",
    "CutoffMeter",
    "Metadata",
    "RawFormat",
    "RawStreamWriter",
    "Relation",
    "Remarks",
    "Resampler",
    "Verdict",
    "WavStreamWriter",
    "audio_files",
    "degrade",
    "info",
    "inspect_bandwidth",
    "lag",
    "needs_restoration",
    "read",
    "read_cover",
    "read_metadata",
    "read_raw_stream",
    "read_wav_stream",
    "relate",
    "resample",
    "resampled_length",
    "write",
]
