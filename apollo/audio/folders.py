"""The audio files in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from apollo.storage import Url, Where

# What to look for in folders: every name that a kind of file has which can be read. A file that is named is tried
# whatever it is called.
_NAMES = """
    .3g2 .3ga .3gp .8svx .aa3 .aac .ac3 .ac4 .adts .aif .aifc .aiff .amr .ape .asf .at3 .au .avi .awb .bonk .bwf
    .caf .dff .dsf .dts .dtshd .dv .eac3 .ec3 .f4a .f4v .flac .flv .gsm .iff .ircam .loas .m2ts .m4a .m4b .m4p
    .m4r .m4v .mk3d .mka .mkv .mlp .mov .mp+ .mp1 .mp2 .mp3 .mp4 .mpa .mpc .mpeg .mpg .mpga .mpp .mts .mxf .nist
    .nut .oga .ogg .ogm .ogv .ogx .oma .omg .opus .paf .pvf .qcp .qoa .qt .ra .rf64 .rka .rm .rmvb .sd2 .sf .shn
    .snd .sph .spx .svx .tak .thd .truehd .ts .tta .vob .voc .vqf .w64 .wav .wave .weba .webm .wma .wmv .wsd
    .wtv .wv .xwma
"""
SUFFIXES = frozenset(_NAMES.split())
LOSSLESS = (".wav", ".flac", ".aif", ".aiff")  # of those, what is taken to be so by its name alone


def audio_files(root: Where, others: Callable[[Where], None] = lambda path: None) -> list[Where]:
    """The files below a folder, at any depth, whose names are those of audio, sorted; hidden ones are left out.

    Links to folders are not followed. A folder that may not be looked into is given itself, so that what it holds is
    not missed in silence: whoever opens it learns what is wrong. `others` is called with every other file.
    """
    found: list[Where] = []
    if isinstance(root, Url):
        for url in root.files():
            if url.suffix.lower() in SUFFIXES:
                found.append(url)
            else:
                others(url)
        return sorted(found, key=lambda place: place.parts)

    def closed(error: OSError) -> None:
        found.append(Path(error.filename))

    for folder, folders, names in os.walk(root, onerror=closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() not in SUFFIXES:
                others(path)
            elif _is_file(path):
                found.append(path)
    return sorted(found, key=lambda place: place.parts)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # opening it will say what is wrong
        return True
