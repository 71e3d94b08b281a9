"""What one library refuses, or sees only in part, the other reads; what is counted is what is read."""

import contextlib
import logging
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from apollo.audio import AudioReader, lag, read, write
from apollo.errors import AudioFileError

SAMPLE_RATE = 44_100

KINDS = [
    (name, subtype)
    for name in soundfile.available_formats()
    if name not in ("RAW", "MP3")  # without a header; written by other means
    for subtype in soundfile.available_subtypes(name)
    if not subtype.startswith("DWVW")  # see below
]
LOSSY = {"GSM610": 0.5, "OPUS": 0.5, "VORBIS": 0.1, "PCM_U8": 0.02, "PCM_S8": 0.02}


def read_all(path, size=1 << 16):
    """All samples, having checked that as many are counted."""
    with AudioReader(path) as reader:
        blocks = [np.zeros((reader.channels, 0), np.float32)]
        while (block := reader.read(size)).shape[1]:
            blocks.append(block)
        waveform = np.concatenate(blocks, axis=1)
        assert reader.count() == waveform.shape[1]
        assert reader.frames in (None, waveform.shape[1])
        place = waveform.shape[1] // 3
        reader.seek(place)
        np.testing.assert_allclose(reader.read(500), waveform[:, place : place + 500], atol=1e-4)
        return waveform, reader.sample_rate


@pytest.mark.parametrize(("name", "subtype"), KINDS, ids=lambda part: part)
def test_every_kind_that_libsndfile_writes_is_read_or_refused_in_a_sentence(tmp_path, name, subtype):
    slow = np.cumsum(np.random.default_rng(0).standard_normal((2, 9_000)), axis=1)
    waveform = (0.5 * slow / np.abs(slow).max()).astype(np.float32)
    path = tmp_path / f"a.{name.lower()}"
    for rate, channels in ((SAMPLE_RATE, 2), (SAMPLE_RATE, 1), (8_000, 1)):
        try:
            with soundfile.SoundFile(path, "w", rate, channels, subtype, format=name) as file:
                file.write(waveform[:channels].T)
        except (soundfile.LibsndfileError, ValueError):
            continue
        break
    else:
        pytest.skip("libsndfile does not write it after all")
    found, found_rate = read_all(path)
    if subtype == "OPUS":
        assert (found_rate, found.shape) == (48_000, (channels, 9_000 * 48_000 // rate))
        return
    assert len(found) == channels
    assert 9_000 <= found.shape[1] < 9_000 + 2_048  # some codecs fill up their last block
    assert np.abs(found[:, :9_000] - waveform[:channels]).max() < LOSSY.get(subtype, 0.05)


@pytest.mark.parametrize("behind", [b"TAG" + bytes(125), b"APETAGEX" + bytes(range(256)) * 300])
def test_tags_behind_a_flac_are_no_damage(tmp_path, music, behind):
    write(tmp_path / "a.flac", music, SAMPLE_RATE)
    whole = read_all(tmp_path / "a.flac")[0]
    with (tmp_path / "a.flac").open("ab") as file:
        file.write(behind)
    assert np.array_equal(read_all(tmp_path / "a.flac")[0], whole)


@pytest.mark.parametrize("stated", [0, 1_000, 30_000])
def test_flac_that_states_fewer_samples_than_it_has_is_read_to_its_end(tmp_path, music, stated):
    write(tmp_path / "a.flac", music, SAMPLE_RATE)
    whole = read_all(tmp_path / "a.flac")[0]
    data = bytearray((tmp_path / "a.flac").read_bytes())
    fields = int.from_bytes(data[18:26], "big")  # of STREAMINFO; the last 36 bits are the number of samples
    data[18:26] = (fields >> 36 << 36 | stated).to_bytes(8, "big")
    (tmp_path / "a.flac").write_bytes(data)
    assert np.array_equal(read_all(tmp_path / "a.flac")[0], whole)


@pytest.mark.parametrize("stated", [True, False])
def test_flac_that_is_cut_off_is_read_to_there_and_said_to_be_so(tmp_path, music, stated, caplog):
    path = tmp_path / "a.flac"
    write(path, music, SAMPLE_RATE)
    whole = read_all(path)[0]
    data = bytearray(path.read_bytes())
    if not stated:
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    path.write_bytes(data[: len(data) * 2 // 3])
    with AudioReader(path) as reader:
        found = np.concatenate(list(reader.blocks()), axis=1)
        assert reader.count() == found.shape[1]
        (_, lost), *others = reader.remarks.damage
        reader.seek(found.shape[1] - 10)
        assert np.array_equal(reader.read(20), found[:, -10:])
    assert 0.5 * whole.shape[1] < found.shape[1] < whole.shape[1]
    assert np.array_equal(found, whole[:, : found.shape[1]])
    assert not others
    if stated:
        assert lost == pytest.approx((whole.shape[1] - found.shape[1]) / SAMPLE_RATE, abs=1e-3)
    place = f"0:{found.shape[1] / SAMPLE_RATE:04.1f}"
    assert caplog.messages == [f"{path} is damaged: about {lost:.2g} s are lost, at {place}; the rest was read"]


@pytest.mark.parametrize("stated", [0, 4_000])
@pytest.mark.parametrize("kind", ["WAV", "RF64", "AU", "AIFF", "CAF", "W64"])
def test_recording_that_was_never_finished_is_read_to_its_end_and_said_to_be_so(tmp_path, music, kind, stated, caplog):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, music.T, SAMPLE_RATE, "FLOAT" if kind == "RF64" else "PCM_24", format=kind)
    whole = read_all(path)[0]
    data = bytearray(path.read_bytes())
    if kind == "AU":
        data[8:12] = struct.pack(">I", stated)
    elif kind == "AIFF":
        at = data.index(b"COMM") + 10
        data[4:8] = data[at : at + 4] = struct.pack(">I", stated)
        at = data.index(b"SSND") + 4
        data[at : at + 4] = struct.pack(">I", stated)
    elif kind == "CAF":
        at = data.index(b"data") + 4
        data[at : at + 8] = struct.pack(">q", stated)
    elif kind == "W64":
        at = data.index(b"data") + 16
        data[16:24] = data[at : at + 8] = struct.pack("<Q", stated)
    elif kind == "WAV":
        at = data.index(b"data") + 4
        data[4:8], data[at : at + 4] = struct.pack("<I", stated), struct.pack("<I", stated)
    else:
        at = data.index(b"ds64") + 16
        data[at : at + 8] = struct.pack("<Q", stated)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_all(path)[0], whole)
    read(path)
    assert caplog.text.count("never finished") == 1


def lost(path):
    """Seconds that a file is told to lack: at its end, and on the way."""
    with AudioReader(path) as reader:
        while reader.read(1 << 16).shape[1]:
            pass
        return reader.remarks.missing, sum(seconds for _, seconds in reader.remarks.damage)


@pytest.mark.parametrize("kind", ["WAV", "RF64", "AU", "AIFF", "CAF", "W64"])
def test_header_that_tells_of_more_samples_than_there_are_is_not_believed(tmp_path, music, kind, caplog):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, music.T, SAMPLE_RATE, "PCM_24", format=kind)
    whole = read_all(path)[0]
    assert lost(path) == (0, 0)
    path.write_bytes(path.read_bytes()[: -whole.shape[1] * 3])
    found = read_all(path)[0]
    assert lost(path) == (pytest.approx(1.5, abs=0.05), 0)
    assert caplog.text.count("is cut off: by its header, about 1.5 s are missing at its end") == 1
    assert abs(found.shape[1] - whole.shape[1] / 2) < 10
    assert np.array_equal(found, whole[:, : found.shape[1]])


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("a.wav", "libmp3lame"),
        ("a.w64", "ac3"),
        ("a.avi", "aac"),
        ("a.avi", "adpcm_ima_wav"),
        ("a.caf", "adpcm_ima_wav"),
        ("a.mka", "aac"),
        ("a.mka", "alac"),
        ("a.wma", "wmav2"),
        ("a.mp3", "libmp3lame"),
    ],
)
def test_what_is_missing_at_the_end_is_told_whatever_the_container(tmp_path, music, encode, name, encoder):
    path = encode(tmp_path / name, music, encoder)
    assert lost(path) == (0, 0)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 1.2 < read_all(path)[0].shape[1] / SAMPLE_RATE < 1.8
    missing, damaged = lost(path)
    assert missing == pytest.approx(1.5, abs=0.3)
    assert damaged < 0.1  # the packet that was cut


@pytest.mark.parametrize(
    ("name", "encoder"), [("a.mka", "libmp3lame"), ("a.mka", "aac"), ("a.webm", "vorbis"), ("a.ts", "ac3")]
)
def test_what_a_container_loses_in_its_middle_is_told(tmp_path, music, encode, name, encoder):
    path = encode(tmp_path / name, music, encoder, options={"strict": "-2"})
    assert lost(path) == (0, 0)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(10_000) + data[middle + 10_000 :])
    seconds = read_all(path)[0].shape[1] / SAMPLE_RATE
    assert seconds < 2.8
    assert seconds + sum(lost(path)) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize(
    ("name", "encoder"), [("a.mp4", "aac"), ("a.mka", "aac"), ("a.wv", "wavpack"), ("a.wav", "mp2")]
)
@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"TAGA title" + bytes(118)])
def test_tags_behind_any_file_are_no_damage(tmp_path, music, encode, name, encoder, tag):
    path = encode(tmp_path / name, music, encoder, kbps=None)
    whole = read_all(path)[0]
    with path.open("ab") as file:
        file.write(tag)
    assert np.array_equal(read_all(path)[0], whole)
    assert lost(path) == (0, 0)


@pytest.mark.parametrize("stated", [0x7FFF0000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_sizes_that_stand_for_an_unknown_one_miss_nothing(tmp_path, music, stated):
    soundfile.write(tmp_path / "a.wav", music.T, SAMPLE_RATE, "PCM_16")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = struct.pack("<I", stated)
    (tmp_path / "a.wav").write_bytes(data)
    assert read_all(tmp_path / "a.wav")[0].shape == music.shape
    assert lost(tmp_path / "a.wav") == (0, 0)


@pytest.mark.parametrize("name", ["a.wav", "a.w64"])
def test_aac_without_headers_is_read_whole(tmp_path, music, encode, name):
    whole = read_all(encode(tmp_path / "a.avi", music, "aac"))[0]
    path = encode(tmp_path / name, music, "aac")
    assert np.array_equal(read_all(path)[0], whole)
    assert lost(path) == (0, 0)


@pytest.mark.parametrize("name", ["a.wav", "a.w64"])
def test_sound_that_a_container_holds_without_its_packets_is_missed_in_full(tmp_path, music, encode, name):
    path = encode(tmp_path / name, music, "vorbis", options={"strict": "-2"})
    seconds = read_all(path)[0].shape[1] / SAMPLE_RATE
    assert seconds < 0.5  # FFmpeg writes such files, and nobody reads them
    assert seconds + sum(lost(path)) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("tag", [0x00FF, 0x1600, 0x1610, 0x706D])
@pytest.mark.parametrize("align", [1, 1024])
def test_adts_in_a_wav_is_read_whole(tmp_path, music, encode, tag, align):
    data = encode(tmp_path / "a.aac", music, "aac").read_bytes()
    head = struct.pack("<HHIIHHH", tag, 2, SAMPLE_RATE, 16_000, align, 16, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert np.array_equal(read_all(tmp_path / "a.wav")[0], read_all(tmp_path / "a.aac")[0])
    assert lost(tmp_path / "a.wav") == (0, 0)


@pytest.mark.parametrize("subtype", ["DWVW_12", "DWVW_16", "DWVW_24"])
def test_sound_that_no_library_decodes_is_called_by_its_name(tmp_path, music, subtype):
    file = soundfile.SoundFile(tmp_path / "a.aiff", "w", SAMPLE_RATE, 1, subtype, format="AIFF")
    with contextlib.suppress(soundfile.LibsndfileError), file:  # which soundfile gives behind the samples
        file.write(np.round(32_000 * music[0]).astype(np.int16))
    with pytest.raises(AudioFileError, match="is coded as DWVW, which cannot be read here; convert it"):
        read(tmp_path / "a.aiff")


def test_chunks_behind_the_sound_of_a_wav_are_no_sound(tmp_path, music):
    write(tmp_path / "a.wav", music[:, :9_999], SAMPLE_RATE, "PCM_24", {"title": "A song"})
    whole = read_all(tmp_path / "a.wav")[0]
    with (tmp_path / "a.wav").open("ab") as file:
        file.write(b"LIST" + struct.pack("<I", 26) + b"INFOINAM" + struct.pack("<I", 14) + b"another title\0")
    assert np.array_equal(read_all(tmp_path / "a.wav")[0], whole)


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", SAMPLE_RATE), ("OPUS", 48_000), ("OPUS", 16_000)])
def test_every_link_of_a_chained_ogg_is_read(tmp_path, music, subtype, rate):
    alone = []
    for number in range(3):
        path = tmp_path / f"{number}.ogg"
        soundfile.write(path, music[:, number * 20_000 : (number + 1) * 20_000 + 777].T, rate, subtype, format="OGG")
        alone.append(read(path)[0])
    chained = tmp_path / "chained.ogg"
    chained.write_bytes(b"".join((tmp_path / f"{number}.ogg").read_bytes() for number in range(3)))
    found, found_rate = read_all(chained, 7_777)
    assert found_rate == (48_000 if subtype == "OPUS" else rate)
    assert found.shape == (2, sum(part.shape[1] for part in alone))
    assert np.abs(found - np.concatenate(alone, axis=1)).max() < 1e-6


def test_links_that_do_not_fit_are_told(tmp_path, music):
    for name, channels in (("a", 2), ("b", 1)):
        soundfile.write(tmp_path / f"{name}.ogg", music[:channels, :20_000].T, SAMPLE_RATE)
    (tmp_path / "c.ogg").write_bytes((tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes())
    with pytest.raises(AudioFileError, match="several Ogg streams"):
        read(tmp_path / "c.ogg")


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_opus_is_decoded_at_48_khz_whatever_was_put_in(tmp_path, music, rate):
    soundfile.write(tmp_path / "a.opus", music.T, rate, "OPUS", format="OGG")
    found, found_rate = read_all(tmp_path / "a.opus")
    assert (found_rate, found.shape) == (48_000, (2, music.shape[1] * 48_000 // rate))


def test_padding_of_gsm_in_a_wav_is_no_sound(tmp_path, music):
    soundfile.write(tmp_path / "a.wav", music[0, : 320 * 14], 8_000, "GSM610")
    data = bytearray((tmp_path / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 13 * 65)
    (tmp_path / "a.wav").write_bytes(data[: at + 4 + 13 * 65] + b"\0")
    assert read_all(tmp_path / "a.wav")[0].shape[1] == 320 * 13


def test_what_is_counted_of_an_mp3_in_a_wav_is_what_is_read(tmp_path, music, encode):
    found, rate = read_all(encode(tmp_path / "a.wav", music, "libmp3lame"))
    assert rate == SAMPLE_RATE
    assert abs(found.shape[1] - music.shape[1]) < 4_000


@pytest.mark.skipif(shutil.which("lame") is None, reason="only the program lame writes such files")
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)])
def test_free_format_mp3_is_read_in_silence(tmp_path, music, capfd, tag):
    write(tmp_path / "a.wav", music, SAMPLE_RATE, "PCM_16")
    command = ["lame", "--quiet", "--freeformat", "-b", "400", tmp_path / "a.wav", tmp_path / "a.mp3"]
    subprocess.run(command, check=True)
    (tmp_path / "a.mp3").write_bytes(tag + (tmp_path / "a.mp3").read_bytes())
    found = read_all(tmp_path / "a.mp3")[0]
    assert abs(found.shape[1] - music.shape[1]) <= 2 * 1_152
    assert abs(lag(music, found, 4_000)) < 2_000
    assert capfd.readouterr().err == ""


def test_encrypted_file_is_called_protected(tmp_path, music, encode):
    secret = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "ab" * 16, "encryption_kid": "cd" * 16}
    path = encode(tmp_path / "a.mp4", music, "aac", container_options=secret)
    with pytest.raises(AudioFileError, match="protected"):
        read(path)
