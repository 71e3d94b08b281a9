import io
import os
import threading

import numpy as np
import pytest
import soundfile

from apollo.audio import RawStreamWriter, WavStreamWriter, read, read_raw_stream, read_wav_stream
from apollo.errors import AudioFileError

SAMPLE_RATE = 44_100
BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 24, "s16le": 16, "s24le": 24, "f32le": 24}


def integers(channels, length, kind):
    full = 1 << (BITS[kind] - 1)
    return (np.random.default_rng(0).integers(-full, full, (channels, length)) / full).astype(np.float32)


def through_pipe(write, read):
    """What one end of a pipe makes of what the other writes."""
    reading, writing = os.pipe()

    def fill():
        with open(writing, "wb") as stream:  # noqa: PTH123
            write(stream)

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        with open(reading, "rb") as stream:  # noqa: PTH123
            return read(stream)
    finally:
        thread.join()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_wav_passes_through_a_pipe_unchanged(channels, subtype):
    waveform = integers(channels, 70_001, subtype)

    def write(stream):
        with WavStreamWriter(stream, SAMPLE_RATE, channels, subtype) as writer:
            for block in np.split(waveform, [1, 30_000], axis=1):
                writer.write(block)

    def read(stream):
        rate, count, blocks = read_wav_stream(stream)
        return rate, count, np.concatenate(list(blocks), axis=1)

    rate, count, back = through_pipe(write, read)
    assert (rate, count) == (SAMPLE_RATE, channels)
    assert np.array_equal(back, waveform)


@pytest.mark.parametrize("kind", ["s16le", "s24le", "f32le"])
def test_raw_samples_pass_through_a_pipe_unchanged(kind):
    waveform = integers(3, 70_001, kind)

    def write(stream):
        with RawStreamWriter(stream, kind) as writer:
            writer.write(waveform[:, :11])
            writer.write(waveform[:, 11:])

    back = through_pipe(write, lambda stream: np.concatenate(list(read_raw_stream(stream, kind, 3)), axis=1))
    assert np.array_equal(back, waveform)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_of_unknown_length_is_read_by_others(tmp_path, subtype):
    waveform = integers(2, 5_000, subtype)
    with (tmp_path / "a.wav").open("wb") as file, WavStreamWriter(file, 48_000, 2, subtype) as writer:
        writer.write(waveform)
    other, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == 48_000
    assert np.array_equal(other.T, waveform)
    assert np.array_equal(read(tmp_path / "a.wav")[0], waveform)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_32", "DOUBLE"])
def test_other_programs_wav_is_read_from_a_stream(subtype):
    memory = io.BytesIO()
    waveform = integers(2, 5_000, "PCM_16") / 2
    soundfile.write(memory, waveform.T, 96_000, subtype, format="WAV")
    rate, channels, blocks = read_wav_stream(io.BytesIO(memory.getvalue()))
    assert (rate, channels) == (96_000, 2)
    np.testing.assert_allclose(np.concatenate(list(blocks), axis=1), waveform, atol=2**-7 if "8" in subtype else 2**-15)


def test_sound_is_on_its_way_when_a_block_is_written():
    class Watched(io.BytesIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    stream = Watched()
    WavStreamWriter(stream, SAMPLE_RATE, 1, "PCM_16").write(np.zeros((1, 100)))
    assert stream.flushed == 44 + 200


def test_stream_that_ends_early_gives_what_it_has():
    memory = io.BytesIO()
    with WavStreamWriter(memory, SAMPLE_RATE, 2, "PCM_16") as writer:
        writer.write(integers(2, 1_000, "PCM_16"))
    blocks = read_wav_stream(io.BytesIO(memory.getvalue()[:-402]))[2]
    assert sum(block.shape[1] for block in blocks) == 899
    assert sum(block.shape[1] for block in read_raw_stream(io.BytesIO(bytes(4_002)), "s16le", 2)) == 1_000


def test_stream_that_ends_before_its_header_says_is_told(caplog):
    memory = io.BytesIO()
    soundfile.write(memory, integers(2, 96_000, "PCM_16").T, 48_000, "PCM_16", format="WAV")
    for end, told in ((None, 0), (-192_000, 1)):
        list(read_wav_stream(io.BytesIO(memory.getvalue()[:end]))[2])
        assert caplog.text.count("standard input is cut off: by its header, about 1 s are missing") == told


@pytest.mark.parametrize("data", [b"", b"RIFF", b"ID3\x04 no wav" * 50, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_what_is_no_wav_is_told(data):
    with pytest.raises(AudioFileError, match="not a readable WAV"):
        read_wav_stream(io.BytesIO(data))


def test_unknown_kinds_are_told():
    with pytest.raises(AudioFileError, match="s16le, s24le, f32le"):
        RawStreamWriter(io.BytesIO(), "u8")
    with pytest.raises(AudioFileError, match="s16le, s24le, f32le"):
        next(read_raw_stream(io.BytesIO(), "u8", 2))
    with pytest.raises(AudioFileError, match="PCM_16, PCM_24, FLOAT"):
        WavStreamWriter(io.BytesIO(), SAMPLE_RATE, 2, "PCM_U8")
