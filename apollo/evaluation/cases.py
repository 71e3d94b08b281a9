"""What an evaluation is made of: pieces of music, each under each condition.

A folder is one of three things, recognised by its content: songs in stems, pairs of originals and damaged versions, or
originals alone. Stems are mixed into the paper's four kinds of music; originals and mixes are coded here, pairs are
taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Generic, TypeVar

from apollo.audio.files import info
from apollo.audio.folders import LOSSLESS
from apollo.data.folders import Track, files_of, try_track
from apollo.data.layouts import Found, any_layout, two_folders
from apollo.data.relations import fingerprint
from apollo.data.stem_corpus import MIXTURE, kind_of
from apollo.errors import ApolloError, DataError, one_file
from apollo.evaluation.results import PAIRS, Condition
from apollo.shards import Shard
from apollo.storage import Place, Where, at_hand, inside

VOCAL, SINGLE, MULTI, MULTI_VOCAL = KINDS = ("vocal", "single stem", "multi-stem", "multi-stem + vocal")

_VOCALS = "vocals"
_ORIGINALS = "used as undamaged originals"
MOST_SIDES = 8  # folders side by side among which two may be sides of pairs


Source = TypeVar("Source", bound=Place, covariant=True)


@dataclass(frozen=True)
class Case(Generic[Source]):
    """A piece under a condition; plain data, so that it travels to another process."""

    piece: str  # as in `apollo.evaluation.results.Score`
    kind: str  # one of `KINDS`, or empty
    condition: Condition  # what is done to the piece
    sources: tuple[Source, ...]  # the files whose sum the original is; nearly always one
    damaged: Source | None = None  # path of the damaged version, for pairs

    @contextmanager
    def at_hand(self) -> Iterator[Case[Path]]:
        """The same with files of this machine, those of objects for as long as the block lasts."""
        with ExitStack() as stack:
            sources = tuple(stack.enter_context(at_hand(source)) for source in self.sources)
            damaged = None if self.damaged is None else stack.enter_context(at_hand(self.damaged))
            yield Case(self.piece, self.kind, self.condition, sources, damaged)

    @property
    def fingerprint(self) -> str:
        """The same only for the same files, unchanged, under the same condition."""
        files = (*self.sources, self.damaged) if self.damaged else self.sources
        return sha256(f"{fingerprint(*files)} {self.condition} {self.kind}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cases:
    """What a folder holds for an evaluation."""

    root: Place  # the folder, here or in a store
    summary: str  # what was found, in a few words
    cases: list[Case[Place]]  # piece by piece, conditions in their order
    conditions: list[Condition]  # each condition once
    problems: list[tuple[str, str]] = field(default_factory=list)  # files that cannot be used: which, and why
    layout: str = ""  # what the files were taken for, in a clause
    # What may make the scores mean something else than they seem to, in sentences.
    warnings: list[str] = field(default_factory=list)
    # The folder of damaged versions where it was named apart from that of the originals, `root`.
    damaged: Place | None = None

    @property
    def source(self) -> str:
        """What is evaluated, as the user named it."""
        return str(self.root) if self.damaged is None else f"{self.root} and {self.damaged}"

    def in_shard(self, shard: Shard) -> Cases:
        """The pieces and the problems of a share."""
        pieces = {case.piece for case in self.cases}
        cases = shard.of(self.cases, lambda case: case.piece)
        share = f"{self.summary}; share {shard}: {len({case.piece for case in cases})} of {len(pieces)} pieces"
        return replace(self, summary=share, cases=cases, problems=shard.of(self.problems, lambda problem: problem[0]))


def find_cases(root: Place, codecs: Sequence[str], bitrates: Sequence[int]) -> Cases:
    """Tell what a folder (or a single recording) holds and list what is to be evaluated.

    Args:
        root: Songs in stems (`<song>/<class>[_n].flac`, several in every folder), pairs in any layout that training
            takes, or originals at any depth.
        codecs: That originals and mixes are put through.
        bitrates: In kbit/s, for each codec.

    Raises:
        DataError: If there is no such folder, no audio in it, or nothing to do.
    """
    conditions = [Condition(codec, bitrate) for codec in dict.fromkeys(codecs) for bitrate in sorted(set(bitrates))]
    if root.is_file():
        recording = [Case(root.name, "", condition, (root,)) for condition in conditions]
        return Cases(root, "1 recording", recording, conditions, layout=_ORIGINALS, warnings=_of_lossy([root], root))
    files = files_of(root)
    if not files:
        raise DataError(f"{root} holds no audio files: give recordings such as FLAC or WAV, pairs, or songs in stems")
    if songs := _songs_in_stems(files):
        pieces = [piece for song, stems in songs.items() for piece in _mixes(root, song, stems)]
        mixes = [Case(name, kind, condition, paths) for name, kind, paths in pieces for condition in conditions]
        summary = f"{_counted(len(songs), 'song')} in stems, {len(pieces)} mixes"
        layout = "one folder per song, files named after their content"
        return Cases(root, summary, mixes, conditions, layout=layout, warnings=_of_lossy(files, root))
    found, loose = any_layout(root)
    if not found.pairs:
        originals = [Case(_name(root, path), "", condition, (path,)) for path in files for condition in conditions]
        warnings = [*_of_lossy(files, root), *_of_twins(files, root)]
        return Cases(
            root, _counted(len(files), "recording"), originals, conditions, layout=_ORIGINALS, warnings=warnings
        )
    apart = [(path, "it has no partner, and the folder holds pairs") for path in loose]
    return _pairs(root, found, apart, _layout_of(found))


def pairs_of(original: Place, damaged: Place) -> Cases:
    """List the pairs with the same names in two folders of any names.

    Args:
        original: Folder of originals, at any depth.
        damaged: Folder of their damaged versions, under the same paths with any ending.

    Raises:
        DataError: If there is no such folder, no audio in it, or no name in both.
    """
    same = isinstance(original, Path) and isinstance(damaged, Path) and original.resolve() == damaged.resolve()
    if same or original == damaged:
        raise DataError(f"{original} cannot hold both originals and damaged versions: give two folders")
    found = two_folders(original, damaged)
    if not found.pairs:
        raise DataError(
            f"no file of {damaged} has the same name as one in {original}: both folders need the same paths, except "
            "for suffixes"
        )
    return replace(
        _pairs(original, found, [], f"originals in {original}, damaged versions in {damaged}"), damaged=damaged
    )


def _pairs(root: Place, found: Found[Place], apart: Sequence[tuple[Place, str]], layout: str) -> Cases:
    pairs = [Case(_name(root, original), "", Condition(PAIRS), (original,), codec) for original, codec in found.pairs]
    problems = [(problem.path, problem.reason) for problem in found.problems]
    named = [(_name(root, path), reason) for path, reason in (*problems, *apart)]
    warnings = _of_lossy([original for original, _ in found.pairs], root)
    return Cases(root, _counted(len(pairs), "pair"), pairs, [Condition(PAIRS)], named, layout, warnings)


def _layout_of(found: Found[Place]) -> str:
    """Where the pairs are, from their names."""
    layouts = []
    for original, damaged in found.pairs:
        if original.parent == damaged.parent:
            layouts.append(f"{original.stem} beside {damaged.stem} in one folder per song")
        else:
            sides = zip(original.parts, damaged.parts, strict=False)
            layouts.append("in the folders {}/ and {}/".format(*next(pair for pair in sides if pair[0] != pair[1])))
    return ", ".join(dict.fromkeys(layouts))


def _of_lossy(originals: Sequence[Place], root: Place) -> list[str]:
    """A warning where originals are of a lossy format; of objects, which are fetched later, a note tells it then."""
    here = [path for path in originals if isinstance(path, Path)]
    lossy = [path for path in here if path.suffix.lower() not in LOSSLESS and _is_lossy(path)]
    if not lossy:
        return []
    share = "the original is" if len(originals) == 1 else f"{len(lossy)} of {len(originals)} originals are"
    first = "" if len(originals) == 1 else f" (the first: {_name(root, lossy[0])})"
    return [
        f"{share} in a lossy format{first}: their damage counts as correct; give undamaged originals, or pairs with "
        "--original DIR --damaged DIR"
    ]


def _is_lossy(path: Path) -> bool:
    try:
        with one_file(path):
            return info(path).lossy
    except ApolloError:  # Reported later, when it is scored.
        return False


def _of_twins(files: Sequence[Place], root: Place) -> list[str]:
    """Warnings where folders side by side hold recordings of the same names and lengths: pairs under other names."""
    folders: dict[Place, dict[str, dict[Path, Place]]] = {}
    for path in files:
        parts = inside(path, root).parts
        for depth in range(len(parts) - 1):
            beside = folders.setdefault(root / Path(*parts[:depth]), {})
            beside.setdefault(parts[depth], {})[Path(*parts[depth + 1 :]).with_suffix("")] = path
    warnings = []
    for parent, beside in folders.items():
        # Of a shelf of albums no two are sides of pairs.
        for (one, ours), (other, theirs) in combinations(beside.items() if len(beside) <= MOST_SIDES else (), 2):
            common = sorted(ours.keys() & theirs.keys())
            if len(common) < min(len(ours), len(theirs)):
                continue
            with at_hand(ours[common[0]]) as our_first, at_hand(theirs[common[0]]) as their_first:
                if not _as_long(our_first, their_first):
                    continue
                lossy = [_is_lossy(our_first), _is_lossy(their_first)]
            first, second = (other, one) if lossy == [True, False] else (one, other)
            unsure = "" if lossy[0] != lossy[1] else ", or the other way round"
            warnings.append(
                f"{first}/ and {second}/ hold {_counted(len(common), 'recording')} with the same names, all used as "
                f"originals: if they are pairs, give --original {parent / first} --damaged {parent / second}{unsure}"
            )
    return warnings


def _as_long(one: Path, other: Path) -> bool:
    """Whether two recordings last equally long, but for what encoders add."""
    tracks = (try_track(one), try_track(other))
    seconds = [track.seconds for track in tracks if isinstance(track, Track)]
    return len(seconds) == 2 and abs(seconds[0] - seconds[1]) < 0.2


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _name(root: Place, path: Place) -> str:
    return inside(path, root).as_posix() if root in path.parents else path.as_posix()


def _songs_in_stems(files: Sequence[Where]) -> dict[Where, list[Where]]:
    """Stems by song if every folder with audio is a song, else nothing."""
    songs: dict[Where, list[Where]] = {}
    for path in files:
        songs.setdefault(path.parent, []).append(path)
    for stems in songs.values():
        if len(stems) < 2 or any(kind_of(path.stem) is None for path in stems):
            return {}
    return songs


def _mixes(root: Place, song: Place, paths: Sequence[Place]) -> Iterator[tuple[str, str, tuple[Place, ...]]]:
    """Name, kind and stems of the pieces that a song gives: one of each of the four kinds, as far as its stems go."""
    stems = [path for path in paths if kind_of(path.stem) != MIXTURE]
    vocals = tuple(path for path in stems if kind_of(path.stem) == _VOCALS)
    others = tuple(path for path in stems if path not in vocals)
    mixture = tuple(path for path in paths if kind_of(path.stem) == MIXTURE)[:1]
    name = _name(root, song)
    if vocals:
        yield f"{name}: vocals", VOCAL, vocals
    if others:
        # Any of them, but always the same.
        chosen = others[int(sha256(song.name.encode()).hexdigest(), 16) % len(others)]
        yield f"{name}: {chosen.stem}", SINGLE, (chosen,)
    if len(others) > 1:
        yield f"{name}: instruments" if vocals else f"{name}: all", MULTI, others
    if vocals and others:
        yield f"{name}: all", MULTI_VOCAL, mixture or (*vocals, *others)
