"""Open an audio file with the library that can read it.

libsndfile (through soundfile) reads WAV, FLAC, AIFF, Ogg and their kin; FFmpeg (through PyAV) reads the rest: MP3, M4A,
WMA, and the sound of video files. MP3 goes to FFmpeg although libsndfile knows it, since FFmpeg reads past damaged
frames. Both skip the encoder's delay and padding as far as the file tells them: MP3 with a LAME header, M4A, Opus and
Vorbis come out at the length of their original.

Both go to any sample of a file and give there what reading up to it would have given.
"""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from apollo.audio.ffmpeg import FFmpegDecoder
from apollo.audio.libsndfile import SoundFileDecoder
from apollo.errors import AudioFileError
from apollo.regular import refuse_special

__all__ = ["open_decoder"]


def open_decoder(path: Path) -> SoundFileDecoder | FFmpegDecoder:
    """Open a file with the library that can read it; raises AudioFileError if none can."""
    try:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise AudioFileError(f"{path} is a folder that may not be looked into; check its permissions.")
            raise AudioFileError(f"{path} is a folder, not an audio file; name a file in it.")
        refuse_special(path, AudioFileError)
        with path.open("rb") as file:
            head = file.read(3)
    except FileNotFoundError:
        raise AudioFileError(f"{path} does not exist; check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a name that is not valid text
        reason = error.strerror if isinstance(error, OSError) else "its name cannot be read"
        raise AudioFileError(f"{path!s} cannot be opened ({reason}); check its name and permissions.") from None
    if not head:
        raise AudioFileError(f"{path} is empty (0 bytes); copy or download it again.")
    named_mpeg = path.suffix.lower() in {".mp1", ".mp2", ".mp3"}
    looks_like_mpeg = head == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")
    if not (named_mpeg or looks_like_mpeg):  # libsndfile's MPEG decoder also writes its complaints to stderr
        try:
            return SoundFileDecoder(path)
        except (soundfile.LibsndfileError, TypeError):  # TypeError: a headerless .raw
            pass
    return FFmpegDecoder(path)
