"""What an evaluation is made of: pieces of music, each under each condition.

A folder is one of three things, told by what lies in it: songs in stems, pairs of originals and damaged versions, or
originals alone. Stems are mixed into the paper's four kinds of music; originals and mixes are coded here, pairs are
taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from apollo.data.folders import files_of
from apollo.data.layouts import any_layout
from apollo.data.relations import fingerprint
from apollo.data.stem_corpus import MIXTURE, kind_of
from apollo.errors import DataError
from apollo.evaluation.results import PAIRS, Condition
from apollo.shards import Shard

VOCAL, SINGLE, MULTI, MULTI_VOCAL = KINDS = ("vocal", "single stem", "multi-stem", "multi-stem + vocal")

_VOCALS = "vocals"


@dataclass(frozen=True)
class Case:
    """A piece under a condition; plain data, so that it travels to another process.

    Attributes:
        piece: As in `apollo.evaluation.results.Score`.
        kind: One of `KINDS`, or empty.
        condition: What is done to the piece.
        sources: The files whose sum the original is; nearly always one.
        damaged: Where the damaged version lies, for pairs.
    """

    piece: str
    kind: str
    condition: Condition
    sources: tuple[Path, ...]
    damaged: Path | None = None

    @property
    def fingerprint(self) -> str:
        """The same only for the same files, unchanged, under the same condition."""
        files = (*self.sources, self.damaged) if self.damaged else self.sources
        return sha256(f"{fingerprint(*files)} {self.condition} {self.kind}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cases:
    """What a folder holds for an evaluation.

    Attributes:
        root: The folder.
        summary: What was found, in a few words.
        cases: Piece by piece, conditions in their order.
        conditions: Each condition once.
        problems: Files that cannot be used: which, and why.
    """

    root: Path
    summary: str
    cases: list[Case]
    conditions: list[Condition]
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def source(self) -> str:
        """What is evaluated, as the user named it."""
        return str(self.root)

    def in_shard(self, shard: Shard) -> Cases:
        """The pieces and the problems of a share."""
        pieces = {case.piece for case in self.cases}
        cases = shard.of(self.cases, lambda case: case.piece)
        share = f"{self.summary}; share {shard}: {len({case.piece for case in cases})} of {len(pieces)} pieces"
        return replace(self, summary=share, cases=cases, problems=shard.of(self.problems, lambda problem: problem[0]))


def find_cases(root: Path, codecs: Sequence[str], bitrates: Sequence[int]) -> Cases:
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
        return Cases(root, "1 recording", recording, conditions)
    files = files_of(root)
    if not files:
        raise DataError(f"{root} holds no audio files: give recordings such as FLAC or WAV, pairs, or songs in stems")
    if songs := _songs_in_stems(files):
        pieces = [piece for song, stems in songs.items() for piece in _mixes(root, song, stems)]
        mixes = [Case(name, kind, condition, paths) for name, kind, paths in pieces for condition in conditions]
        return Cases(root, f"{_counted(len(songs), 'song')} in stems, {len(pieces)} mixes", mixes, conditions)
    found, loose = any_layout(root)
    if not found.pairs:
        originals = [Case(_name(root, path), "", condition, (path,)) for path in files for condition in conditions]
        return Cases(root, _counted(len(files), "recording"), originals, conditions)
    pairs = [Case(_name(root, original), "", Condition(PAIRS), (original,), codec) for original, codec in found.pairs]
    problems = [(_name(root, problem.path), problem.reason) for problem in found.problems]
    problems += [(_name(root, path), "it has no partner, and the folder holds pairs") for path in loose]
    return Cases(root, _counted(len(pairs), "pair"), pairs, [Condition(PAIRS)], problems)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _songs_in_stems(files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Stems by song if every folder with audio is a song, else nothing."""
    songs: dict[Path, list[Path]] = {}
    for path in files:
        songs.setdefault(path.parent, []).append(path)
    for stems in songs.values():
        if len(stems) < 2 or any(kind_of(path.stem) is None for path in stems):
            return {}
    return songs


def _mixes(root: Path, song: Path, paths: Sequence[Path]) -> Iterator[tuple[str, str, tuple[Path, ...]]]:
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
