"""Open files with FFmpeg so that nothing but the file itself is ever read.

FFmpeg takes a text for a playlist, whatever the file is called, and opens what it names: other files, and addresses in
a network. So only formats that hold sound themselves are let in, and only the protocol that reads files.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from apollo.audio.chunks import MP4, find_chunk
from apollo.audio.views import FileView, without_crowd, without_old_tags, without_zeros
from apollo.errors import AudioFileError

# FFmpeg's demuxers of sound and of films; not the lists (concat, hls, dash, sdp, imf), pictures, texts and devices.
_FORMATS = """
    3dostr 4xm aa aac aax ac3 ac4 ace acm adp ads adx aea aiff aix alp amr amrnb amrwb apac apc ape apm aptx
    aptx_hd argo_asf argo_brp asf asf_o ast au avi avr bfstm binka boa bonk brstm caf codec2 dfpwm dsf dss dts
    dtshd dv eac3 epaf flac flv fsb fwse g722 g723_1 g726 g726le g728 g729 genh gsm gxf hca hcom iamf iff ilbc
    ircam iss kvag lc3 loas lvf lxf matroska mca mlp mmf mov mp3 mpc mpc8 mpeg mpegts msf msp mtaf musx mxf
    nistsphere nsp nsv nut nuv ogg oma osq paf pp_bnk pvf qcp qoa rka rm rsd rso sbc sdns sdr2 sds shn siff sln
    smjpeg sol sox spdif svag svs tak thp truehd tta txd vag voc vqf w64 wady wav wavarc wsd wtv wv wve xa xmd
    xvag xwma
"""
_LARGEST_HEADER = 1 << 26  # bytes of a header worth searching
_PICTURES = "bmp_pipe gif gif_pipe jpeg_pipe mjpeg png_pipe tiff_pipe webp_pipe"


@contextmanager
def open_container(path: Path, view: Callable[[], FileView] | None = None) -> Iterator[InputContainer]:
    """Open a file, or a view of it, and no other, with FFmpeg, and close both after the block.

    Raises:
        av.FFmpegError: It is nothing that FFmpeg knows sound in.
        ValueError: Its name cannot be given to FFmpeg.
        OSError: It cannot be opened.
    """
    # An absolute path, so that a name with a colon is no protocol. Tags that are not UTF-8 are no obstacle.
    seen = view() if view else without_crowd(path) or without_old_tags(path) or without_zeros(path)
    with ExitStack() as files:
        file = str(path.absolute()) if seen is None else files.enter_context(seen)
        yield files.enter_context(av.open(file, "r", metadata_errors="ignore", options=_only(_FORMATS)))


def audio_track(container: InputContainer, path: Path, track: int | None = None) -> AudioStream | None:
    """The audio track to read of a file: the one that is asked for, else the default one, else the first.

    Args:
        container: The file, opened.
        path: How errors call it.
        track: Counted from 1 among the audio tracks.

    Returns:
        The track, or None if there is none whose codec FFmpeg has ever heard of.

    Raises:
        AudioFileError: If there is no track of this number.
    """
    tracks = container.streams.audio
    if tracks and track is not None and not 1 <= track <= len(tracks):
        number = "one audio track" if len(tracks) == 1 else f"{len(tracks)} audio tracks"
        raise AudioFileError(f"{path} holds {number}, so there is no track {track}: choose another.")
    if track is not None:
        chosen = next(iter(tracks[track - 1 : track]), None)
    else:
        chosen = next((each for each in tracks if each.disposition & Disposition.default), next(iter(tracks), None))
    # A stream whose codec FFmpeg has never heard of has no codec context.
    return None if chosen is None or chosen.codec_context is None else chosen


def open_image(data: bytes) -> InputContainer:
    """Open a picture with FFmpeg; raises as `open_container` does."""
    return av.open(io.BytesIO(data), "r", options=_only(_PICTURES))


def is_protected(path: Path) -> bool:
    """Whether an MP4 file says that it is encrypted: by a box `sinf` with its scheme (ISO/IEC 14496-12, 8.12)."""
    with path.open("rb") as file:
        moov = find_chunk(file, MP4, b"moov")
        if moov is None:
            return False
        file.seek(moov.start)
        return bool(re.search(rb"sinf.{0,64}schm", file.read(min(moov.size, _LARGEST_HEADER)), re.DOTALL))


def _only(formats: str) -> dict[str, str]:
    return {"protocol_whitelist": "file", "format_whitelist": ",".join(formats.split())}
