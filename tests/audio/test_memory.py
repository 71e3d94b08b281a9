import os
import sys

import numpy as np
import pytest

from apollo.audio import AudioReader

CODE = """
import resource, sys
from apollo.audio.inspection import inspect
inspect(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    print(inspect(path).levels.frames)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
KINDS = {  # by suffix
    "aac": "aac",
    "ac3": "ac3",
    "aiff": "pcm_s16be",
    "avi": "libmp3lame",
    "flac": "flac",
    "m4a": "aac",
    "mka": "flac",
    "mp2": "mp2",
    "mp3": "libmp3lame",
    "mpg": "mp2",
    "nut": "mp2",
    "ogg": "flac",
    "ts": "aac",
    "wav": "pcm_s16le",
}


@pytest.mark.skipif(sys.platform != "linux", reason="measures peak memory through getrusage, in kB")
def test_zeros_behind_the_sound_take_no_memory(tmp_path, music, encode, run_python):
    short = music[:, :11_025]  # too short to be looked at for an encoder
    paths = [encode(tmp_path / f"a.{suffix}", short, codec) for suffix, codec in KINDS.items()]
    expected = [AudioReader(path).count() for path in paths]
    for path in paths:
        os.truncate(path, 200 << 20)
    *frames, grown = map(int, run_python("-c", CODE, *paths).stdout.split())
    for path, found, whole in zip(paths, frames, expected, strict=True):
        # Of an MP3 whose size is not its header's, the padding stays.
        assert 0 <= found - whole < (1_152 if path.suffix == ".mp3" else 1), path.name
    assert grown < 100


@pytest.mark.parametrize("zeros", [3_000, 100_000])  # few enough for decoders to see them
@pytest.mark.parametrize("suffix", ["mp2", "mp3"])
def test_zeros_behind_the_sound_are_not_said_to_be_lost_sound(tmp_path, music, encode, suffix, zeros, caplog):
    path = encode(tmp_path / f"a.{suffix}", music, KINDS[suffix])
    os.truncate(path, path.stat().st_size + zeros)
    with AudioReader(path) as reader:
        assert music.shape[1] <= sum(block.shape[1] for block in reader.blocks()) < music.shape[1] + 2 * 1_152
    assert "lost" not in caplog.text


@pytest.mark.parametrize("suffix", ["aiff", "au", "caf", "mka", "mov", "nut", "voc", "w64", "wav"])
def test_silence_at_the_end_is_sound(tmp_path, encode, suffix):
    waveform = np.zeros((2, 600_000), np.float32)
    waveform[:, :1_000] = 0.5
    codec = "pcm_s16be" if suffix in ("aiff", "au") else "pcm_s16le"
    path = encode(tmp_path / f"a.{suffix}", waveform, codec)
    assert path.read_bytes()[-(1 << 20) - 1_000 : -1_000].count(0) == 1 << 20
    assert AudioReader(path).count() == 600_000
