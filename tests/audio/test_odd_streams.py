"""Several tracks, changes on the way and damage: read as far as can be, and told."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from apollo.audio import AudioReader, read, write

RATE = 44_100


def tone(frequency, seconds=2.0, rate=RATE, channels=2):
    time = np.arange(int(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * frequency * time), (channels, 1)).astype(np.float32)


def pitch(waveform, rate):
    spectrum = np.abs(np.fft.rfft(waveform[0] * np.hanning(waveform.shape[1])))
    return np.argmax(spectrum) * rate / waveform.shape[1]


def in_blocks(path, size):
    with AudioReader(path) as reader:
        blocks = []
        while (block := reader.read(size)).shape[1]:
            blocks.append(block)
        return np.concatenate(blocks, axis=1), reader.count()


@pytest.mark.parametrize(
    ("rate", "channels"), [(48_000, 2), (22_050, 2), (44_100, 1), (32_000, 1)], ids=lambda value: str(value)
)
def test_joined_files_of_other_kinds_are_brought_to_the_first_one(tmp_path, caplog, rate, channels):
    write(tmp_path / "a.mp3", tone(440, 8), RATE, bitrate=128_000)
    write(tmp_path / "b.mp3", tone(880, 8, rate, channels), rate, bitrate=64_000)
    path = tmp_path / "joined.mp3"
    path.write_bytes((tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes())
    waveform, counted = in_blocks(path, 10_000)
    assert waveform.shape == (2, counted)
    assert counted / RATE == pytest.approx(16, abs=0.2)
    assert pitch(waveform[:, RATE : 7 * RATE], RATE) == pytest.approx(440, abs=1)
    assert pitch(waveform[:, 9 * RATE : 15 * RATE], RATE) == pytest.approx(880, abs=1)
    assert "changes on the way, to " in caplog.text
    assert f"{rate} Hz in {'mono' if channels == 1 else 'stereo'}" in caplog.text
    with AudioReader(path) as reader:
        for place in (counted - RATE, RATE, 8 * RATE):
            reader.seek(place)
            part = reader.read(1_000)
            assert np.abs(part - waveform[:, place : place + 1_000]).max() < 1e-3


def test_damage_in_the_middle_is_told_with_its_place_and_length(tmp_path, caplog):
    rng = np.random.default_rng(0)
    noise = (0.2 * rng.standard_normal((2, 10 * RATE))).astype(np.float32)
    write(tmp_path / "a.mp3", noise, RATE, bitrate=128_000)
    content = bytearray((tmp_path / "a.mp3").read_bytes())
    content[80_000:96_000] = bytes(16_000)
    (tmp_path / "a.mp3").write_bytes(content)
    caplog.set_level(logging.WARNING)
    waveform, _ = read(tmp_path / "a.mp3")
    lost = 10 - waveform.shape[1] / RATE
    assert lost == pytest.approx(1, abs=0.1)
    assert "is damaged: about 1 s of it are lost, at 0:0" in caplog.text
    place = float(caplog.text.split("lost, at 0:")[1].split(";")[0])
    assert place == pytest.approx(5, abs=0.3)


def test_default_track_is_read_and_told(tmp_path, caplog):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("aac", rate=RATE, layout="stereo") for _ in range(3)]
        streams[0].disposition = av.stream.Disposition(0)
        streams[1].disposition = av.stream.Disposition.default
        streams[2].disposition = av.stream.Disposition(0)
        for stream, frequency in zip(streams, (440, 880, 1760), strict=True):
            frame = av.AudioFrame.from_ndarray(tone(frequency), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert pitch(read(path)[0], RATE) == pytest.approx(880, abs=1)
    assert "holds 3 audio tracks: number 2 was read" in caplog.text
