import io
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import soundfile

from apollo.evaluation.clips import Clip
from apollo.evaluation.report import media
from apollo.evaluation.report.media import pictures, shortened, takes
from apollo.evaluation.results import UNPROCESSED


def decoded(uri: str) -> np.ndarray:
    import base64

    head, data = uri.split(",")
    assert head == "data:audio/flac;base64"
    waveform, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float64", always_2d=True)
    assert rate == 44_100
    return waveform.T


def test_audio_decodes_to_the_samples_of_the_clip(clip: Clip) -> None:
    quiet = replace(clip, versions={UNPROCESSED: clip.versions[UNPROCESSED]})
    [(_, [original, unprocessed])] = takes([quiet])
    half_a_step = 0.5 / 32768 + 1e-9
    assert np.abs(decoded(original.chunks[0]) - clip.original).max() <= half_a_step
    assert np.abs(decoded(unprocessed.chunks[0]) - clip.versions[UNPROCESSED]).max() <= half_a_step


def test_versions_keep_their_levels_when_one_would_clip(clip: Clip) -> None:
    [(_, versions)] = takes([clip])
    original, unprocessed, loud = (np.abs(decoded(take.chunks[0])).max() for take in versions)
    assert loud == pytest.approx(1.0, abs=1e-4)
    assert original / loud == pytest.approx(0.4, abs=1e-3)
    assert unprocessed / original == pytest.approx(0.5, abs=1e-3)


def test_clips_that_are_too_much_together_are_cut_to_their_middles(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sum(len(decoded(take.chunks[0]).T) for _, versions in takes([clip, clip]) for take in versions)
    monkeypatch.setattr(media, "MAX_BYTES", 200_000)
    cut = takes([clip, clip])
    assert sum(len(take.chunks[0]) * 3 / 4 for _, versions in cut for take in versions) < 200_000
    assert whole / 20 < sum(len(decoded(take.chunks[0]).T) for _, versions in cut for take in versions) < whole
    middle, _ = cut[0]
    assert middle.start + middle.original.shape[1] / 2 / 44_100 == pytest.approx(clip.start + 0.5, abs=1e-3)


def test_clips_are_at_most_six_seconds_long(clip: Clip) -> None:
    long = replace(clip, original=np.zeros((2, 10 * 44_100), np.float32), versions={})
    assert shortened(long, media.MAX_SECONDS).original.shape == (2, 6 * 44_100)
    assert shortened(long, media.MAX_SECONDS).start == pytest.approx(clip.start + 2)


def test_pictures_share_one_scale(clip: Clip) -> None:
    brightness = [float(matplotlib.image.imread(io.BytesIO(png))[..., :3].mean()) for png, _, _ in pictures(clip)]
    original, softer, louder = brightness
    assert softer < original < louder
