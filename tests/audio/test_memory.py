import sys

import pytest

from apollo.audio import info, write

CODE = """
import resource, sys
from apollo.audio.inspection import inspect
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = inspect(sys.argv[1])
print(found.levels.frames, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures peak memory through getrusage, in kB")
@pytest.mark.parametrize("suffix", ["mp3", "flac"])
def test_zeros_behind_the_sound_take_no_memory(tmp_path, music, suffix, run_python):
    path = tmp_path / f"a.{suffix}"
    write(path, music, 44_100)
    with path.open("r+b") as file:
        file.truncate(200 << 20)
    done = run_python("-c", CODE, path)
    frames, grown = map(int, done.stdout.split())
    assert 0 <= frames - music.shape[1] < 1_152  # of an MP3 whose size is not its header's, the padding stays
    assert grown < 100
    assert info(path).channels == 2
