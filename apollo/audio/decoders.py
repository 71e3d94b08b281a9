"""Open an audio file with the library that can read it.

libsndfile (through soundfile) reads WAV, FLAC, AIFF, Ogg and their kin; FFmpeg (through PyAV) reads the rest: MP3, M4A,
WMA, and the sound of video files. MP3 goes to FFmpeg although libsndfile knows it, since FFmpeg reads past damaged
frames. Both skip the encoder's delay and padding as far as the file tells them: MP3 with a LAME header, M4A, Opus and
Vorbis come out at the length of their original.

Both go to any sample of a file and give there what reading up to it would have given.

What one library refuses is not damaged for that: where the first fails, finds no samples, cannot read the last one, or
its account differs from what lies in the file, the other is tried, and taken if it finds all that the header tells of.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import av
import soundfile

from apollo.audio.chains import ChainDecoder
from apollo.audio.containers import open_container
from apollo.audio.endings import is_whole_sds
from apollo.audio.ffmpeg import FFmpegDecoder
from apollo.audio.libsndfile import SoundFileDecoder
from apollo.audio.ogg import links_of
from apollo.audio.remarks import Remarks
from apollo.audio.stated_sizes import mended_sizes
from apollo.audio.tails import size_of_id3v2
from apollo.audio.views import MPEG_SUFFIXES, FileView
from apollo.errors import AudioFileError
from apollo.regular import refuse_special

Decoder = SoundFileDecoder | ChainDecoder | FFmpegDecoder

_ENDLESS = 1 << 63  # samples, more than any file has


def open_decoder(path: Path, track: int | None = None) -> Decoder:
    """Open a track of a file, by default its default one, with the library that can; AudioFileError if none can."""
    try:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise AudioFileError(f"{path} is a folder that cannot be opened; check its permissions.")
            raise AudioFileError(f"{path} is a folder, not an audio file; name a file in it.")
        refuse_special(path, AudioFileError)
        with path.open("rb") as file:
            head = file.read(3)
    except FileNotFoundError:
        if path.is_symlink():
            raise AudioFileError(f"{path} is a link to {path.readlink()}, which does not exist; mend it.") from None
        raise AudioFileError(f"{path} does not exist; check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a name that is not valid text
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be read"
        raise AudioFileError(f"{path!s} cannot be opened ({reason}); check its name and permissions.") from None
    if not head:
        raise AudioFileError(f"{path} is empty (0 bytes); copy or download it again.")
    looks_like_mpeg = head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if looks_like_mpeg or path.suffix.lower() in MPEG_SUFFIXES:
        try:
            return FFmpegDecoder(path, track=track)
        except AudioFileError:
            # Of other files with such a name, libsndfile's MPEG decoder would write its complaints to stderr.
            decoder = _with_libsndfile(path) if _is_free_format(path) else None
            if decoder is None:
                raise
            return decoder
    decoder = _with_libsndfile(path) if track in (None, 1) else None  # which knows one track only
    return decoder or FFmpegDecoder(path, track=track)


def _with_libsndfile(path: Path) -> Decoder | None:
    """What libsndfile reads whole and right, with FFmpeg's help where it would not; None where it is no help."""
    if patches := mended_sizes(path):
        return _unfinished(path, patches)
    decoder = _opened(path)
    if decoder is None:
        return _damaged_ogg(path)
    if decoder.format == "OGG":
        links = links_of(path)
        resampled = decoder.subtype == "OPUS" and decoder.sample_rate != 48_000
        if len(links) > 1 or resampled or not links[0].whole:
            return ChainDecoder(path, links)
        return decoder if decoder.stated else _instead_of(decoder, path)
    # Of GSM, libsndfile takes the byte that pads a WAV for one more block of sound.
    if decoder.subtype.startswith("MPEG") or (decoder.subtype == "GSM610" and decoder.format.startswith("WAV")):
        return _instead_of(decoder, path)
    if decoder.format == "SDS" and not is_whole_sds(path):
        decoder.close()
        raise AudioFileError(f"{path} is damaged: its blocks are not as they were written; copy it again.")
    if decoder.format == "VOC":  # of several blocks it takes the heads of all but the first one for sound
        return _instead_of(decoder, path, range(decoder.stated))
    if decoder.format == "FLAC":
        extent = _extent_of_flac(path, decoder)
        if extent is not None and extent != decoder.frames:
            cut = decoder.frames is None or extent < decoder.frames  # perhaps; libsndfile would refuse all of it
            return _instead_of(decoder, path, range(1 if cut else extent, _ENDLESS))
    if decoder.stated and decoder.reads_its_end():
        return decoder
    other = _instead_of(decoder, path, range(decoder.stated, _ENDLESS) if decoder.stated else None)
    if other is decoder and decoder.subtype.startswith("DWVW"):
        decoder.close()
        raise AudioFileError(f"{path} is coded as DWVW, which cannot be read here; convert it to WAV or FLAC.")
    return other


def _damaged_ogg(path: Path) -> ChainDecoder | None:
    """An Ogg whose pages tell that some of them are damaged or missing."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return None
    links = links_of(path)
    return None if all(link.whole for link in links) else ChainDecoder(path, links)


def _opened(path: Path, view: Callable[[], FileView] | None = None) -> SoundFileDecoder | None:
    try:
        return SoundFileDecoder(path, view)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
        return None


def _unfinished(path: Path, patches: Mapping[int, bytes]) -> SoundFileDecoder | None:
    """A recording that was never finished, with a header that tells of all its samples."""
    stated = 0
    if (told := _opened(path)) is not None:
        stated = told.stated
        told.close()
    whole = _opened(path, partial(FileView, path, patches=patches))
    if whole is not None:
        whole.remarks = Remarks(unfinished=stated)
    return whole


def past_damage(decoder: Decoder, path: Path, error: AudioFileError) -> FFmpegDecoder:
    """FFmpeg's view of a FLAC that libsndfile stumbled over, from where reading stands; raises the error if no help.

    FFmpeg goes on behind the damage, and silence stands for what was lost, so that all the rest stays where it is.
    """
    if not isinstance(decoder, SoundFileDecoder) or decoder.format != "FLAC":
        raise error
    try:
        other = FFmpegDecoder(path)
    except AudioFileError:
        raise error from None
    try:
        other.seek(decoder.position)
    except AudioFileError:
        other.close()
        raise error from None
    decoder.close()
    return other


def _extent_of_flac(path: Path, decoder: SoundFileDecoder) -> int | None:
    """How many samples a FLAC holds by its last frame, whatever its header says; None if it does not tell.

    It is looked up once for as long as the file does not change.
    """
    status = path.stat()
    return _extents(path, decoder.stated, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _extents(path: Path, stated: int, changed: int, size: int) -> int | None:
    end = None
    try:
        with open_container(path) as container:
            stream = container.streams.audio[0]
            if not stream.time_base or stream.time_base.numerator != 1:
                return None
            container.seek(max(0, min(stated, 1 << 40) - (1 << 16)), stream=stream)
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and packet.duration:
                    end = packet.pts + packet.duration
            return end if stream.time_base.denominator == stream.codec_context.sample_rate else None
    except (av.FFmpegError, ValueError, OSError, IndexError):
        return None


def _instead_of(decoder: SoundFileDecoder, path: Path, samples: range | None = None) -> Decoder:
    """FFmpeg's view of a file that libsndfile may read wrongly, if FFmpeg can read it and finds so many samples."""
    try:
        other = FFmpegDecoder(path)
    except AudioFileError:
        return decoder
    try:
        right = samples is None or other.count() in samples
    except AudioFileError:
        right = False
    (decoder if right else other).close()
    return other if right else decoder


def _is_free_format(path: Path) -> bool:
    """Whether an MPEG file has frames of a size that their headers do not tell (ISO/IEC 11172-3, bitrate_index)."""
    with path.open("rb") as file:
        file.seek(size_of_id3v2(file.read(10)))
        frame = file.read(4)
    return len(frame) == 4 and frame[0] == 0xFF and frame[1] >= 0xE0 and frame[2] < 0x10
