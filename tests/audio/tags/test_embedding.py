"""Whatever a file holds is written the way that programs for the format look for it, and comes back whole."""

import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile

from apollo.audio import AudioWriter, Cover, read, write
from apollo.audio.tags.model import Chapter, Metadata
from apollo.audio.tags.names import ID3_FRAMES, ID3_TEXTS, MP4_ATOMS
from apollo.audio.tags.reading import read_metadata

RATE = 48_000
SUFFIXES = (".flac", ".wav", ".mp3", ".m4a", ".opus")
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)
SOUND = (0.3 * np.sin(np.arange(24_000) / 20)).astype(np.float32)[None]
EVERYTHING = Metadata(
    {
        **{name: (f"{name} ü", f"second {name}") for name in (*ID3_FRAMES, *ID3_TEXTS, *MP4_ATOMS)},
        "date": ("1999-12-31",), "track": ("3/12",), "disc": ("1",), "bpm": ("120",), "compilation": ("1",),
        "media_type": ("2",), "rating": ("1",), "website": ("http://example.com",), "producer": ("P", "Q"),
        "performer": ("A (bass)", "B"), "mixer": ("M",), "djmixer": ("D",), "license": ("http://example.com/l",),
        "musicbrainz_trackid": ("f00d",), "comment:note": ("a",), "lyrics": ("la\nla",), "own": ("1", "2"),
        "movementnumber": ("2",), "replaygain_track_gain": ("-8.20 dB",), "r128_track_gain": ("-1000",), "a b": ("c",),
        "url:shop": ("http://example.org",), "ключ": ("ключ",),
    },
    (Cover.of(PNG, 3, "front"), Cover.of(PNG + b"back", 4, "bäck")),
    (Chapter(0, 0.2, "Intro ü"), Chapter(0.2, 0.5, "Main")),
)  # fmt: skip


def make(path, metadata, **options):
    with AudioWriter(path, RATE, 1, metadata=metadata, **options) as writer:
        writer.write(SOUND)
    return writer.lost


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_everything_comes_back(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    lost = make(path, EVERYTHING)
    found = read_metadata(path)
    cyrillic = {"ключ"} if suffix in (".flac", ".opus") else set()  # their names are ASCII
    assert lost == [*cyrillic]
    held = {name: set(values) for name, values in found.tags.items() if name.isascii() and "___" not in name}
    assert held == {
        name: set(values) for name, values in EVERYTHING.tags.items() if name not in cyrillic and name.isascii()
    }
    assert [cover.data for cover in found.covers] == [cover.data for cover in EVERYTHING.covers]
    if suffix != ".m4a":  # where pictures have no kind
        assert found.covers == EVERYTHING.covers
    assert [(round(chapter.start, 3), chapter.title) for chapter in found.chapters] == [(0, "Intro ü"), (0.2, "Main")]
    assert read(path)[0].shape == SOUND.shape


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_programs_read_it(tmp_path, suffix):
    """FFmpeg finds the usual tags, the first of several pictures and the chapters; libsndfile the sound."""
    path = tmp_path / f"a{suffix}"
    tags = {"title": "Títle", "artist": "Ä", "album": "Ö", "album_artist": "Ü", "track": "3/12", "date": "1999"}
    metadata = Metadata.of({**tags, "genre": "Pop", "composer": "C", "comment": "D"})
    chapters = (Chapter(0, 0.25, "One"), Chapter(0.25, 0.5, "Two"))
    covers = (Cover.of(PNG),)
    make(path, Metadata(metadata.tags, covers, chapters))
    with av.open(str(path)) as container:
        told = {**container.metadata, **container.streams.audio[0].metadata}
        told = {name.lower(): text for name, text in told.items()}
        expected = {**tags, "genre": "Pop", "composer": "C", "comment": "D"}
        expected["track"] = "3" if suffix in (".flac", ".opus") else "3/12"
        assert {name: told.get(name) for name in expected} == expected
        if suffix != ".wav":
            assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]
            assert any(bytes(next(container.demux(stream))) == PNG for stream in container.streams.video)
    if suffix != ".m4a":
        assert soundfile.info(path).frames == SOUND.shape[1]


def test_names_are_those_of_the_format(tmp_path, tool):
    metadata = Metadata.of(
        {"artist": ["Alice", "Bob"], "bpm": "120", "isrc": "X", "album_artist": "AA", "track": "3/12", "key": "Am"}
        | {"musicbrainz_albumid": "f00d", "label": "L", "albumartistsort": "S"}
    )
    for suffix in SUFFIXES:
        make(tmp_path / f"a{suffix}", metadata)
    flac = (tmp_path / "a.flac").read_bytes()
    opus = (tmp_path / "a.opus").read_bytes()
    for text in (b"ARTIST=Alice", b"ARTIST=Bob", b"BPM=120", b"ISRC=X", b"ALBUMARTIST=AA", b"TRACKNUMBER=3",
                 b"TRACKTOTAL=12", b"KEY=Am", b"MUSICBRAINZ_ALBUMID=f00d", b"LABEL=L"):  # fmt: skip
        assert text in flac
        assert text in opus
    mp3 = (tmp_path / "a.mp3").read_bytes()
    for text in (b"TPE1", b"Alice\0Bob", b"TBPM", b"TSRC", b"TPE2", b"TRCK", b"3/12", b"TKEY", b"TPUB", b"TSO2",
                 b"TXXX", b"MusicBrainz Album Id\0f00d"):  # fmt: skip
        assert text in mp3
    assert b"id3 " in (tmp_path / "a.wav").read_bytes()
    m4a = (tmp_path / "a.m4a").read_bytes()
    for text in (b"\xa9ART", b"tmpo", b"aART", b"trkn", b"soaa", b"ISRC", b"initialkey", b"MusicBrainz Album Id"):
        assert text in m4a


def test_metaflac_and_id3v2_agree(tmp_path, tool):
    metadata = Metadata.of({"artist": ["Alice", "Bob"], "title": "T"}, (Cover.of(PNG),))
    make(tmp_path / "a.flac", metadata)
    make(tmp_path / "a.mp3", metadata)
    tool("flac", "--test", tmp_path / "a.flac")
    tool("metaflac", "--export-tags-to", tmp_path / "tags.txt", tmp_path / "a.flac")
    assert (tmp_path / "tags.txt").read_text().splitlines() == ["ARTIST=Alice", "ARTIST=Bob", "TITLE=T"]
    tool("metaflac", "--export-picture-to", tmp_path / "a.png", tmp_path / "a.flac")
    assert (tmp_path / "a.png").read_bytes() == PNG
    tool("id3v2", "--list", tmp_path / "a.mp3")


def test_opus_is_whole_to_those_who_check_it(tmp_path, tool):
    """More tags than a page holds, and pages whose checksums are right."""
    cover = Cover.of(PNG + bytes(200_000))
    assert make(tmp_path / "a.opus", Metadata.of({"lyrics": 70_000 * "ü", "title": "T"}, (cover,))) == []
    assert read_metadata(tmp_path / "a.opus").covers == (cover,)
    tool("opusdec", tmp_path / "a.opus", tmp_path / "a.wav")
    said = subprocess.run(["opusinfo", tmp_path / "a.opus"], capture_output=True, text=True, check=True)
    assert "WARNING" not in said.stdout + said.stderr


def test_cuesheet_stays_in_flac(tmp_path):
    sheet = Metadata(cuesheet=bytes(396))
    assert make(tmp_path / "a.flac", sheet) == []
    assert read_metadata(tmp_path / "a.flac").cuesheet == bytes(396)
    assert make(tmp_path / "a.mp3", sheet) == ["cuesheet"]


def test_what_is_not_carried_is_named(tmp_path):
    assert make(tmp_path / "a.flac", Metadata({"title": ("T",)}, dropped=("rating",))) == ["rating"]
    gif = Cover.of(b"GIF8 no picture")
    assert make(tmp_path / "b.flac", Metadata({}, (Cover.of(PNG), gif))) == ["1 of 2 pictures"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_may_change_until_the_end(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with AudioWriter(path, RATE, 1, tags={"replaygain_track_gain": "-8 dB", "title": "T"}) as writer:
        writer.write(SOUND)
        writer.metadata = writer.metadata.with_tags({"replaygain_track_gain": ["-12.34 dB"]}, drop=["title"])
    assert read_metadata(path).tags == {"replaygain_track_gain": ("-12.34 dB",)}
    assert writer.lost == ["title"]
    assert np.array_equal(read(path)[0].shape, SOUND.shape)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tens_of_thousands_of_tags_are_written_in_time_linear_in_them(tmp_path, suffix):
    metadata = Metadata({f"t{number}": ("x",) for number in range(20_000)})
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        lost = make(tmp_path / f"a{suffix}", metadata)
    finally:
        sys.setprofile(None)
    assert lost == []
    assert steps < 150 * 20_000


def test_what_no_format_can_hold_is_named_and_spoils_nothing(tmp_path):
    long = Metadata.of({"title": "T", "lyrics": 17_000_000 * "a"})
    for suffix in SUFFIXES:
        assert make(tmp_path / f"a{suffix}", long) == ["lyrics"]
        assert read(tmp_path / f"a{suffix}")[0].shape == SOUND.shape


def test_large_wav_gets_its_tags_as_well(tmp_path):
    write(tmp_path / "a.wav", SOUND, RATE, metadata=EVERYTHING)
    content = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
