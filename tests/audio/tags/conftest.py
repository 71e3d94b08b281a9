import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from apollo.audio import write

RATE = 44_100


@pytest.fixture(scope="session")
def tone(tmp_path_factory):
    """Half a second of a tone in every format, without a tag: paths by suffix."""
    folder = tmp_path_factory.mktemp("tone")
    sound = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
    for suffix in (".flac", ".wav", ".mp3", ".m4a", ".opus"):
        write(folder / f"a{suffix}", sound[None], RATE)
    soundfile.write(folder / "a.ogg", sound, RATE)
    soundfile.write(folder / "a.aiff", sound, RATE)
    mp3 = (folder / "a.mp3").read_bytes()
    size = 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(mp3[6:10]))
    (folder / "a.mp3").write_bytes(mp3[size:])
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture
def tool():
    """Run a program of the system; the test is skipped where it is not installed."""

    def run(name, *arguments):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        subprocess.run([name, *map(str, arguments)], check=True, capture_output=True)

    return run
