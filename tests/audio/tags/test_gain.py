"""ReplayGain and R128 tags tell the truth of sound that was turned down."""

import numpy as np
import pytest

from apollo.audio import AudioWriter, Metadata
from apollo.audio.tags.gain import corrected_gains
from apollo.audio.tags.reading import read_metadata

TAGS = {
    "replaygain_track_gain": "-8.20 dB",
    "replaygain_track_peak": "1.012000",
    "replaygain_album_gain": "+1,5 dB",
    "replaygain_album_peak": "1.200000",
    "r128_track_gain": "-512",
    "replaygain_reference_loudness": "89.0 dB",
    "mp3gain_minmax": "1,2",
    "title": "T",
}


def test_gains_lead_to_the_same_loudness():
    changed = corrected_gains(Metadata.of(TAGS), -3.0, 0.8)
    assert changed.joined == {
        "replaygain_track_gain": "-5.20 dB", "replaygain_track_peak": "0.800000", "replaygain_album_gain": "4.50 dB",
        "replaygain_album_peak": f"{1.2 * 10**-0.15:.6f}", "r128_track_gain": "256", "title": "T",
        "replaygain_reference_loudness": "89.0 dB",
    }  # fmt: skip
    assert changed.dropped == ("mp3gain_minmax",)


def test_without_a_change_of_level_only_peaks_are_new():
    changed = corrected_gains(Metadata.of(TAGS), 0.0, 1.0)
    assert changed.joined["replaygain_track_gain"] == "-8.20 dB"
    assert changed.joined["replaygain_track_peak"] == "1.000000"


def test_gains_that_cannot_be_read_are_dropped():
    tags = {"replaygain_track_gain": "loud", "r128_album_gain": "1.5", "replaygain_album_peak": "?"}
    assert corrected_gains(Metadata.of(tags), -1.0, 1.0).dropped == tuple(tags)


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".m4a", ".opus", ".wav"])
def test_writer_corrects_them_by_what_it_is_told(tmp_path, suffix):
    with AudioWriter(tmp_path / f"a{suffix}", 48_000, 1, tags=TAGS) as writer:
        writer.gain = -2.0
        writer.write(np.full((1, 5_000), 0.5, np.float32))
    tags = read_metadata(tmp_path / f"a{suffix}").joined
    assert tags["replaygain_track_gain"] == "-6.20 dB"
    assert tags["replaygain_track_peak"] == "0.500000"
    assert writer.lost == ["mp3gain_minmax"]
