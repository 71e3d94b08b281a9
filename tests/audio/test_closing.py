"""What was opened of a file is closed with it, and not when Python next collects garbage."""

import gc
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile

from apollo.audio import AudioReader, info, needs_restoration, read
from apollo.errors import AudioFileError

RATE = 44_100


@pytest.fixture(scope="module")
def music(music):
    """A second of it: what is long is looked at for longer."""
    return music[:, :RATE]


def unfinished(path, music, encode):
    data = bytearray(encode(path, music, "libsndfile").read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", 0)
    path.write_bytes(data)


def chained(path, music, encode, channels=2):
    parts = []
    for number in (2, channels):
        soundfile.write(path, music[:number, :30_000].T, RATE)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))


def crowded(path, music, encode):
    size = 4 * 2_000
    tag = b"ID3\3\0\0" + bytes([0, 0, size >> 7, size & 127]) + b"TXXX" * 2_000
    path.write_bytes(tag + encode(path, music, "libmp3lame").read_bytes())


def cut(path, music, encode, encoder="libsndfile"):
    os.truncate(encode(path, music, encoder), 10_000)


def encrypted(path, music, encode):
    secret = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "ab" * 16, "encryption_kid": "cd" * 16}
    encode(path, music, "aac", container_options=secret)


FILES = {
    "a.wav": lambda *given: given[2](*given[:2], "libsndfile"),
    "a.mp3": lambda *given: given[2](*given[:2], "libmp3lame"),
    "a.m4a": lambda *given: given[2](*given[:2], "aac"),
    "a.mka": lambda *given: given[2](*given[:2], "libopus", 48_000),
    "unfinished.wav": unfinished,
    "chained.ogg": chained,
    "chained-of-two-kinds.ogg": lambda *given: chained(*given, channels=1),
    "resampled.opus": lambda path, music, _: soundfile.write(path, music.T, 16_000, "OPUS", format="OGG"),
    "zeros.mp3": lambda *given: os.truncate(given[2](*given[:2], "libmp3lame"), 3 << 20),
    "crowded.mp3": crowded,
    "cut.flac": cut,
    "cut.m4a": lambda *given: cut(*given, "aac"),
    "encrypted.mp4": encrypted,
    "text.mp3": lambda path, *_: path.write_text("no sound " * 1_000),
    "zeros.wav": lambda path, *_: path.write_bytes(b"RIFF" + bytes(3 << 20)),
}


def opened():
    """How many files, pipes and sockets are open in this process."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.skipif(sys.platform == "win32", reason="counts descriptors in /dev/fd")
@pytest.mark.parametrize("name", FILES)
def test_nothing_stays_open_of_a_file(name, tmp_path, music, encode):
    path = tmp_path / name
    FILES[name](path, music, encode)
    with suppress(AudioFileError):
        read(path)  # what is opened once and for all, such as libraries
    gc.collect()
    gc.disable()
    try:
        before = opened()
        for look in (read, info, needs_restoration):
            with suppress(AudioFileError):
                look(path)
        with suppress(AudioFileError), AudioReader(path) as reader:
            reader.seek(reader.count() // 2)
            reader.read(1_000)
            reader.seek(0)
            reader.read(1_000)
        assert opened() == before
    finally:
        gc.enable()
