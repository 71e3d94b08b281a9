import time

import numpy as np
import pytest

from apollo.audio import AudioReader, read

SAMPLE_RATE = 44_100
NO_HEADER = {"write_xing": "0"}
VARIABLE = {"flags": "+qscale", "global_quality": str(4 * 118)}

# Name, encoder, sample rate, kbit/s, the encoder's options, the container's options.
LOSSLESS = [
    ("a.wav", "libsndfile", SAMPLE_RATE, None, None, None),
    ("a.flac", "libsndfile", SAMPLE_RATE, None, None, None),
    ("a.aiff", "libsndfile", SAMPLE_RATE, None, None, None),
    ("alac.m4a", "alac", SAMPLE_RATE, None, None, None),
]
LOSSY = [
    ("cbr.mp3", "libmp3lame", SAMPLE_RATE, 128, None, None),
    ("cbr_without_header.mp3", "libmp3lame", SAMPLE_RATE, 128, None, NO_HEADER),
    ("full_reservoir.mp3", "libmp3lame", SAMPLE_RATE, 32, None, NO_HEADER),
    ("vbr.mp3", "libmp3lame", SAMPLE_RATE, None, VARIABLE, None),
    ("vbr_without_header.mp3", "libmp3lame", SAMPLE_RATE, None, VARIABLE, NO_HEADER),
    ("low_rate.mp3", "libmp3lame", 16_000, 8, None, None),
    ("libsndfile.mp3", "libsndfile", SAMPLE_RATE, None, None, None),
    ("a.m4a", "aac", SAMPLE_RATE, 64, None, None),
    ("adts.aac", "aac", SAMPLE_RATE, 64, None, None),
    ("a.opus", "libopus", 48_000, 64, None, None),
    ("a.mka", "libopus", 48_000, 64, None, None),
    ("a.ogg", "libsndfile", SAMPLE_RATE, None, None, None),
]


@pytest.fixture(scope="module", params=LOSSLESS + LOSSY, ids=lambda file: file[0])
def file(request, tmp_path_factory, encode, music):
    """A path, all samples of the file, and how far those after a seek may be from them."""
    name, encoder, rate, kbps, options, container_options = request.param
    waveform = np.tile(music, (1, 5 if rate >= SAMPLE_RATE else 3))[:, :-123]
    path = encode(tmp_path_factory.mktemp("seek") / name, waveform, encoder, rate, kbps, options, container_options)
    whole = read(path)[0]
    return path, whole, 0.0 if request.param in LOSSLESS else 1e-4 * np.abs(whole).max()


def test_read_after_seek_gives_what_a_whole_read_gives_there(file):
    path, whole, tolerance = file
    length = whole.shape[1]
    rng = np.random.default_rng(3)
    places = [
        *rng.integers(0, length, 20).tolist(),
        length - 1,
        0,
        length,
        1,
        length - 1_000,
        1_152,
        length + 50_000,
        0,
    ]
    with AudioReader(path) as reader:
        for start in places:
            reader.seek(start)
            for size in (int(rng.integers(1, 5_000)), 30_000):
                block = reader.read(size)
                expected = whole[:, start : start + size]
                assert block.shape == expected.shape, start
                assert np.abs(block - expected).max(initial=0) <= tolerance, start
                start += size


def test_count_is_what_reading_to_the_end_gives_and_leaves_the_place(file):
    path, whole, tolerance = file
    with AudioReader(path) as reader:
        reader.read(1_000)
        assert reader.count() == whole.shape[1]
        assert np.abs(reader.read(1_000) - whole[:, 1_000:2_000]).max() <= tolerance
        assert reader.count() == whole.shape[1]


def test_junk_within_an_mp3_puts_no_sample_elsewhere(tmp_path, encode, music):
    parts = [encode(tmp_path / f"{n}.mp3", np.tile(music, (1, 2)), "libmp3lame").read_bytes() for n in "ab"]
    path = tmp_path / "joined.mp3"
    path.write_bytes(b"".join(parts))
    whole = read(path)[0]
    with AudioReader(path) as reader:
        assert reader.count() == whole.shape[1]
        for start in (whole.shape[1] - 9_000, 200_000):
            reader.seek(start)
            assert np.array_equal(reader.read(8_000), whole[:, start : start + 8_000])


def test_crop_of_a_long_mp3_does_not_wait_for_all_before_it(tmp_path, encode, music):
    frames = encode(tmp_path / "a.mp3", music, "libmp3lame", container_options=NO_HEADER).read_bytes()
    path = tmp_path / "long.mp3"
    path.write_bytes(200 * frames[frames.index(b"\xff\xfb") :])  # ten minutes
    with AudioReader(path) as reader:
        reader.seek(reader.count() - 10 * SAMPLE_RATE)
        started = time.process_time()
        for start in (3, 400, 100, 599):
            reader.seek(start * SAMPLE_RATE)
            assert reader.read(SAMPLE_RATE).shape == (2, SAMPLE_RATE)
        jumping = time.process_time() - started
    started = time.process_time()
    read(path)
    assert jumping < (time.process_time() - started) / 2


def test_no_sample_lies_before_the_first(tmp_path, encode, music):
    with (
        AudioReader(encode(tmp_path / "a.wav", music, "libsndfile")) as reader,
        pytest.raises(ValueError, match="first one is 0"),
    ):
        reader.seek(-1)
