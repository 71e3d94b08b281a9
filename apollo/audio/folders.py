"""The audio files in folders, and what patterns stand for."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from apollo.errors import AudioFileError, some_of
from apollo.storage import Place, Url, Where

log = logging.getLogger(__name__)

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

    Links to folders are not followed, which is logged. A folder that may not be looked into is given itself, and so are
    links that lead nowhere, so that nothing is missed in silence: whoever opens them learns what is wrong. `others` is
    called with every other file.
    """
    found: list[Where] = []
    links: list[str] = []
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
        links += [str(path) for path in (Path(folder, name) for name in folders) if path.is_symlink()]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES:
                found.append(path)
            else:
                others(path)
    if links:
        log.warning("links to folders are not followed: name what they lead to (%s)", some_of(sorted(links), 3))
    return sorted(found, key=lambda place: place.parts)


def matches(path: Place, wanted: Callable[[Place], bool] = lambda match: True) -> list[Place]:
    """What matches a pattern such as `*.mp3` and is wanted, sorted; or the path itself if it is there or is no pattern.

    Raises:
        AudioFileError: If nothing does.
    """
    try:
        if not glob.has_magic(str(path)) or path.exists():
            return [path]
    except OSError:  # a name too long
        return [path]
    found = [match for match in _matching(path) if wanted(match)]
    if not found:
        raise AudioFileError(f"nothing matches {path}: check the pattern")
    return found


def _matching(path: Place) -> Sequence[Place]:
    if isinstance(path, Url):
        return path.matches()
    # A folder that is there is meant, even if it is called "Album [2020]".
    known = next(folder for folder in path.parents if is_folder(folder))
    pattern = Path(glob.escape(str(known)), path.relative_to(known))
    return [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207  Path.glob is relative


def is_folder(path: Place) -> bool:
    """Tell whether a path is a folder; if the system refuses to say, opening it will tell why."""
    try:
        return path.is_dir()
    except OSError:
        return False
