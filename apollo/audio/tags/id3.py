"""Read ID3 tags of versions 1, 2.2, 2.3 and 2.4.

Sources: https://id3.org/id3v2.4.0-structure, https://id3.org/id3v2.4.0-frames, https://id3.org/id3v2-chapters-1.0 and
their predecessors.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator

from apollo.audio.pictures import Cover
from apollo.audio.tags.model import Chapter, Found
from apollo.audio.tags.names import ID3_FRAMES
from apollo.audio.tails import size_of_id3v2, syncsafe

HEADER = 10
_LARGEST = 1 << 26  # bytes of a frame that was compressed
MUSICBRAINZ = b"http://musicbrainz.org"
NEVER_ENDS = 0xFFFFFFFF

# Frames of version 2.2, and of 2.3 where 2.4 has another one, by those of 2.4.
_OLD = {
    "TT1": "TIT1", "TT2": "TIT2", "TT3": "TIT3", "TP1": "TPE1", "TP2": "TPE2", "TP3": "TPE3", "TP4": "TPE4",
    "TAL": "TALB", "TRK": "TRCK", "TPA": "TPOS", "TCO": "TCON", "TCM": "TCOM", "TXT": "TEXT", "TLA": "TLAN",
    "TCR": "TCOP", "TPB": "TPUB", "TEN": "TENC", "TBP": "TBPM", "TKE": "TKEY", "TMT": "TMED", "TRC": "TSRC",
    "TOT": "TOAL", "TOA": "TOPE", "TOL": "TOLY", "TOF": "TOFN", "TOR": "TDOR", "TORY": "TDOR", "TCP": "TCMP",
    "TS2": "TSO2", "TSA": "TSOA", "TSC": "TSOC", "TSP": "TSOP", "TST": "TSOT", "TYE": "TYER", "TDA": "TDAT",
    "TIM": "TIME", "TXX": "TXXX", "COM": "COMM", "ULT": "USLT", "PIC": "APIC", "UFI": "UFID", "WAR": "WOAR",
    "WXX": "WXXX", "IPL": "IPLS", "POP": "POPM", "SLT": "SYLT", "GEO": "GEOB", "XSOT": "TSOT", "XSOP": "TSOP",
    "XSOA": "TSOA", "TSS": "TSSE", "TLE": "TLEN", "TSI": "TSIZ", "TDY": "TDLY", "TFT": "TFLT", "GP1": "GRP1",
    "MVN": "MVNM", "MVI": "MVIN", "WCP": "WCOP",
}  # fmt: skip
_NAMES = {frame: name for name, frame in ID3_FRAMES.items()} | {"GRP1": "grouping", "WCOP": "license"}
_TECHNICAL = {
    "TSSE", "TLEN", "TSIZ", "TDLY", "TFLT", "TDTG", "TDEN", "TRDA", "MLLT", "SEEK", "ASPI", "SYTC", "PCNT", "CTOC",
    "RVAD", "EQUA", "RVRB", "NCON", "CNT", "RVA", "EQU", "MLL", "STC", "REV", "BUF", "RBUF",
}  # fmt: skip
_PURCHASE = {"TOWN": "file owner", "OWNE": "purchase", "USER": "terms of use", "COMR": "purchase"}
_ROLES = {"mix": "mixer", "dj-mix": "djmixer", "dj mix": "djmixer"}  # Picard's names of those in TIPL

_GENRES = """
    Blues|Classic Rock|Country|Dance|Disco|Funk|Grunge|Hip-Hop|Jazz|Metal|New Age|Oldies|Other|Pop|R&B|Rap|Reggae|
    Rock|Techno|Industrial|Alternative|Ska|Death Metal|Pranks|Soundtrack|Euro-Techno|Ambient|Trip-Hop|Vocal|Jazz+Funk|
    Fusion|Trance|Classical|Instrumental|Acid|House|Game|Sound Clip|Gospel|Noise|Alternative Rock|Bass|Soul|Punk|
    Space|Meditative|Instrumental Pop|Instrumental Rock|Ethnic|Gothic|Darkwave|Techno-Industrial|Electronic|Pop-Folk|
    Eurodance|Dream|Southern Rock|Comedy|Cult|Gangsta|Top 40|Christian Rap|Pop/Funk|Jungle|Native American|Cabaret|
    New Wave|Psychedelic|Rave|Showtunes|Trailer|Lo-Fi|Tribal|Acid Punk|Acid Jazz|Polka|Retro|Musical|Rock & Roll|
    Hard Rock|Folk|Folk-Rock|National Folk|Swing|Fast Fusion|Bebop|Latin|Revival|Celtic|Bluegrass|Avantgarde|
    Gothic Rock|Progressive Rock|Psychedelic Rock|Symphonic Rock|Slow Rock|Big Band|Chorus|Easy Listening|Acoustic|
    Humour|Speech|Chanson|Opera|Chamber Music|Sonata|Symphony|Booty Bass|Primus|Porn Groove|Satire|Slow Jam|Club|
    Tango|Samba|Folklore|Ballad|Power Ballad|Rhythmic Soul|Freestyle|Duet|Punk Rock|Drum Solo|A Cappella|Euro-House|
    Dance Hall|Goa|Drum & Bass|Club-House|Hardcore|Terror|Indie|BritPop|Afro-Punk|Polsk Punk|Beat|
    Christian Gangsta Rap|Heavy Metal|Black Metal|Crossover|Contemporary Christian|Christian Rock|Merengue|Salsa|
    Thrash Metal|Anime|JPop|Synthpop|Abstract|Art Rock|Baroque|Bhangra|Big Beat|Breakbeat|Chillout|Downtempo|Dub|EBM|
    Eclectic|Electro|Electroclash|Emo|Experimental|Garage|Global|IDM|Illbient|Industro-Goth|Jam Band|Krautrock|
    Leftfield|Lounge|Math Rock|New Romantic|Nu-Breakz|Post-Punk|Post-Rock|Psytrance|Shoegaze|Space Rock|Trop Rock|
    World Music|Neoclassical|Audiobook|Audio Theatre|Neue Deutsche Welle|Podcast|Indie Rock|G-Funk|Dubstep|
    Garage Rock|Psybient
"""
GENRES = tuple("".join(line.strip() for line in _GENRES.strip().splitlines()).split("|"))


def read_id3v1(tag: bytes, found: Found) -> None:
    """Read the last 128 bytes of a file, if they are ID3v1."""
    if len(tag) != 128 or not tag.startswith(b"TAG"):
        return
    title, artist, album, year, comment, genre = struct.unpack("3x30s30s30s4s30sB", tag)
    track = comment[29] if comment[28] == 0 else 0
    comment = comment[:28] if track else comment
    for name, value in (("title", title), ("artist", artist), ("album", album), ("date", year), ("comment", comment)):
        found.add(name, value.split(b"\0")[0], common=True)
    if track:
        found.add("track", str(track), common=True)
    if genre < len(GENRES):
        found.add("genre", GENRES[genre], common=True)


def read_id3v2(tag: bytes, found: Found) -> None:
    """Read a whole tag, header and all."""
    if not size_of_id3v2(tag[:HEADER]):
        return
    version, flags = tag[3], tag[5]
    body = tag[HEADER : HEADER + syncsafe(tag[6:10])]
    if version < 4 and flags & 0x80:
        body = _resynchronised(body)
    if version > 2 and flags & 0x40:
        size = syncsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
        body = body[max(4, size) :]
    read = _Frames(found)
    for name, content in _frames(body, version, bool(flags & 0x80), found):
        read.frame(_OLD.get(name, name), content)
    read.finish()


def _frames(body: bytes, version: int, unsynchronised: bool, found: Found) -> Iterator[tuple[str, bytes]]:
    """Names of frames with their plain contents."""
    letters, header = (3, 6) if version == 2 else (4, 10)
    at = 0
    while at + header <= len(body) and body[at] and re.fullmatch(rb"[A-Z0-9 ]+", body[at : at + letters]):
        name = body[at : at + letters].decode("ascii").strip()
        size = int.from_bytes(body[at + letters : at + 2 * letters], "big")
        if version == 4:
            size = _size_as_written(body, at, size)
        flags = body[at + 9] if version > 2 else 0
        content = body[at + header : at + header + size]
        at += header + size
        plain = _plain(content, version, flags, unsynchronised)
        if plain is None:
            found.drop(f"{name} (encrypted or damaged)")
        else:
            yield name, plain


def _size_as_written(body: bytes, at: int, size: int) -> int:
    """The size of a frame of version 2.4: seven bits a byte, but for old iTunes, which wrote eight."""
    spread = syncsafe(body[at + 4 : at + 8])
    if spread == size:
        return size

    def leads_on(size: int) -> bool:
        behind = body[at + 10 + size : at + 14 + size]
        return at + 10 + size <= len(body) and (
            not behind.strip(b"\0") or re.fullmatch(rb"[A-Z0-9]{4}", behind) is not None
        )

    return size if size & 0x80808080 or (not leads_on(spread) and leads_on(size)) else spread


def _plain(content: bytes, version: int, flags: int, unsynchronised: bool) -> bytes | None:
    """The content of a frame without compression and the like; None if it cannot be read."""
    compressed, encrypted, grouped = (0x08, 0x04, 0x40) if version == 4 else (0x80, 0x40, 0x20)
    if flags & encrypted:
        return None
    skip = 1 if flags & grouped else 0
    if version == 4:
        skip += 4 if flags & 0x01 else 0
        if unsynchronised or flags & 0x02:
            content = _resynchronised(content)
    elif flags & compressed:
        content = content[4:]
    content = content[skip:]
    if not flags & compressed:
        return content
    try:
        return zlib.decompressobj().decompress(content, _LARGEST)
    except zlib.error:
        return None


class _Frames:
    """Brings frames of version 2.4 to common names."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._date: dict[str, str | bytes] = {}
        self._readers: dict[str, Callable[[bytes], None]] = {
            "TXXX": self._text, "COMM": self._comment, "USLT": self._lyrics, "APIC": self._picture,
            "UFID": self._identifier, "CHAP": self._chapter, "TIPL": self._people, "IPLS": self._people,
            "TMCL": self._musicians, "TCON": self._genre, "WXXX": self._address, "SYLT": self._timed_lyrics,
        }  # fmt: skip

    def frame(self, name: str, content: bytes) -> None:
        """Read one frame."""
        if name in _TECHNICAL or not content:
            return
        if name in _PURCHASE:
            self._found.drop(_PURCHASE[name])
        elif name in self._readers:
            self._readers[name](content)
        elif name in ("TYER", "TDAT", "TIME"):
            self._date.setdefault(name, next(iter(_texts(content)), ""))
        elif name.startswith("T") or name in ("MVNM", "MVIN", "GRP1"):
            self._found.add(_NAMES.get(name, name.lower()), *_texts(content), common=True)
        elif name.startswith("W"):
            self._found.add(_NAMES.get(name, name.lower()), content.split(b"\0")[0], common=True)
        elif name == "POPM":
            self._found.drop("rating")
        elif name == "PRIV":
            owner = content.split(b"\0")[0].decode("latin-1")
            if not owner.startswith("WM/") and owner not in ("PeakValue", "AverageLevel"):
                self._found.drop(f"PRIV ({owner[:40]})")
        else:
            self._found.drop(name)

    def finish(self) -> None:
        """Read what takes several frames together."""
        year, day = (
            value.decode("latin-1") if isinstance(value, bytes) else value
            for value in (self._date.get("TYER", ""), self._date.get("TDAT", ""))
        )
        if year and "date" not in self._found:
            full = re.fullmatch(r"\d{4}", year) and re.fullmatch(r"\d{4}", day)
            self._found.add("date", f"{year}-{day[2:]}-{day[:2]}" if full else year, common=True)

    def _text(self, content: bytes) -> None:
        name, *values = _texts(content, empty=True) or [""]
        self._found.add(_as_text(name) or "text", *values)

    def _comment(self, content: bytes) -> None:
        description, *values = _texts(content[:1] + content[4:], empty=True) or [""]
        name = _as_text(description).strip("\0 ")
        self._found.add(f"comment:{name.lower()}" if name else "comment", *values, common=True)

    def _lyrics(self, content: bytes) -> None:
        self._found.add("lyrics", *_texts(content[:1] + content[4:], empty=True)[1:], common=True)

    def _timed_lyrics(self, content: bytes) -> None:
        """Lines with their times in ms, as a text in the form LRC."""
        coding, form = content[0], content[4]
        end = b"\0\0" if coding in (1, 2) else b"\0"
        if form != 2:
            self._found.drop("SYLT")
            return
        _, at = _terminated(content, 6, end)
        lines = []
        while at < len(content):
            raw, at = _terminated(content, at, end)
            text = _as_text(next(iter(_texts(bytes([coding]) + raw)), "")).strip()
            time = int.from_bytes(content[at : at + 4], "big") / 1000
            at += 4
            lines.append(f"[{int(time // 60):02}:{time % 60:05.2f}]{text}")
        self._found.add("syncedlyrics", "\n".join(lines), common=True)

    def _picture(self, content: bytes) -> None:
        old = content[1:4] in (b"JPG", b"PNG", b"-->") and content[4:5] != b"\0"  # version 2.2 has no MIME type
        mime, at = (content[1:4], 4) if old else _terminated(content, 1, b"\0")
        kind = content[at]
        description, at = _terminated(content, at + 1, b"\0\0" if content[0] in (1, 2) else b"\0")
        if mime == b"-->":
            self._found.drop("link to a picture")
        elif data := content[at:]:
            text = _as_text(next(iter(_texts(content[:1] + description)), ""))
            self._found.covers.append(Cover.of(data, kind, text))

    def _identifier(self, content: bytes) -> None:
        owner, _, identifier = content.partition(b"\0")
        if owner == MUSICBRAINZ:
            self._found.add("musicbrainz_trackid", identifier.decode("ascii", "replace"), common=True)
        else:
            self._found.drop(f"UFID ({owner.decode('latin-1')[:40]})")

    def _chapter(self, content: bytes) -> None:
        _, at = _terminated(content, 0, b"\0")
        start, end, _, _ = struct.unpack_from(">IIII", content, at)
        inner = Found()
        for name, sub in _frames(content[at + 16 :], 4, False, inner):
            if name == "TIT2":
                inner.add("title", *_texts(sub), common=True)
        title = inner.settle().joined.get("title", "")
        self._found.chapters.append(Chapter(start / 1000, math.inf if end == NEVER_ENDS else end / 1000, title))

    def _people(self, content: bytes) -> None:
        texts = [_as_text(text) for text in _texts(content, empty=True)]
        for role, name in zip(texts[::2], texts[1::2], strict=False):
            self._found.add(_ROLES.get(role.lower(), role.lower()) or "involved", name)

    def _musicians(self, content: bytes) -> None:
        texts = [_as_text(text) for text in _texts(content, empty=True)]
        for instrument, name in zip(texts[::2], texts[1::2], strict=False):
            self._found.add("performer", f"{name} ({instrument})" if instrument else name, common=True)

    def _genre(self, content: bytes) -> None:
        for text in _texts(content):
            if isinstance(text, str) or text.isascii():
                self._found.add("genre", *_genres(_as_text(text)), common=True)
            else:
                self._found.add("genre", text, common=True)

    def _address(self, content: bytes) -> None:
        name, at = _terminated(content, 1, b"\0\0" if content[0] in (1, 2) else b"\0")
        text = _as_text(next(iter(_texts(content[:1] + name)), "")).lower()
        self._found.add(f"url:{text}" if text else "url", content[at:].split(b"\0")[0])


def _genres(text: str) -> list[str]:
    """Names of genres, which may be given as numbers: "17", "(17)", "(4)Eurodisco", "(RX)"."""
    names = []
    while match := re.match(r"\((\d{1,3}|RX|CR)\)", text):
        names.append(match[1])
        text = text[match.end() :]
    if text and not (names and text == _genre_of(names[-1])):
        names.append(text[1:] if text.startswith("((") else text)
    return [_genre_of(name) for name in names]


def _genre_of(name: str) -> str:
    if re.fullmatch(r"\d{1,3}", name) and int(name) < len(GENRES):
        return GENRES[int(name)]
    return {"RX": "Remix", "CR": "Cover"}.get(name, name)


def _texts(content: bytes, empty: bool = False) -> list[str | bytes]:
    """The values of a text frame; bytes where it says Latin-1, which is seldom true."""
    coding, text = content[:1], content[1:]
    values: list[str | bytes]
    if coding in (b"\1", b"\2"):
        little = coding == b"\1" and not text.startswith(b"\xfe\xff")
        # A value may have a mark of its own.
        decoded = text[: len(text) & ~1].decode("utf-16-le" if little else "utf-16-be", "replace")
        values = [value.lstrip("\ufeff") for value in decoded.split("\0")]
    elif coding == b"\3":
        values = [*text.decode("utf-8", "replace").lstrip("\ufeff").split("\0")]
    else:
        values = [*(text if coding == b"\0" else content).split(b"\0")]
    return values if empty else [value for value in values if value]


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _terminated(content: bytes, start: int, end: bytes) -> tuple[bytes, int]:
    """What stands before an end mark, and where what follows begins."""
    at = content.find(end, start)
    while len(end) == 2 and at >= 0 and (at - start) % 2:
        at = content.find(end, at + 1)
    return (content[start:], len(content)) if at < 0 else (content[start:at], at + len(end))


def _resynchronised(content: bytes) -> bytes:
    return content.replace(b"\xff\0", b"\xff")
