"""Tags in every form that is about come out whole, by common names."""

import base64
import struct
import sys
import zlib

import av
import numpy as np
import pytest

from apollo.audio import AudioReader, Cover, info, read, write
from apollo.audio.containers import open_container
from apollo.audio.tags.legacy import decode_legacy
from apollo.audio.tags.model import Chapter, Metadata
from apollo.audio.tags.reading import read_metadata

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100"
    "18dd8db00000000049454e44ae426082"
)


def syncsafe(size):
    return bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0))


def frame(name, content, version=4, flags=0):
    if version == 2:
        return name + len(content).to_bytes(3, "big") + content
    size = syncsafe(len(content)) if version == 4 else len(content).to_bytes(4, "big")
    return name + size + bytes([0, flags]) + content


def id3(frames, version=4, flags=0, padding=10):
    body = b"".join(frames) + bytes(0 if flags & 0x10 else padding)
    tag = bytes([version, 0, flags]) + syncsafe(len(body))
    return b"ID3" + tag + body + (b"3DI" + tag if flags & 0x10 else b"")


def id3v1(title=b"", artist=b"", album=b"", comment=b"", track=5, genre=17):
    return struct.pack("<3s30s30s30s4s28sBBB", b"TAG", title, artist, album, b"1997", comment, 0, track, genre)


def ape(items, header=True):
    body = b"".join(
        struct.pack("<II", len(value), flags) + name.encode() + b"\0" + value for name, value, flags in items
    )
    ends = [
        b"APETAGEX" + struct.pack("<IIII8x", 2000, len(body) + 32, len(items), flags)
        for flags in (0xA0000000, 0x80000000)
    ]
    return (ends[0] if header else b"") + body + ends[1]


def comments(*pairs):
    parts = [struct.pack("<I", 1), b"x", struct.pack("<I", len(pairs))]
    for pair in pairs:
        parts += [struct.pack("<I", len(pair)), pair]
    return b"".join(parts)


def flac_with(path, source, *blocks):
    """A FLAC whose blocks but the first are these: pairs of kind and content."""
    data = source.read_bytes()
    at, last = 4, False
    while not last:
        last, size = data[at] & 0x80, int.from_bytes(data[at + 1 : at + 4], "big")
        at += 4 + size
    own = b"".join(bytes([kind]) + len(content).to_bytes(3, "big") + content for kind, content in blocks)
    path.write_bytes(data[:4] + b"\0" + data[5:42] + own + bytes([0x81, 0, 0, 0]) + data[at:])
    return path


def atom(name, content):
    return struct.pack(">I", 8 + len(content)) + name.encode("latin-1") + content


def data(kind, value):
    return atom("data", struct.pack(">II", kind, 0) + value)


def m4a_with(path, source, atoms):
    """An M4A, whose moov lies at the end, with these atoms."""
    content = source.read_bytes()
    at = content.rindex(b"moov") - 4
    moov = content[at + 8 :]
    user = moov.rindex(b"udta") - 4
    meta = atom("meta", bytes(4) + atom("hdlr", bytes(8) + b"mdirappl" + bytes(9)) + atom("ilst", b"".join(atoms)))
    path.write_bytes(content[:at] + atom("moov", moov[:user] + atom("udta", meta)))
    return path


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("coding", ["latin-1", "utf-16", "utf-8"])
def test_id3v2_of_every_version(tmp_path, tone, version, coding):
    if coding == "utf-8" and version < 4:
        pytest.skip("came with 2.4")
    mark = {"latin-1": b"\0", "utf-16": b"\1", "utf-8": b"\3"}[coding]
    names = [b"TT2", b"TP1", b"TBP", b"TRC", b"COM", b"TXX", b"PIC", b"TP2"]
    if version > 2:
        names = [b"TIT2", b"TPE1", b"TBPM", b"TSRC", b"COMM", b"TXXX", b"APIC", b"TPE2"]
    end = "\0".encode(coding)[-2 if coding == "utf-16" else -1 :]
    contents = [
        mark + "Jóga".encode(coding),
        mark + "Björk\0Bóbó".encode(coding),
        mark + "120".encode(coding),
        mark + "USABC1234567".encode(coding),
        mark + b"eng" + (b"\xff\xfe" if coding == "utf-16" else b"") + end + "Frábært".encode(coding),
        mark + "MusicBrainz Album Id\0abc".encode(coding),
        mark + (b"PNG\3" if version == 2 else b"image/png\0\3") + end + PNG,
        mark + "Ýmsir".encode(coding),
    ]
    frames = [frame(name, content, version) for name, content in zip(names, contents, strict=True)]
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(frames, version) + tone[".mp3"].read_bytes())
    found = read_metadata(path)
    assert found.tags == {
        "title": ("Jóga",), "artist": ("Björk", "Bóbó"), "bpm": ("120",), "isrc": ("USABC1234567",),
        "comment": ("Frábært",), "musicbrainz_albumid": ("abc",), "album_artist": ("Ýmsir",),
    }  # fmt: skip
    assert [(cover.data, cover.kind, cover.mime) for cover in found.covers] == [(PNG, 3, "image/png")]
    assert found.encoding is None


def test_id3v2_packed_in_every_way(tmp_path, tone):
    text = b"\3" + "Ünsynchronised \ufb00".encode()
    picture = b"\0image/png\0\3\0" + PNG + b"\xff\xe0\xff\0end"
    packed = zlib.compress(b"\3compressed")
    frames = [
        frame(b"TIT2", text, 4),
        frame(b"APIC", len(picture).to_bytes(4, "big") + picture.replace(b"\xff", b"\xff\0"), 4, 0x03),
        frame(b"TALB", syncsafe(len(b"\3compressed")) + packed, 4, 0x09),
        frame(b"TCOM", b"G\3grouped", 4, 0x40),
        frame(b"TPE3", b"E\3secret", 4, 0x04),
    ]
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(frames) + tone[".mp3"].read_bytes())
    found = read_metadata(path)
    assert found.tags == {"title": ("Ünsynchronised ﬀ",), "album": ("compressed",), "composer": ("grouped",)}
    assert found.covers[0].data == picture[13:]
    assert "TPE3" in found.dropped[0]
    whole = id3([frame(b"TIT2", b"\1\xff\xfeA\0\xff\x00", 3).replace(b"\xff", b"\xff\0")], 3, 0x80)
    path.write_bytes(whole + tone[".mp3"].read_bytes())
    assert read_metadata(path).tags == {"title": ("Aÿ",)}


def test_id3v2_with_a_footer_at_either_end(tmp_path, tone):
    tag = id3([frame(b"TIT2", b"\3Footer")], flags=0x10)
    path = tmp_path / "a.mp3"
    for content in (tag + tone[".mp3"].read_bytes(), tone[".mp3"].read_bytes() + tag + id3v1(b"Older")):
        path.write_bytes(content)
        assert read_metadata(path).tags["title"] == ("Footer",)


def test_sizes_of_old_itunes(tmp_path, tone):
    long = b"\3" + 300 * b"a"
    first = b"TIT2" + len(long).to_bytes(4, "big") + b"\0\0" + long
    path = tmp_path / "a.mp3"
    path.write_bytes(id3([first, frame(b"TPE1", b"\3Somebody")]) + tone[".mp3"].read_bytes())
    assert read_metadata(path).tags == {"title": (300 * "a",), "artist": ("Somebody",)}


def test_other_frames(tmp_path, tone):
    frames = [
        frame(b"TIPL", b"\3producer\0P\0mix\0M"),
        frame(b"TMCL", b"\3bass\0B"),
        frame(b"TCON", b"\x0017\0(4)Eurodisco\0Mine"),
        frame(b"TYER", b"\x001999", 3),
        frame(b"UFID", b"http://musicbrainz.org\0f00d"),
        frame(b"WOAR", b"http://example.com"),
        frame(b"TSO2", b"\3AAsort"),
        frame(b"TPE4", b"\3Remixer"),
        frame(b"TSST", b"\3Disc one"),
        frame(b"TKEY", b"\3Am"),
        frame(b"SYLT", b"\3eng\2\1\0" + b"one\0" + struct.pack(">I", 1500) + b"two\0" + struct.pack(">I", 61_000)),
        frame(b"POPM", b"me@example.com\0\xff"),
        frame(b"TLEN", b"\x00500"),
        frame(b"PRIV", b"www.example.com\0secret"),
        frame(b"TOWN", b"\3someone@example.com"),
        frame(b"CHAP", b"b\0" + struct.pack(">IIII", 200, 500, 0, 0) + frame(b"TIT2", b"\3Main")),
        frame(b"CHAP", b"a\0" + struct.pack(">IIII", 0, 200, 0, 0) + frame(b"TIT2", b"\3Intro")),
    ]
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(frames) + tone[".mp3"].read_bytes())
    found = read_metadata(path)
    assert found.tags == {
        "producer": ("P",), "mixer": ("M",), "performer": ("B (bass)",),
        "genre": ("Rock", "Disco", "Eurodisco", "Mine"),
        "date": ("1999",), "musicbrainz_trackid": ("f00d",), "website": ("http://example.com",),
        "albumartistsort": ("AAsort",), "remixer": ("Remixer",), "discsubtitle": ("Disc one",), "key": ("Am",),
        "syncedlyrics": ("[00:01.50]one\n[01:01.00]two",),
    }  # fmt: skip
    assert [(chapter.start, chapter.title) for chapter in found.chapters] == [(0, "Intro"), (0.2, "Main")]
    assert found.dropped == ("rating", "PRIV (www.example.com)", "file owner")


def test_newer_tags_come_before_older_ones(tmp_path, tone):
    path = tmp_path / "a.mp3"
    end = ape([("Title", b"Ape", 0), ("Artist", "Ÿ\0Z".encode(), 0), ("Year", b"2001", 0)]) + id3v1(
        b"Old", album=b"Old"
    )
    path.write_bytes(id3([frame(b"TIT2", b"\3New")]) + tone[".mp3"].read_bytes() + end)
    assert read_metadata(path).tags == {
        "title": ("New",), "artist": ("Ÿ", "Z"), "date": ("2001",), "album": ("Old",), "track": ("5",),
        "genre": ("Rock",),
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".m4a", ".mp3", ".wav"])
def test_tags_behind_a_file_of_any_kind(tmp_path, tone, suffix):
    path = tmp_path / f"a{suffix}"
    picture = b"front.png\0" + PNG
    items = [("Title", b"Ape", 0), ("Cover Art (Front)", picture, 2), ("MP3GAIN_MINMAX", b"1,2", 0), ("Junk", b"1", 2)]
    path.write_bytes(tone[suffix].read_bytes() + ape(items, header=False))
    found = read_metadata(path)
    assert found.tags["title"] == ("Ape",)
    assert found.covers[0].data == PNG
    assert {"mp3gain_minmax", "Junk"} <= set(found.dropped)


WORDS = {
    "cp1252": ["Björk", "Homogénic", "Motörhead – Live"],
    "cp1251": ["Кино", "Чёрный альбом", "Кукушка"],
    "koi8_r": ["Кино", "Группа крови"],
    "cp932": ["宇多田ヒカル", "桜流し"],
    "gbk": ["周杰伦", "青花瓷"],
    "euc_kr": ["김광석", "서른 즈음에"],
    "big5": ["張學友", "吻別"],
    "cp1253": ["Βαγγέλης", "Μίκης Θεοδωράκης"],
    "utf-8": ["Björk", "Кино", "宇多田"],
}


@pytest.mark.parametrize("code_page", WORDS)
def test_code_page_is_guessed(code_page):
    texts, guessed = decode_legacy([word.encode(code_page) for word in WORDS[code_page]])
    assert texts == WORDS[code_page]
    assert guessed == (None if code_page in ("cp1252", "utf-8") else code_page)


def test_bytes_of_no_code_page_lose_no_file():
    texts, _ = decode_legacy([bytes(range(1, 256)), b"\x81\x8d\x8f\x90\x9d"])
    assert all(texts)


def test_code_page_is_guessed_from_all_tags_together_and_told(tmp_path, tone):
    path = tmp_path / "a.mp3"
    path.write_bytes(tone[".mp3"].read_bytes() + id3v1(*(word.encode("cp1251") for word in WORDS["cp1251"])))
    found = read_metadata(path)
    assert [found.tags[name][0] for name in ("title", "artist", "album")] == WORDS["cp1251"]
    assert found.encoding == "cp1251"


def test_riff_info_and_broadcast_wave(tmp_path, tone):
    def chunk(name, content):
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    names = {b"INAM": "Jóga", b"IART": "Björk", b"IPRD": "Album", b"ITRK": "3", b"IGNR": "Pop", b"ICRD": "1997"}
    info = b"INFO" + b"".join(chunk(name, text.encode("cp1252") + b"\0") for name, text in names.items())
    cue = struct.pack("<I", 2) + b"".join(
        struct.pack("<II4sIII", number, 0, b"data", 0, 0, 4410 * number) for number in (2, 1)
    )
    labels = b"adtl" + b"".join(
        chunk(b"labl", struct.pack("<I", n) + text) for n, text in ((1, b"One\0"), (2, b"Two\0"))
    )
    bext = b"Feldaufnahme".ljust(256, b"\0") + b"Recorder".ljust(32, b"\0") + bytes(32) + b"2001-02-03"
    sound = tone[".wav"].read_bytes()
    body = chunk(b"bext", bext.ljust(602, b"\0")) + sound[12:]
    body += chunk(b"LIST", info) + chunk(b"cue ", cue) + chunk(b"LIST", labels) + chunk(b"iXML", b"<x/>")
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    found = read_metadata(path)
    assert found.tags == {
        "comment": ("Feldaufnahme",), "encodedby": ("Recorder",), "date": ("2001-02-03", "1997"), "title": ("Jóga",),
        "artist": ("Björk",), "album": ("Album",), "track": ("3",), "genre": ("Pop",),
    }  # fmt: skip
    assert [(round(chapter.start, 3), chapter.title) for chapter in found.chapters] == [(0.1, "One"), (0.2, "Two")]
    assert found.dropped == ("chunk iXML",)


def test_vorbis_comments(tmp_path, tone):
    picture = struct.pack(">II", 4, 9) + b"image/png" + struct.pack(">I", 4) + b"back" + bytes(16)
    picture += struct.pack(">I", len(PNG)) + PNG
    pairs = [
        b"TITLE=One", b"Artist=A", b"ARTIST=B", b"TRACKNUMBER=3", b"TOTALTRACKS=12", b"DISCNUMBER=1", b"DATE=1999",
        b"ALBUM ARTIST=AA", b"CHAPTER000=00:00:00.000", b"CHAPTER000NAME=Intro", b"CHAPTER001=00:00:00.250",
        b"ENCODER=Lavf", b"METADATA_BLOCK_PICTURE=" + base64.b64encode(picture), b"ORGANIZATION=Org", b"nothing",
    ]  # fmt: skip
    path = flac_with(tmp_path / "a.flac", tone[".flac"], (4, comments(*pairs)), (6, picture), (5, bytes(396)))
    found = read_metadata(path)
    assert found.tags == {
        "title": ("One",), "artist": ("A", "B"), "track": ("3/12",), "disc": ("1",), "date": ("1999",),
        "album_artist": ("AA",), "organization": ("Org",),
    }  # fmt: skip
    assert [(cover.data, cover.kind, cover.description) for cover in found.covers] == 2 * [(PNG, 4, "back")]
    assert [(c.start, c.end, c.title) for c in found.chapters] == [(0, 0.25, "Intro"), (0.25, np.inf, "")]
    assert found.cuesheet == bytes(396)


def test_atoms_of_mp4(tmp_path, tone):
    def free(name, *values):
        head = atom("mean", bytes(4) + b"com.apple.iTunes") + atom("name", bytes(4) + name)
        return atom("----", head + b"".join(data(1, value) for value in values))

    atoms = [
        atom("©nam", data(1, "Ñam".encode())), atom("©ART", data(1, b"A1") + data(1, b"A2")),
        atom("trkn", data(0, struct.pack(">4H", 0, 3, 12, 0))), atom("disk", data(0, struct.pack(">3H", 0, 1, 0))),
        atom("gnre", data(0, b"\0\x12")), atom("tmpo", data(21, b"\0\x78")), atom("cpil", data(21, b"\1")),
        atom("covr", data(14, PNG) + data(14, PNG + b"2")), free(b"MusicBrainz Track Id", b"f00d"),
        free(b"LABEL", b"L1", b"L2"), free(b"iTunSMPB", b" 0000"), atom("apID", data(1, b"someone@example.com")),
        atom("purd", data(1, b"2010-01-01")), atom("©too", data(1, b"Lavf")), atom("soar", data(1, b"sort")),
    ]  # fmt: skip
    found = read_metadata(m4a_with(tmp_path / "a.m4a", tone[".m4a"], atoms))
    assert found.tags == {
        "title": ("Ñam",), "artist": ("A1", "A2"), "track": ("3/12",), "disc": ("1",), "genre": ("Rock",),
        "bpm": ("120",), "compilation": ("1",), "musicbrainz_trackid": ("f00d",), "label": ("L1", "L2"),
        "artistsort": ("sort",),
    }  # fmt: skip
    assert [(cover.data, cover.kind) for cover in found.covers] == [(PNG, 3), (PNG + b"2", 0)]
    assert found.dropped == ("purchase account (apID)", "purchase date (purd)")


@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_who_bought_a_file_is_not_carried_along(tmp_path, tone, suffix):
    pairs = [b"TITLE=T", b"COMMENT=Purchased by someone@example.com", b"Account=someone", b"CONTACT=band@example.com"]
    path = tmp_path / f"a{suffix}"
    if suffix == ".flac":
        flac_with(path, tone[suffix], (4, comments(*pairs)))
    else:
        frames = [frame(b"TXXX", b"\3" + pair.replace(b"=", b"\0")) for pair in pairs]
        path.write_bytes(id3(frames) + tone[suffix].read_bytes())
    found = read_metadata(path)
    assert found.tags == {"title": ("T",), "contact": ("band@example.com",)}
    assert found.dropped == ("comment", "account")


def test_matroska(tmp_path, tone, tool):
    xml = tmp_path / "tags.xml"
    xml.write_text(
        "<Tags><Tag><Targets><TargetTypeValue>50</TargetTypeValue></Targets>"
        "<Simple><Name>TITLE</Name><String>Album</String></Simple>"
        "<Simple><Name>ARTIST</Name><String>All</String></Simple></Tag>"
        "<Tag><Targets><TargetTypeValue>30</TargetTypeValue></Targets>"
        "<Simple><Name>ARTIST</Name><String>A</String></Simple><Simple><Name>ARTIST</Name><String>B</String></Simple>"
        "<Simple><Name>PART_NUMBER</Name><String>3</String></Simple></Tag></Tags>"
    )
    (tmp_path / "cover.png").write_bytes(PNG)
    (tmp_path / "chapters.txt").write_text("CHAPTER01=00:00:00.000\nCHAPTER01NAME=Intro\n")
    arguments = ["--title", "Song", "--global-tags", xml, "--chapters", tmp_path / "chapters.txt"]
    arguments += ["--attach-file", tmp_path / "cover.png", "--track-name", "0:Surround 2.0", tone[".flac"]]
    tool("mkvmerge", "-o", tmp_path / "a.mka", *arguments)
    found = read_metadata(tmp_path / "a.mka")
    assert found.tags == {
        "title": ("Song",), "artist": ("A", "B"), "track": ("3",), "album": ("Album",), "album_artist": ("All",)
    }  # fmt: skip
    assert [cover.data for cover in found.covers] == [PNG]
    assert [chapter.title for chapter in found.chapters] == ["Intro"]


def test_matroska_as_ffmpeg_writes_it(tmp_path, tone):
    with av.open(str(tone[".mp3"])) as source, av.open(str(tmp_path / "a.mka"), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        target.metadata.update({"title": "Concert", "ARTIST": "Band"})
        stream.metadata["title"] = "Surround 2.0"
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert read_metadata(tmp_path / "a.mka").tags == {"title": ("Concert",), "artist": ("Band",)}


def test_tags_of_wma(tmp_path):
    with av.open(str(tmp_path / "a.wma"), "w", format="asf") as container:
        stream = container.add_stream("wmav2", rate=44_100, layout="mono")
        stream.bit_rate = 64_000
        container.metadata.update(
            {"title": "Tïtle", "artist": "Artist", "album": "Album", "album_artist": "AA", "track": "3", "genre": "Pop"}
        )
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 20_000), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    tags = read_metadata(tmp_path / "a.wma").joined
    assert tags == {
        "title": "Tïtle", "artist": "Artist", "album": "Album", "album_artist": "AA", "track": "3", "genre": "Pop"
    }  # fmt: skip


def test_aiff(tmp_path, tone):
    tag = id3([frame(b"TPE1", b"\3B\xc3\xb6b")])
    chunks = b"NAME" + (4).to_bytes(4, "big") + b"Song" + b"ID3 " + len(tag).to_bytes(4, "big") + tag
    content = bytearray(tone[".aiff"].read_bytes() + chunks)
    content[4:8] = (len(content) - 8).to_bytes(4, "big")
    (tmp_path / "a.aiff").write_bytes(content)
    assert read_metadata(tmp_path / "a.aiff").tags == {"artist": ("Böb",), "title": ("Song",)}


@pytest.mark.parametrize(
    ("program", "suffix", "options"),
    [
        ("oggenc", ".ogg", ["-t", "T", "-c", "ARTIST=A", "-a", "B", "-l", "L", "-N", "3", "-o"]),
        ("opusenc", ".opus", ["--title", "T", "--artist", "A", "--artist", "B", "--album", "L", "--tracknumber", "3"]),
        ("lame", ".mp3", ["--quiet", "--tt", "T", "--ta", "A", "--tl", "L", "--tn", "3"]),
        ("flac", ".flac", ["-TTITLE=T", "-TARTIST=A", "-TARTIST=B", "-TALBUM=L", "-TTRACKNUMBER=3", "-o"]),
    ],
)  # fmt: skip
def test_tags_of_the_usual_encoders(tmp_path, tone, tool, program, suffix, options):
    path = tmp_path / f"a{suffix}"
    if options[-1] == "-o":
        tool(program, *options, path, tone[".wav"])
    else:
        tool(program, *options, tone[".wav"], path)
    artists = ("A",) if program == "lame" else ("A", "B")
    assert read_metadata(path).tags == {"title": ("T",), "artist": artists, "album": ("L",), "track": ("3",)}


def hostile(kind, tone, tmp_path):
    """A file with 20,000 tags."""
    path = tmp_path / "a"
    names = [f"T{number}" for number in range(20_000)]
    if kind == "id3":
        path.write_bytes(id3([frame(b"TXXX", b"\3" + f"{n}\0x".encode()) for n in names]) + tone[".mp3"].read_bytes())
    elif kind == "ape":
        path.write_bytes(tone[".mp3"].read_bytes() + ape([(name, b"x", 0) for name in names]))
    elif kind == "flac":
        flac_with(path, tone[".flac"], (4, comments(*(f"{name}=x".encode() for name in names))))
    elif kind == "values":
        flac_with(path, tone[".flac"], (4, comments(*(f"ARTIST={name}".encode() for name in names))))
    elif kind == "mp4":
        head = atom("mean", bytes(4) + b"com.apple.iTunes")
        atoms = [atom("----", head + atom("name", bytes(4) + n.encode()) + data(1, b"x")) for n in names]
        m4a_with(path, tone[".m4a"], atoms)
    return path


@pytest.mark.parametrize("kind", ["id3", "ape", "flac", "values", "mp4"])
def test_tens_of_thousands_of_tags_are_read_in_time_linear_in_them(tone, tmp_path, kind):
    path = hostile(kind, tone, tmp_path)
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        steps += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        found = read_metadata(path)
    finally:
        sys.setprofile(None)
    assert sum(map(len, found.tags.values())) >= 20_000
    assert steps < 100 * 20_000


@pytest.mark.parametrize("kind", ["id3", "flac", "mp4"])
def test_ffmpeg_never_sees_tens_of_thousands_of_tags(tone, tmp_path, kind):
    path = hostile(kind, tone, tmp_path)
    with open_container(path) as container:
        assert len(container.metadata) < 10
    plain = {"id3": ".mp3", "flac": ".flac", "mp4": ".m4a"}[kind]
    assert np.array_equal(read(path)[0], read(tone[plain])[0])
    assert len(info(path).tags) >= 20_000


def test_sizes_that_lie_take_no_memory(tone, tmp_path):
    sound = tone[".mp3"].read_bytes()
    bomb = zlib.compress(bytes(1 << 28), 9)
    for content in (
        b"ID3\4\0\0" + syncsafe((1 << 28) - 1) + frame(b"TIT2", b"\3T") + sound,
        id3([frame(b"TIT2", b"\3T"), frame(b"APIC", syncsafe((1 << 28) - 1) + bomb, 4, 0x09)]) + sound,
        sound + b"APETAGEX" + struct.pack("<IIII8x", 2000, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        b"fLaC" + bytes([4, 0xFF, 0xFF, 0xFF]) + struct.pack("<II", 0, 0xFFFFFFFF),
        struct.pack(">I4sQ", 1, b"moov", 1 << 62) + b"x",
        b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\xff\xffINFOINAM\xff\xff\xff\xffT",
        b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01" + 7 * b"\xff" + b"\x12\x54\xc3\x67\x08" + 7 * b"\xff",
    ):
        (tmp_path / "a").write_bytes(content)
        read_metadata(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3", ".m4a", ".opus", ".ogg", ".aiff"])
def test_damaged_tags_are_no_obstacle(tmp_path, tone, suffix):
    path = tone[suffix]
    if suffix not in (".ogg", ".aiff"):
        metadata = Metadata(
            {"title": ("Títle",), "artist": ("A", "B"), "track": ("3/4",), "lyrics": ("la",), "performer": ("B (b)",)},
            (Cover.of(PNG, 3, "front"), Cover.of(PNG, 4)),
            (Chapter(0, 0.2, "One"), Chapter(0.2, 0.4, "Two")),
        )
        path = tmp_path / f"whole{suffix}"
        write(path, np.zeros((1, 5_000), np.float32), 48_000, metadata=metadata)
        with AudioReader(path) as reader:
            assert reader.count() == 5_000
    else:
        path = tmp_path / f"whole{suffix}"
        path.write_bytes(tone[suffix].read_bytes() + ape([("Title", b"T", 0)]) + id3v1(b"T"))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    tail = suffix in (".m4a", ".wav", ".aiff", ".ogg")
    places = range(max(0, len(whole) - 1500), len(whole)) if tail else range(min(1500, len(whole)))
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.choice(places, rng.integers(1, 8)):
            content[place] = rng.integers(256)
        if rng.random() < 0.3:
            content = content[: rng.integers(len(content))]
        (tmp_path / "a").write_bytes(content)
        read_metadata(tmp_path / "a")
