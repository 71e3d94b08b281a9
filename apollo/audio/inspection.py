"""All that can be told of an audio file: what it says of itself, what is in it, and what has been done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from apollo.audio.bandwidth import Bandwidth, inspect_bandwidth
from apollo.audio.files import AudioReader
from apollo.audio.levels import Levels, measure_levels
from apollo.audio.metadata import AudioInfo
from apollo.audio.pictures import Cover
from apollo.audio.remarks import Remarks
from apollo.audio.tags.reading import read_cover
from apollo.audio.verdict import Verdict, judge
from apollo.errors import AudioFileError


@dataclass(frozen=True)
class Inspection:
    """What there is to know of an audio file."""

    path: Path
    info: AudioInfo  # what it says of itself
    levels: Levels  # how loud it is
    bandwidth: Bandwidth  # how far up it reaches
    verdict: Verdict  # what is to be thought of it
    cover: Cover | None  # its picture, if it has one
    remarks: Remarks  # what a listener would not expect of it: damage, several tracks, changes on the way

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.levels.frames / self.info.sample_rate

    def as_json(self) -> dict[str, object]:
        """Everything by name, in numbers, texts and what holds them; the picture by its kind and size."""
        cover = None if self.cover is None else {"mime": self.cover.mime, "bytes": len(self.cover.data)}
        return {
            "file": str(self.path),
            **asdict(self.info),
            **asdict(self.levels),
            "seconds": self.seconds,
            **asdict(self.bandwidth),
            "lossy": self.verdict.lossy,
            "restored": self.verdict.restored,
            "history": self.verdict.history,
            "verdict": self.verdict.sentence,
            "cover": cover,
            **asdict(self.remarks),
        }


def inspect(
    path: str | Path,
    progress: Callable[[float, float | None], None] = lambda done, total: None,
    track: int | None = None,
) -> Inspection:
    """Look at a file from start to end, in bounded memory.

    Args:
        path: The file.
        progress: Called with the seconds read so far, and of how many; None where that is not known.
        track: Which of its audio tracks, counted from 1; None is the default one.

    Raises:
        AudioFileError: It cannot be read to its end, or holds no samples.
    """
    path = Path(path)
    with AudioReader(path, track) as reader:
        rate, total = reader.sample_rate, reader.frames

        def advance(frames: int) -> None:
            progress(frames / rate, total / rate if total else None)

        levels = measure_levels(reader, advance)
        if not levels.frames:
            raise AudioFileError(f"{path} contains no audio samples; give another file.")
        remarks = reader.remarks
        bandwidth = inspect_bandwidth(reader)
        verdict = judge(reader.info, bandwidth)
        return Inspection(path, reader.info, levels, bandwidth, verdict, read_cover(path), remarks)
