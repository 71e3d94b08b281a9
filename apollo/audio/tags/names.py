"""What tags are called: common names here, and those of every format, as MusicBrainz Picard maps them.

Common names are what Picard writes into Vorbis comments, in lower case, but for `album_artist`, `track` and `disc`
("3/12" with their totals), which FFmpeg calls so.

Source: https://picard-docs.musicbrainz.org/en/appendices/tag_mapping.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Common name, ID3v2.4 frame, MP4 atom, RIFF INFO; "-" where there is none of its own.
_TABLE = """
    title             TIT2  ©nam  INAM
    artist            TPE1  ©ART  IART
    album             TALB  ©alb  IPRD
    album_artist      TPE2  aART  -
    date              TDRC  ©day  ICRD
    track             TRCK  trkn  ITRK
    disc              TPOS  disk  -
    genre             TCON  ©gen  IGNR
    composer          TCOM  ©wrt  IMUS
    comment           COMM  ©cmt  ICMT
    lyrics            USLT  ©lyr  -
    copyright         TCOP  cprt  ICOP
    bpm               TBPM  tmpo  -
    isrc              TSRC  -     -
    label             TPUB  -     -
    lyricist          TEXT  -     IWRI
    conductor         TPE3  -     -
    remixer           TPE4  -     -
    key               TKEY  -     -
    media             TMED  -     IMED
    originaldate      TDOR  -     -
    releasedate       TDRL  -     -
    originalalbum     TOAL  -     -
    originalartist    TOPE  -     -
    originallyricist  TOLY  -     -
    originalfilename  TOFN  -     -
    titlesort         TSOT  sonm  -
    artistsort        TSOP  soar  -
    albumsort         TSOA  soal  -
    albumartistsort   TSO2  soaa  -
    composersort      TSOC  soco  -
    grouping          TIT1  ©grp  -
    subtitle          TIT3  -     -
    discsubtitle      TSST  -     -
    mood              TMOO  -     -
    language          TLAN  -     ILNG
    encodedby         TENC  -     ITCH
    compilation       TCMP  cpil  -
    movement          MVNM  ©mvn  -
    movementnumber    MVIN  -     -
    work              -     ©wrk  -
    director          -     ©dir  -
    website           WOAR  -     -
    description       -     desc  -
    synopsis          -     ldes  -
    show              -     tvsh  -
    showsort          -     sosn  -
    podcasturl        -     purl  -
    media_type        -     stik  -
    rating            -     rtng  -
"""
_ROWS = [row.split() for row in _TABLE.strip().splitlines()]
ID3_FRAMES = {name: frame for name, frame, _, _ in _ROWS if frame != "-"}
MP4_ATOMS = {name: atom for name, _, atom, _ in _ROWS if atom != "-"}
RIFF_INFO = {name: chunk for name, *_, chunk in _ROWS if chunk != "-"}

# What ID3 frames TXXX and the free atoms of MP4 are called where that is not the common name in capitals.
ID3_TEXTS = {
    "acoustid_fingerprint": "Acoustid Fingerprint",
    "acoustid_id": "Acoustid Id",
    "musicbrainz_albumartistid": "MusicBrainz Album Artist Id",
    "musicbrainz_albumid": "MusicBrainz Album Id",
    "musicbrainz_artistid": "MusicBrainz Artist Id",
    "musicbrainz_discid": "MusicBrainz Disc Id",
    "musicbrainz_originalalbumid": "MusicBrainz Original Album Id",
    "musicbrainz_originalartistid": "MusicBrainz Original Artist Id",
    "musicbrainz_releasegroupid": "MusicBrainz Release Group Id",
    "musicbrainz_releasetrackid": "MusicBrainz Release Track Id",
    "musicbrainz_trmid": "MusicBrainz TRM Id",
    "musicbrainz_workid": "MusicBrainz Work Id",
    "musicip_fingerprint": "MusicMagic Fingerprint",
    "musicip_puid": "MusicIP PUID",
    "releasecountry": "MusicBrainz Album Release Country",
    "releasestatus": "MusicBrainz Album Status",
    "releasetype": "MusicBrainz Album Type",
}
MP4_NAMES = {**ID3_TEXTS, "musicbrainz_trackid": "MusicBrainz Track Id", "key": "initialkey"}

# Other names that are about, without spaces and the like: of APEv2, Matroska, ASF, FFmpeg and old programs.
_OTHERS = {
    "albumartist": "album_artist", "band": "album_artist", "ensemble": "album_artist", "tracknumber": "track",
    "trck": "track", "partnumber": "track", "totaltracks": "tracktotal", "totalparts": "tracktotal",
    "discnumber": "disc", "disk": "disc", "disknumber": "disc", "totaldiscs": "disctotal", "year": "date",
    "datereleased": "date", "recorddate": "date", "daterecorded": "date", "unsyncedlyrics": "lyrics",
    "publisher": "label", "remixedby": "remixer", "mixartist": "remixer", "modifiedby": "remixer",
    "initialkey": "key", "tbpm": "bpm", "beatsperminute": "bpm", "contentgroup": "grouping",
    "originalreleasetime": "originaldate", "titlesortorder": "titlesort", "artistsortorder": "artistsort",
    "albumsortorder": "albumsort", "sortname": "titlesort", "sortartist": "artistsort", "sortalbum": "albumsort",
    "sortalbumartist": "albumartistsort", "albumartistsortorder": "albumartistsort", "sortcomposer": "composersort",
    "composersortorder": "composersort", "setsubtitle": "discsubtitle", "itunescompilation": "compilation",
    "mediatype": "media_type", "movementname": "movement", "albumtitle": "album", "author": "artist",
    "writer": "lyricist", "sourcemedia": "media", "leadperformer": "artist",
}  # fmt: skip

# What tells of the file rather than of the music, and would be wrong in another file.
_TECHNICAL = re.compile(
    r"encoder|encoder_options|encodersettings|(wm/)?encodingsettings|encoding|major_brand|minor_version|compatible_brands"
    r"|handler_name|vendor_id|creation_time|duration|length|gapless_playback|pgap|itunsmpb|itunnorm|itunes_cddb.*|itunpgap"
    r"|metadata_block_picture|coverart(mime|type|description)?|id3v2_priv\..*|deviceconformancetemplate|wmfsdk.*"
    r"|wm/(encodingtime|mediaprimaryclassid|mediaclass.*|wmcp.*|provider.*|uniquefileidentifier|collection.*)"
    r"|isvbr|_statistics_.*|bps|number_of_(frames|bytes)|source_id|umid|time_reference|coding_history|comment:itun.*"
    r"|waveformatextensible_channel_mask|tool(name|version)?|comment:id3v1 comment|averagelevel|peakvalue"
)
# What shops write: it names who bought, not what is played.
_PURCHASE = re.compile(
    r"purchas|account|apple ?id|customer|buyer|licensee|file ?owner|order ?(id|number)|^(apid|ownr|purd)$"
)
_BOUGHT = re.compile(r"purchas|bought|licen[sc]ed to|sold to|downloaded by|buyer|customer|account|order", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.\w")


def _squeezed(name: str) -> str:
    return re.sub(r"[\s_/-]+", "", name)


_COMMON = {
    **{_squeezed(name): name for name, *_ in _ROWS},
    **{_squeezed(name): name for name in ID3_TEXTS},
    **{_squeezed(other.lower()): name for name, other in MP4_NAMES.items()},
    **_OTHERS,
}


def common_name(name: str) -> str:
    """The common name of a tag, by whatever name it goes; its own in lower case where it has none."""
    name = name.strip("\0 \t\r\n").lower()
    if name.startswith("lyrics-"):  # FFmpeg adds the language
        return "lyrics"
    return _COMMON.get(_squeezed(name.removeprefix("wm/")), name)


def vorbis_name(name: str) -> str:
    """What Vorbis comments and APEv2's kin call a tag."""
    return {"album_artist": "ALBUMARTIST", "track": "TRACKNUMBER", "disc": "DISCNUMBER"}.get(name, name.upper())


def is_technical(name: str) -> bool:
    """Whether a tag tells of the file rather than of the music."""
    return _TECHNICAL.fullmatch(name) is not None


def is_purchase(name: str, values: Sequence[str | bytes]) -> bool:
    """Whether a tag tells who bought the file."""
    if _PURCHASE.search(name.replace("_", " ")):
        return True
    texts = [value if isinstance(value, str) else value.decode("latin-1") for value in values]
    return any("@" in text and _EMAIL.search(text[:10_000]) and _BOUGHT.search(text[:10_000]) for text in texts)
