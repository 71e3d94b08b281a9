import sys
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from apollo.audio import (
    AudioReader,
    AudioWriter,
    Resampler,
    info,
    lag,
    read,
    read_cover,
    resample,
    resampled_length,
    write,
)
from apollo.errors import ApolloError, AudioFileError

SAMPLE_RATE = 44_100

# Suffix, FFmpeg's encoder, its sample format and rate, and the extra samples at the end that the container cannot mark.
COMPRESSED = [
    (".mp3", "libmp3lame", "fltp", 44_100, 0),
    (".m4a", "aac", "fltp", 44_100, 0),
    (".opus", "libopus", "flt", 48_000, 0),
    (".mka", "libopus", "flt", 48_000, 0),
]


def encode(path, waveform, encoder, sample_format, rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate, layout="stereo")
        stream.bit_rate = 192_000
        samples = waveform if sample_format == "fltp" else waveform.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=sample_format, layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def in_blocks(path, size):
    with AudioReader(path) as reader:
        blocks = []
        while (block := reader.read(size)).shape[1]:
            blocks.append(block)
        assert all(block.shape[1] == size for block in blocks[:-1])
        assert reader.read(size).shape == (reader.channels, 0)
    return np.concatenate(blocks, axis=1)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_written_audio_is_read_back(tmp_path, music, suffix, channels):
    waveform = np.resize(music, (channels, 10_001))
    path = tmp_path / f"a{suffix}"
    write(path, waveform, 48_000)
    back, sample_rate = read(path)
    assert sample_rate == 48_000
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, waveform, atol=2**-23)
    assert (info(path).sample_rate, info(path).channels, info(path).frames) == (48_000, channels, 10_001)


def test_float_wav_keeps_samples_beyond_full_scale(tmp_path, music):
    write(tmp_path / "a.wav", 3 * music, SAMPLE_RATE, subtype="FLOAT")
    assert np.array_equal(read(tmp_path / "a.wav")[0], 3 * music)


def test_integers_clip_rather_than_wrap(tmp_path, music):
    write(tmp_path / "a.flac", 3 * music, SAMPLE_RATE)
    np.testing.assert_allclose(read(tmp_path / "a.flac")[0], np.clip(3 * music, -1, 1), atol=2**-22)


@pytest.mark.parametrize(("suffix", "encoder", "sample_format", "rate", "extra"), COMPRESSED)
def test_compressed_file_is_aligned_with_its_original(tmp_path, music, suffix, encoder, sample_format, rate, extra):
    path = encode(tmp_path / f"a{suffix}", music[:, :100_001], encoder, sample_format, rate)
    back, sample_rate = read(path)
    assert sample_rate == rate
    assert 100_001 <= back.shape[1] <= 100_001 + extra
    assert abs(lag(music[:, :100_001], back)) < 0.1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
@pytest.mark.parametrize("size", [1_000, 4_096, 200_000])
def test_blocks_joined_equal_the_whole(tmp_path, music, suffix, size):
    path = tmp_path / f"a{suffix}"
    if suffix in {".mp3", ".m4a"}:
        encode(path, music, "libmp3lame" if suffix == ".mp3" else "aac", "fltp", SAMPLE_RATE)
    else:
        soundfile.write(path, music.T, SAMPLE_RATE)
    assert np.array_equal(in_blocks(path, size), read(path)[0])


def test_format_is_told_by_content_not_by_name(tmp_path, music):
    encode(tmp_path / "a.mp3", music, "libmp3lame", "fltp", SAMPLE_RATE)
    (tmp_path / "a.mp3").rename(tmp_path / "a.wav")
    assert read(tmp_path / "a.wav")[0].shape == music.shape


def test_tags_survive(tmp_path, music):
    tags = {"title": "Étude", "artist": "Somebody", "album": "Some", "track": "3", "unheard_of": "x"}
    write(tmp_path / "a.flac", music, SAMPLE_RATE, tags=tags)
    assert info(tmp_path / "a.flac").tags == tags


def test_empty_comment_of_an_mp3_is_no_obstacle(tmp_path, music):
    path = encode(tmp_path / "a.mp3", music, "libmp3lame", "fltp", SAMPLE_RATE)
    sound = path.read_bytes()
    if sound[:3] == b"ID3":
        sound = sound[10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(sound[6:10])) :]
    frames = b"".join(
        name + len(content).to_bytes(4, "big") + bytes(2) + content
        for name, content in ((b"TIT2", b"\0A song"), (b"COMM", b"\0eng\0\0"))
    )
    path.write_bytes(b"ID3\3\0\0" + bytes(3) + bytes([len(frames)]) + frames + sound)
    tags = info(path).tags
    assert tags == {"title": "A song"}
    write(tmp_path / "a.flac", music, SAMPLE_RATE, tags=tags)
    assert info(tmp_path / "a.flac").tags["title"] == "A song"


@pytest.mark.skipif(sys.platform == "win32", reason="counts UTF-16 units rather than bytes")
def test_names_as_long_as_names_may_be_are_written(tmp_path, music):
    path = tmp_path / f"{83 * '歌'}.flac"  # 254 bytes
    write(path, music, SAMPLE_RATE)
    assert list(tmp_path.iterdir()) == [path]


def test_damage_in_the_middle_of_an_mp3_is_read_past(tmp_path, music):
    path = encode(tmp_path / "a.mp3", music, "libmp3lame", "fltp", SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    data[30_000:31_000] = bytes(1_000)
    path.write_bytes(data)
    assert read(path)[0].shape[1] > 0.9 * music.shape[1]


def bad_file(tmp_path, kind, music):
    path = tmp_path / kind
    good = tmp_path / "good.flac"
    write(good, music, SAMPLE_RATE)
    if kind == "folder.wav":
        path.mkdir()
    elif kind == "text.wav" or kind == "text.mp3":
        path.write_text("milk, bread, butter\n" * 100)
    elif kind == "empty.flac":
        path.touch()
    elif kind == "no_samples.wav":
        soundfile.write(path, np.zeros((0, 2)), SAMPLE_RATE)
    elif kind == "cut_header.flac":
        path.write_bytes(good.read_bytes()[:30])
    elif kind == "noise.mp3" or kind == "noise.m4a":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    elif kind == "picture.mp4":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing.wav", "does not exist"),
        ("folder.wav", "is a folder"),
        ("text.wav", "is not a readable audio"),
        ("text.mp3", "is not a readable audio"),
        ("empty.flac", "is empty"),
        ("no_samples.wav", "contains no audio samples"),
        ("cut_header.flac", "is not a readable audio"),
        ("noise.mp3", "is not a readable audio"),
        ("noise.m4a", "is not a readable audio"),
        ("picture.mp4", "holds pictures but no sound"),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_quietly(tmp_path, music, capfd, kind, says):
    path = bad_file(tmp_path, kind, music)
    with pytest.raises(AudioFileError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message
    assert says in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, music, exception):
    path = tmp_path / "a.flac"
    write(path, music, SAMPLE_RATE)
    before = path.read_bytes()

    def write_half():
        with AudioWriter(path, SAMPLE_RATE, 2) as writer:
            writer.write(0.5 * music)
            raise exception

    with pytest.raises(exception):
        write_half()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_only_when_whole(tmp_path, music):
    path = tmp_path / "a.wav"
    with AudioWriter(path, SAMPLE_RATE, 2) as writer:
        writer.write(music)
        assert not path.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_mix(tmp_path, music):
    path = tmp_path / "a.wav"
    threads = [threading.Thread(target=write, args=(path, gain * music, SAMPLE_RATE)) for gain in (0.25, 0.5, 1.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    back = read(path)[0]
    assert min(np.abs(back - gain * music).max() for gain in (0.25, 0.5, 1.0)) < 1e-5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("a.aiff", (SAMPLE_RATE, 2), r"name it \*.flac or \*.wav or \*.mp3 or \*.m4a or \*.opus or \*.ogg"),
        ("a.flac", (SAMPLE_RATE, 2, "FLOAT"), "FLAC can: PCM_16, PCM_24"),
        ("a.mp3", (SAMPLE_RATE, 6), r"at most 2 channels, not 6; write \.wav"),
        ("a.flac", (SAMPLE_RATE, 9), r"at most 8 channels, not 9; write \.wav"),
        (256 * "a" + ".flac", (SAMPLE_RATE, 2), "cannot be written"),
        ("absent/a.flac", (SAMPLE_RATE, 2), "does not exist"),
    ],
)
def test_impossible_output_is_told(tmp_path, name, arguments, says):
    with pytest.raises(AudioFileError, match=says):
        AudioWriter(tmp_path / name, *arguments)
    assert list(tmp_path.iterdir()) == []


RATES = [(44_100, 48_000), (48_000, 44_100), (96_000, 44_100), (8_000, 44_100), (44_100, 8_000), (44_100, 44_100)]


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("size", [1, 999, 4_096, 1_000_000])
def test_resampled_blocks_joined_equal_the_whole(music, rates, size):
    waveform = music[:, : 300 if size == 1 else 50_001]
    resampler = Resampler(*rates, channels=2)
    starts = range(0, waveform.shape[1], size)
    blocks = [resampler.process(waveform[:, s : s + size], last=s + size >= waveform.shape[1]) for s in starts]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), resample(waveform, *rates), atol=1e-6)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("length", [0, 1, 2, 147, 10_000, 44_100])
def test_resampled_length_is_exact(music, rates, length):
    expected = int(Fraction(length * rates[1], rates[0]) + Fraction(1, 2))
    assert resampled_length(length, *rates) == expected
    assert resample(music[:, :length], *rates).shape == (2, expected)
    resampler = Resampler(*rates, channels=2)
    blocks = [resampler.process(music[:, :length]), resampler.process(music[:, :0], last=True)]
    assert sum(block.shape[1] for block in blocks) == expected


def test_resampling_there_and_back_keeps_the_music(music):
    back = resample(resample(music, 44_100, 96_000), 96_000, 44_100)
    inside = slice(1_000, -1_000)
    # What is lost lies in the last few percent below the Nyquist frequency.
    assert np.mean((back - music)[:, inside] ** 2) < 1e-3 * np.mean(music[:, inside] ** 2)
    assert abs(lag(music, back)) < 0.01


def test_resampling_to_no_rate_is_told(music):
    with pytest.raises(ApolloError, match="above 0"):
        resample(music, 44_100, 0)
    with pytest.raises(ApolloError, match="above 0"):
        Resampler(0, 44_100, 2)


def test_a_name_with_a_colon_is_a_file_and_no_protocol(tmp_path, music, monkeypatch):
    if sys.platform == "win32":
        pytest.skip("no file there can be called so")
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "op1:a.mp3", music, "libmp3lame", "fltp", SAMPLE_RATE)
    assert read("op1:a.mp3")[1] == SAMPLE_RATE
    assert info("op1:a.mp3").codec == "mp3"
    assert read_cover("op1:a.mp3") is None
