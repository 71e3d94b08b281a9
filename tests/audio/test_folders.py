"""Folders stand for all the music in them, and a file for nothing but itself."""

import subprocess
import sys

import av
import numpy as np
import pytest

from apollo.audio import Cover, audio_files, info, read, write
from apollo.audio.pictures import open_picture
from apollo.cli import main
from apollo.errors import AudioFileError

RATE = 44_100

# Kinds of files as people have them: suffix, FFmpeg's muxer and encoder.
KINDS = [
    (".m4b", "ipod", "aac"),
    (".webm", "webm", "libopus"),
    (".mkv", "matroska", "libmp3lame"),
    (".mka", "matroska", "libvorbis"),
    (".mov", "mov", "pcm_s16le"),
    (".ac3", "ac3", "ac3"),
    (".eac3", "eac3", "eac3"),
    (".wv", "wv", "wavpack"),
    (".spx", "ogg", "libspeex"),
    (".tta", "tta", "tta"),
    (".3gp", "3gp", "aac"),
    (".au", "au", "pcm_s16be"),
    (".weba", "webm", "libopus"),
    (".mp2", "mp2", "mp2"),
    (".ts", "mpegts", "mp2"),
    (".avi", "avi", "libmp3lame"),
    (".wma", "asf", "wmav2"),
    (".caf", "caf", "alac"),
    (".voc", "voc", "pcm_u8"),
    (".mp3", "mp3", "libmp3lame"),
]


def encode(path, muxer, encoder):
    """A tone, too short to be searched for traces of a codec for long; False where this FFmpeg lacks the encoder."""
    try:
        codec = av.Codec(encoder, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    rate = 48_000 if encoder == "libopus" else 16_000 if encoder == "libspeex" else RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 5) / rate).astype(np.float32)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate, layout="mono")
        stream.format = codec.audio_formats[0]
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(tone[None], "flt", "mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return True


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["apollo", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return subprocess.CompletedProcess(sys.argv, left.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A file of every kind, and the other files that lie beside music."""
    folder = tmp_path_factory.mktemp("shelf")
    made = [suffix for suffix, muxer, encoder in KINDS if encode(folder / f"a{suffix}", muxer, encoder)]
    assert len(made) >= 15
    for name in ("folder.jpg", "notes.txt", "album.m3u8"):
        (folder / name).write_text("#EXTM3U\na.mp3\n")
    return folder, made


def test_every_kind_of_file_that_can_be_read_is_music(shelf):
    folder, made = shelf
    others = []
    assert {path.suffix for path in audio_files(folder, others.append)} == set(made)
    assert {path.name for path in others} == {"folder.jpg", "notes.txt", "album.m3u8"}
    for path in audio_files(folder):
        assert read(path)[0].shape[1] > 0


@pytest.mark.parametrize("verb", [["inspect"], ["data", "check"]])
def test_files_of_other_kinds_are_counted(run, shelf, verb):
    assert "Skipped: 3 files of other kinds." in run(*verb, shelf[0]).stdout


@pytest.mark.parametrize(("name", "says"), [("a.m3u", "list of files; name those"), ("a.ZIP", "unpack it")])
def test_what_holds_music_elsewhere_or_packed_is_told_as_such(tmp_path, name, says):
    (tmp_path / name).write_text("PK a.mp3")
    with pytest.raises(AudioFileError, match=says):
        info(tmp_path / name)


LISTS = {
    "concat": "ffconcat version 1.0\nfile other.ts\n",
    "hls": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet '
    'mimeType="audio/mp4"><Representation id="1"><BaseURL>other.ts</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.m4a", "a.ts", "a.m3u8"])
def test_list_in_disguise_opens_no_other_file(tmp_path, kind, name):
    encode(tmp_path / "other.ts", "mpegts", "mp2")
    path = tmp_path / name
    path.write_text(LISTS[kind])
    with pytest.raises(AudioFileError, match="is not a readable audio"):
        read(path)
    with pytest.raises(AudioFileError):
        info(path)


def test_cover_in_disguise_opens_no_other_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.flac", np.zeros((1, 100), np.float32), RATE, cover=Cover(LISTS["concat"].encode(), "image/png"))
    assert open_picture(Cover(LISTS["concat"].encode(), "image/png")) is None
