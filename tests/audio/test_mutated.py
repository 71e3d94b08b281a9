"""Whatever happens to a file, reading it either works or is told in one sentence."""

import numpy as np
import pytest
import soundfile

from apollo.audio import read_cover, write
from apollo.audio.inspection import inspect
from apollo.errors import AudioFileError

MUTATIONS = 6  # of each format; a hundred take some ten seconds


def mutated(data, rng):
    """A file cut short, with bits turned, junk or zeros in its header or further on, or a length that is a lie."""
    data = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        return bytes(data[: rng.integers(len(data))])
    if kind == 1:
        for _ in range(rng.integers(1, 30)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 2:
        for _ in range(rng.integers(1, 8)):
            data[rng.integers(min(200, len(data)))] = rng.integers(256)
    elif kind == 3:
        start = rng.integers(len(data))
        data[start : start + rng.integers(2_000)] = bytes(rng.integers(2_000))
    else:
        start = rng.integers(min(400, len(data) - 4))
        data[start : start + 4] = (b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff")[rng.integers(3)]
    return bytes(data)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".aiff", ".mp3", ".m4a", ".opus", ".ogg"])
def test_mutated_files_are_read_or_refused(tmp_path, music, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix in {".aiff", ".ogg"}:
        soundfile.write(path, music[:, :20_000].T, 44_100)
    else:
        write(path, music[:, :20_000], 44_100, tags={"title": "Étude", "artist": "a" * 50})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, rng))
        try:
            inspect(path)
            read_cover(path)
        except AudioFileError as error:
            refusals.append(str(error))
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)
