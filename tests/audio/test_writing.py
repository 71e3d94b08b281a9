import io
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from apollo.audio import AudioReader, AudioWriter, Cover, info, lag, read, read_cover, resampled_length, write
from apollo.errors import AudioFileError

SAMPLE_RATE = 44_100
SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".opus", ".ogg")
LOSSY = (".mp3", ".m4a", ".opus", ".ogg")
TAGS = {
    "title": "Étude Nr. 3 “歌”",
    "artist": "Ségolène & Söhne",
    "album": "Ünïcode",
    "album_artist": "Various",
    "date": "1999-12-31",
    "track": "3/12",
    "disc": "1/2",
    "genre": "Rock",
    "composer": "J. S. Bach",
    "comment": "two\nlines",
    "lyrics": "la la\nla",
    "copyright": "nobody",
    "mood": "wild",
    "replaygain_track_gain": "-6.20 dB",
}


def picture(kind="mjpeg", size=32):
    """A picture file, of noise if it is large."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="gif" if kind == "gif" else "image2pipe") as container:
        stream = container.add_stream(kind)
        stream.width = stream.height = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24", "bmp": "bgr24", "gif": "rgb8"}[kind]
        noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=stream.pix_fmt)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        memory.close = lambda: None
    return Cover.of(memory.getvalue())


def integers(channels, length, bits):
    """Waveform of random integers of so many bits, all of them exact in float32."""
    full = 1 << (bits - 1)
    values = np.random.default_rng(0).integers(-full, full, (channels, length))
    return (values / full).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [
        (".flac", "PCM_16", 16),
        (".flac", "PCM_24", 24),
        (".wav", "PCM_16", 16),
        (".wav", "PCM_24", 24),
        (".wav", "FLOAT", 24),
    ],
)
@pytest.mark.parametrize(("channels", "rate"), [(1, 8_000), (2, 44_100), (3, 192_000), (6, 48_000), (8, 96_000)])
def test_lossless_files_hold_the_very_samples(tmp_path, suffix, subtype, bits, channels, rate):
    waveform = integers(channels, 20_011, bits)
    path = tmp_path / f"a{suffix}"
    write(path, waveform, rate, subtype, TAGS, cover=picture())
    back, sample_rate = read(path)
    assert sample_rate == rate
    assert np.array_equal(back, waveform)
    assert soundfile.info(path).subtype == subtype
    assert info(path).bits == (32 if subtype == "FLOAT" else bits)


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_lossy_files_are_aligned_and_as_long_as_what_was_written(tmp_path, music, suffix, rate):
    waveform = music[:, : min(2 * rate, music.shape[1])]
    path = tmp_path / f"a{suffix}"
    write(path, waveform, rate)
    back, coded_rate = read(path)
    assert back.shape == (2, resampled_length(waveform.shape[1], rate, coded_rate))
    assert coded_rate == (48_000 if suffix in {".opus", ".ogg"} else min(rate, 48_000))
    if coded_rate == rate:
        assert abs(lag(waveform, back)) < 0.1
    with AudioReader(path) as reader:
        assert reader.count() == back.shape[1]


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize("length", [100, 500, 1_152, 51_205, 65_536])
def test_lossy_files_of_any_length_come_back_at_that_length(tmp_path, music, suffix, length):
    rate = 48_000
    write(tmp_path / f"a{suffix}", music[:, :length], rate)
    assert read(tmp_path / f"a{suffix}")[0].shape == (2, length)


@pytest.mark.parametrize("suffix", LOSSY)
@pytest.mark.parametrize("channels", range(1, 9))
def test_channels_keep_their_places(tmp_path, suffix, channels):
    if (suffix == ".mp3" and channels > 2) or (suffix in {".opus", ".ogg"} and channels in {5, 7}):
        with pytest.raises(AudioFileError, match=f"channels, not {channels}; write .wav"):
            AudioWriter(tmp_path / f"a{suffix}", 48_000, channels)
        return
    time = np.arange(24_000) / 48_000
    # Within what a channel for low frequencies carries.
    tones = np.stack([0.3 * np.sin(2 * np.pi * (30 + 10 * c) * time) for c in range(channels)])
    write(tmp_path / f"a{suffix}", tones, 48_000)
    back = read(tmp_path / f"a{suffix}")[0]
    assert back.shape == tones.shape
    likeness = np.corrcoef(np.concatenate([tones, back])[:, 4_000:-4_000])[:channels, channels:]
    assert np.array_equal(np.argmax(likeness, axis=1), np.arange(channels))
    assert np.diagonal(likeness).min() > 0.95


def test_block_lengths_do_not_matter_to_lossy_files(tmp_path, music):
    for name, size in (("a", 777), ("b", music.shape[1])):
        with AudioWriter(tmp_path / f"{name}.m4a", 96_000, 2) as writer:
            for start in range(0, music.shape[1], size):
                writer.write(music[:, start : start + size])
    assert np.array_equal(read(tmp_path / "a.m4a")[0], read(tmp_path / "b.m4a")[0])


@pytest.mark.parametrize(("suffix", "bitrate"), [(".mp3", 128_000), (".m4a", 96_000), (".opus", 64_000)])
def test_bitrate_is_the_one_asked_for(tmp_path, music, suffix, bitrate):
    write(tmp_path / f"a{suffix}", music, 48_000, bitrate=bitrate)
    assert info(tmp_path / f"a{suffix}").bitrate == pytest.approx(bitrate, rel=0.3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_holds_all_tags_and_the_cover(tmp_path, music, suffix):
    path = tmp_path / f"a{suffix}"
    cover = picture()
    with AudioWriter(path, SAMPLE_RATE, 2, tags=TAGS, cover=cover) as writer:
        writer.write(music[:, :5_000])
    assert info(path).tags == TAGS
    assert read_cover(path) == cover
    assert writer.lost == []


@pytest.mark.parametrize("source", SUFFIXES)
@pytest.mark.parametrize("target", [s for s in SUFFIXES if s != ".ogg"])
def test_tags_and_cover_pass_from_any_format_to_any(tmp_path, music, source, target):
    one, other = tmp_path / f"one{source}", tmp_path / f"other{target}"
    write(one, music[:, :3_000], SAMPLE_RATE, tags=TAGS, cover=picture())
    before, cover = info(one).tags, read_cover(one)
    with AudioWriter(other, SAMPLE_RATE, 2, tags=before, cover=cover) as writer:
        writer.write(music[:, :3_000])
    after = info(other).tags
    assert (after, writer.lost) == (TAGS, [])
    assert read_cover(other) == cover


@pytest.mark.parametrize("kind", ["png", "bmp", "gif"])
@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".m4a", ".opus"])
def test_other_kinds_of_pictures_are_kept_but_for_gif_in_mp4(tmp_path, music, suffix, kind):
    path = tmp_path / f"a{suffix}"
    cover = picture(kind)
    with AudioWriter(path, SAMPLE_RATE, 2, cover=cover) as writer:
        writer.write(music[:, :5_000])
    kept = (suffix, kind) != (".m4a", "gif")  # MP4 has no such kind of cover
    assert (read_cover(path), writer.lost) == ((cover, []) if kept else (None, ["cover"]))
    assert read(path)[0].shape[1] > 0


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["text", "cut", "empty", "huge"])
def test_cover_that_cannot_be_written_is_told_and_spoils_nothing(tmp_path, music, suffix, what):
    good = picture().data
    data = {"text": b"no picture at all", "cut": good[:20], "empty": b"", "huge": good + bytes(1 << 24)}[what]
    with AudioWriter(tmp_path / f"a{suffix}", 48_000, 2, cover=Cover.of(data)) as writer:
        writer.write(music[:, :5_000])
    assert writer.lost == ["cover"]
    assert read(tmp_path / f"a{suffix}")[0].shape == (2, 5_000)


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".m4a", ".opus"])
def test_large_cover_is_kept(tmp_path, music, suffix):
    cover = picture("png", 1_200)
    assert len(cover.data) > 4_000_000
    write(tmp_path / f"a{suffix}", music[:, :5_000], 48_000, cover=cover)
    assert read_cover(tmp_path / f"a{suffix}") == cover
    assert read(tmp_path / f"a{suffix}")[0].shape == (2, 5_000)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tags_that_are_odd_are_no_obstacle(tmp_path, music, suffix):
    tags = {"title": "a\0b", "": "nameless", "artist": "", "x=y": "equals", "comment": "c" * 100_000, "Ключ": "ключ"}
    with AudioWriter(tmp_path / f"a{suffix}", 48_000, 2, tags=tags) as writer:
        writer.write(music[:, :5_000])
    assert info(tmp_path / f"a{suffix}").tags["title"] == "a b"
    assert read(tmp_path / f"a{suffix}")[0].shape == (2, 5_000)


def test_what_tells_of_the_old_file_is_not_carried_into_the_new_one(tmp_path, music):
    tags = {"encoder": "LAME 3.100", "major_brand": "M4A ", "iTunSMPB": " 00000000 00000840", "TRACKNUMBER": "3"}
    write(tmp_path / "a.flac", music[:, :5_000], SAMPLE_RATE, tags=tags)
    assert info(tmp_path / "a.flac").tags == {"track": "3"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_without_samples_can_be_written(tmp_path, suffix):
    with AudioWriter(tmp_path / f"a{suffix}", 48_000, 2):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt])
def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, music, suffix, exception):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def write_half():
        with AudioWriter(path, SAMPLE_RATE, 2, tags=TAGS, cover=picture()) as writer:
            writer.write(music[:, :30_000])
            raise exception

    with pytest.raises(exception):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_is_told_and_leaves_nothing(tmp_path, music, suffix):
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    try:
        with pytest.raises(AudioFileError, match="check permissions and free space"):  # noqa: PT012, SIM117
            with AudioWriter(tmp_path / f"a{suffix}", 48_000, 2) as writer:
                for _ in range(4):
                    writer.write(music)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


def test_format_can_be_named_where_the_suffix_does_not_tell(tmp_path, music):
    write(tmp_path / "a.song", music[:, :5_000], SAMPLE_RATE, format="mp3")
    assert info(tmp_path / "a.song").codec == "mp3"


def test_no_numbers_become_silence_in_integers(tmp_path):
    waveform = np.array([[0.5, np.nan, np.inf, -np.inf, 2.0, -2.0]], np.float32)
    write(tmp_path / "a.flac", waveform, SAMPLE_RATE, "PCM_16")
    top = 1 - 2**-15
    assert read(tmp_path / "a.flac")[0].tolist() == [[0.5, 0, top, -1, top, -1]]


@pytest.mark.parametrize(
    ("suffix", "told"),
    [
        (".flac", ("flac", "flac", 24)),
        (".wav", ("wav", "pcm_s24le", 24)),
        (".mp3", ("mp3", "mp3", None)),
        (".m4a", ("mp4", "aac", None)),
        (".opus", ("ogg", "opus", None)),
    ],
)
def test_container_codec_and_depth_are_told(tmp_path, music, suffix, told):
    path = tmp_path / f"a{suffix}"
    write(path, music, SAMPLE_RATE, cover=picture("png", 300))
    found = info(path)
    assert (found.container, found.codec, found.bits) == told
    assert found.lossy == (found.bits is None)
    length = Fraction(music.shape[1], SAMPLE_RATE)
    cover = read_cover(path)
    size = path.stat().st_size - (len(cover.data) * (4 / 3 if suffix == ".opus" else 1) if cover else 0)
    assert found.bitrate == pytest.approx(float(8 * size / length), rel=0.15)


def test_missing_file_has_no_cover(tmp_path):
    with pytest.raises(AudioFileError, match="cannot be opened"):
        read_cover(tmp_path / "missing.mp3")
    (tmp_path / "text.mp3").write_text("no music")
    assert read_cover(tmp_path / "text.mp3") is None
