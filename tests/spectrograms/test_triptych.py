from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from apollo.errors import DataError
from apollo.spectrograms.triptych import spectrogram_triptych

SAMPLE_RATE = 44_100


def test_three_spectrograms_lie_side_by_side_on_one_scale(tmp_path: Path, chords: np.ndarray) -> None:
    path = tmp_path / "new" / "picture.png"
    spectrogram_triptych(np.zeros_like(chords), 0.01 * chords, chords, SAMPLE_RATE, path)
    picture = matplotlib.image.imread(path)
    assert picture.shape[:2] == (630, 1800)
    brightness = [float(third[150:500, 150:450, :3].mean()) for third in np.split(picture, 3, axis=1)]
    assert brightness[0] < 0.01 < brightness[1] < 0.7 * brightness[2]
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_failure_to_write_leaves_nothing_behind(
    tmp_path: Path, chords: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Figure, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        spectrogram_triptych(chords, chords, chords, SAMPLE_RATE, tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_waveforms_that_do_not_fit_together_are_refused(tmp_path: Path, chords: np.ndarray) -> None:
    with pytest.raises(DataError, match="one shape"):
        spectrogram_triptych(chords, chords[:, :-1], chords, SAMPLE_RATE, tmp_path / "picture.png")
    with pytest.raises(DataError, match="one shape"):
        spectrogram_triptych(chords[0], chords[0], chords[0], SAMPLE_RATE, tmp_path / "picture.png")
