"""Several tracks, changes on the way and damage: read as far as can be, and told."""

import logging
import struct
from fractions import Fraction
from random import Random

import av
import numpy as np
import pytest
import soundfile

from apollo.audio import AudioReader, read, write
from apollo.errors import AudioFileError

RATE = 44_100


def tone(frequency, seconds=2.0, rate=RATE, channels=2):
    time = np.arange(int(seconds * rate)) / rate
    return np.tile(0.3 * np.sin(2 * np.pi * frequency * time), (channels, 1)).astype(np.float32)


def code(path, encoder):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=RATE, layout="stereo")
        resampler = av.AudioResampler(stream.format, "stereo", RATE, stream.codec_context.frame_size or 1152)
        frame = av.AudioFrame.from_ndarray(tone(440), "fltp", "stereo")
        frame.sample_rate = RATE
        for part in (*resampler.resample(frame), None):
            container.mux(stream.encode(part))


def pitch(waveform, rate):
    spectrum = np.abs(np.fft.rfft(waveform[0] * np.hanning(waveform.shape[1])))
    return np.argmax(spectrum) * rate / waveform.shape[1]


def in_blocks(path, size):
    with AudioReader(path) as reader:
        blocks = []
        while (block := reader.read(size)).shape[1]:
            blocks.append(block)
        return np.concatenate(blocks, axis=1), reader.count()


def remarks_on(path):
    with AudioReader(path) as reader:
        while reader.read(1 << 16).shape[1]:
            pass
        return reader.remarks


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
    assert " changes to " in caplog.text
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
    assert "is damaged: about 1 s are lost, at 0:0" in caplog.text
    place = float(caplog.text.split("lost, at 0:")[1].split(";")[0])
    assert place == pytest.approx(5, abs=0.3)


def test_what_is_no_packet_in_a_transport_stream_is_passed_over(tmp_path, encode):
    path = encode(tmp_path / "a.ts", tone(440, seconds=3), "aac")
    content = path.read_bytes()
    whole, _ = read(path)
    middle = len(content) // 376 * 188
    for between in (bytes(300_000), Random(0).randbytes(300_000)):
        path.write_bytes(content[:middle] + between + content[middle:])
        waveform, _ = read(path)
        assert whole.shape[1] - waveform.shape[1] <= 4_096  # the packets of two frames have a border there
        np.testing.assert_array_equal(waveform[:, -RATE:], whole[:, -RATE:])
    path.write_bytes(content[: middle - 3_760] + bytes(300_000) + content[middle + 3_760 :])
    waveform, _ = read(path)
    lost = (whole.shape[1] - waveform.shape[1]) / RATE
    assert 0.2 < lost < 1
    assert sum(seconds for _, seconds in remarks_on(path).damage) == pytest.approx(lost, abs=0.03)


@pytest.mark.parametrize("id3v1", [b"", b"TAG" + bytes(125)], ids=["", "ID3v1"])
@pytest.mark.parametrize("kind", ["APEv1", "APEv2 with a header", "Lyrics3", "Lyrics3v2", "ID3v2"])
@pytest.mark.parametrize("suffix", [".mp3", ".mp2", ".ac3", ".wav", ".au"])
def test_tags_of_old_programs_are_no_sound(tmp_path, suffix, kind, id3v1):
    path = tmp_path / f"a{suffix}"
    if suffix in (".mp3", ".wav"):
        write(path, tone(440), RATE)
    elif suffix == ".au":
        soundfile.write(path, tone(440).T, RATE)
    else:
        code(path, suffix[1:])
    whole = read(path)[0]
    items = struct.pack("<II", 100_000, 0) + b"Comment\0" + 1_000 * bytes(range(100))
    marks = [
        b"APETAGEX" + struct.pack("<IIII", version, len(items) + 32, 1, flags) + bytes(8)
        for version, flags in ((1000, 0), (2000, 0xA0000000), (2000, 0x80000000))
    ]
    lyrics = b"LYRICSBEGINLYR00012Hello, world!"
    tag = {
        "APEv1": items + marks[0],
        "APEv2 with a header": marks[1] + items + marks[2],
        "Lyrics3": lyrics + b"LYRICSEND",
        "Lyrics3v2": lyrics + b"%06d" % len(lyrics) + b"LYRICS200",
        "ID3v2": b"ID3\4\0\x10\0\0\0\x0fTIT2\0\0\0\5\0\0\3song3DI\4\0\x10\0\0\0\x0f",
    }
    with path.open("ab") as file:
        file.write(tag[kind] + id3v1)
    assert not list(remarks_on(path).sentences())
    assert np.array_equal(read(path)[0], whole)


def test_a_tag_with_a_wrong_size_hides_no_sound(tmp_path):
    write(tmp_path / "a.mp3", tone(440), RATE)
    whole = read(tmp_path / "a.mp3")[0]
    with (tmp_path / "a.mp3").open("ab") as file:
        file.write(b"APETAGEX" + struct.pack("<IIII", 2000, 10_000, 1, 0) + bytes(8))
    assert np.array_equal(read(tmp_path / "a.mp3")[0][:, : whole.shape[1]], whole)


@pytest.fixture
def three_tracks(tmp_path):
    """A film with three audio tracks, of 440, 880 and 1760 Hz; the second is the default one, the third is mono."""
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        layouts = ("stereo", "stereo", "mono")
        streams = [container.add_stream("aac", rate=RATE, layout=layout) for layout in layouts]
        for stream, default in zip(streams, (0, av.stream.Disposition.default, 0), strict=True):
            stream.disposition = av.stream.Disposition(default)
        for stream, layout, frequency in zip(streams, layouts, (440, 880, 1760), strict=True):
            channels = 1 if layout == "mono" else 2
            frame = av.AudioFrame.from_ndarray(tone(frequency, channels=channels), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_default_track_is_read_and_told(three_tracks, caplog):
    assert pitch(read(three_tracks)[0], RATE) == pytest.approx(880, abs=1)
    assert "has 3 audio tracks: track 2 was read" in caplog.text


@pytest.mark.parametrize(("track", "frequency", "channels"), [(1, 440, 2), (2, 880, 2), (3, 1760, 1)])
def test_any_track_can_be_chosen(three_tracks, track, frequency, channels):
    with AudioReader(three_tracks, track) as reader:
        assert reader.count() == reader.read(10 * RATE).shape[1]
        assert (reader.remarks.track, reader.remarks.tracks, reader.info.channels) == (track, 3, channels)
    waveform, _ = read(three_tracks, track)
    assert len(waveform) == channels
    assert pitch(waveform, RATE) == pytest.approx(frequency, abs=1)


def test_tracks_that_are_not_there_are_told(tmp_path, three_tracks):
    with pytest.raises(AudioFileError, match="holds 3 audio tracks, so there is no track 4"):
        read(three_tracks, 4)
    for name in ("a.wav", "a.mp3"):
        write(tmp_path / name, tone(440), RATE)
        assert read(tmp_path / name, 1)[1] == RATE
        with pytest.raises(AudioFileError, match="one audio track, so there is no track 2"):
            read(tmp_path / name, 2)


DAMAGE = {
    "overwritten": lambda data, at: data[:at] + bytes(9_000) + data[at + 9_000 :],
    "missing": lambda data, at: data[:at] + data[at + 9_000 :],
    "put in": lambda data, at: data[:at] + np.random.default_rng(0).bytes(9_000) + data[at:],
    "one byte": lambda data, at: data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_all_of_a_flac_but_its_damage_is_read_and_stays_in_its_place(tmp_path, caplog, damage):
    path = tmp_path / "a.flac"
    noise = (0.2 * np.random.default_rng(0).standard_normal((2, 6 * RATE))).astype(np.float32)
    write(path, noise, RATE, "PCM_16")
    whole, _ = read(path)
    data = path.read_bytes()
    path.write_bytes(DAMAGE[damage](data, len(data) // 2))
    found, counted = in_blocks(path, 10_000)
    assert found.shape == whole.shape == (2, counted)
    ((place, seconds),) = remarks_on(path).damage
    lost = slice(round(place * RATE), round((place + seconds) * RATE))
    assert place == pytest.approx(3, abs=0.2)
    assert 0 < seconds < 0.4
    assert not found[:, lost].any()
    found[:, lost] = whole[:, lost]
    assert np.array_equal(found, whole)
    assert caplog.text.count("is damaged: about") == 1
    with AudioReader(path) as reader:
        reader.seek(lost.start + 100)
        reader.read(1_000)
        reader.seek(5 * RATE)
        assert np.array_equal(reader.read(1_000), whole[:, 5 * RATE : 5 * RATE + 1_000])
