"""Whether there is anything to restore in a recording, and how one can tell."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from apollo.audio.bandwidth import Bandwidth, inspect_bandwidth
from apollo.audio.files import AudioReader
from apollo.audio.formats import KNOWN_FORMATS
from apollo.audio.metadata import AudioInfo
from apollo.errors import AudioFileError

# As people call the codecs that are lossy, where FFmpeg's name is another.
_NAMES = {"mp3": "MP3", "mp2": "MP2", "aac": "AAC", "opus": "Opus", "vorbis": "Vorbis", "ac3": "AC-3"}

# From which bitrate on (bit/s) the default model gains next to nothing by ViSQOL and SI-SDR (benchmarks/README.md).
_GOOD = {"mp3": 190_000, "aac": 155_000, "vorbis": 120_000, "opus": 40_000}
_FULL_RATE = 44_100  # Hz: what has less gets treble that it cannot hold

_RESTORER = re.compile(r"Apollo [\w.+-]{1,40}")
_CODING = re.compile(r"(\w{1,20})( at \d{1,6} kbit/s)?")  # as `restored_from` has it

_TRACELESS = "above 256 kbit/s encoders may leave none, and edits wipe them out"


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a recording."""

    # Whether a lossy codec has been at it beyond doubt, so that restoring may help: not if Apollo has restored it
    # since, as its tags tell.
    damaged: bool
    # What has happened to it, such as "MP3 of about 128 kbit/s inside this FLAC"; None where nothing shows.
    history: str | None
    sentence: str  # the verdict in plain words
    bandwidth: Bandwidth | None  # the evidence; None where the file's own codec is lossy, so that none was looked for
    slight: bool = False  # whether the damage is so little that the default model gains next to nothing
    restored: bool = False  # whether Apollo has restored it

    @property
    def lossy(self) -> bool:
        """Whether it is no undamaged original: a lossy codec has been at it, even if Apollo has restored it since."""
        return self.damaged or self.restored


def needs_restoration(path: str | Path, track: int | None = None) -> Verdict:
    """Whether a recording is damaged: what a lossy codec holds always is, all else where an encoder left traces.

    Args:
        path: The file; a few parts of it are read.
        track: Which of its audio tracks, counted from 1; None is the default one.

    Raises:
        AudioFileError: It cannot be read, or holds no samples.
    """
    with AudioReader(path, track) as reader:
        if not reader.read(1).shape[1]:
            raise AudioFileError(f"{path} contains no audio samples; give another file.")
        return judge(reader.info, None if reader.info.lossy else inspect_bandwidth(reader))


def judge(info: AudioInfo, bandwidth: Bandwidth | None) -> Verdict:
    """Judge by what a file says of itself, and by what `inspect_bandwidth` found; a lossy one can do without that.

    Whether the default model can help is told by the bitrate where the file states one. Inside lossless files, a cliff
    tells it: codecs cut off below 18 kHz at just those bitrates at which the model gains (benchmarks/README.md).
    """
    if info.restored and not _coded_again(info):
        history = _restoration(info)
        evidence = None if info.lossy else bandwidth
        return Verdict(False, history, f"{history}: nothing more to restore", evidence, restored=True)
    if info.lossy:
        bitrate = f" at {info.bitrate / 1000:.0f} kbit/s" if info.bitrate else ""
        good = (info.bitrate or 0) >= _GOOD.get(info.codec, math.inf)
        return _lossy(info, f"{_NAMES.get(info.codec, info.codec)}{bitrate}", good, bandwidth)
    if bandwidth is None:
        return Verdict(False, None, "nothing to restore: its codec is lossless", None)
    if bandwidth.silent:
        return Verdict(False, None, "nothing to restore: it is silent", bandwidth)
    if bandwidth.codec is not None:
        about = f" of about {bandwidth.bitrate_kbps} kbit/s" if bandwidth.bitrate_kbps else ""
        if bandwidth.coded_rate not in (None, info.sample_rate):
            about += f" at {bandwidth.coded_rate / 1000:g} kHz"
        history = f"{_NAMES[bandwidth.codec]}{about} inside this {info.container.upper() or 'file'}"
        return _lossy(info, history, not bandwidth.cut, bandwidth)
    if bandwidth.suspicious:
        history = f"a cliff at {bandwidth.cutoff_hz / 1000:.1f} kHz"
        sentence = f"perhaps lossy: {history}, which encoders leave, but low-pass filters too"
        return Verdict(False, history, sentence, bandwidth)
    traces = f"no traces of a lossy encoder ({_TRACELESS})"
    reach = f"reaches {bandwidth.cutoff_hz / 1000:.1f} kHz"
    return Verdict(False, None, f"nothing to restore: {reach}, {traces}", bandwidth)


def _lossy(info: AudioInfo, history: str, good: bool, bandwidth: Bandwidth | None) -> Verdict:
    """The verdict on what a lossy codec has been at, given whether that left anything that the default model fills."""
    slight = good and info.sample_rate >= _FULL_RATE
    helps = "the default model can hardly help" if slight else "`apollo restore` can help"
    return Verdict(True, history, f"lossy: {history}; {helps}", bandwidth, slight)


def _coded_again(info: AudioInfo) -> bool:
    """Whether a result has become a lossy file of far fewer bits than Apollo writes, so that it is damaged again."""
    if not info.lossy or info.bitrate is None:
        return False
    usual = {known.codec: known.bitrate for known in KNOWN_FORMATS.values()}
    channels = 1 if info.codec == "mp3" else info.channels
    return info.codec not in usual or info.bitrate < usual[info.codec] * channels / 2


def _restoration(info: AudioInfo) -> str:
    """By which version a file was restored and from what, such as "restored by Apollo 1.0 from MP3 at 48 kbit/s"."""
    by = _RESTORER.fullmatch(info.tags["restored_by"])
    source = _CODING.fullmatch(info.tags.get("restored_from", ""))
    coding = f" from {_NAMES.get(source[1], source[1])}{source[2] or ''}" if source else ""
    return f"restored by {by[0] if by else 'Apollo'}{coding}"
