"""The zip files that `torch.save` writes; their sizes are checked before anything in them is read."""

from __future__ import annotations

import struct
from pathlib import Path
from zipfile import ZipExtFile, ZipFile, ZipInfo

PICKLE_BYTES = 1 << 26  # a state of 16 million weights with its optimiser has 200 kB
DIRECTORY_BYTES = 1 << 25  # the same has 300 kB
# What is stored as it is has the size that it takes; that of a crafted file is a thousand times larger.
LARGEST_RATIO = 4
END, END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")


class ArchiveError(Exception):
    """A file is no archive of `torch.save`, or larger than it says."""


class Archive:
    """The records of a file that `torch.save` wrote.

    Raises ArchiveError if it is none, or its records are together much larger than the file, and OSError if it is
    unreadable.
    """

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        if directory_bytes(path, size) > DIRECTORY_BYTES:
            raise ArchiveError("it has more records than any model")
        self.zip = ZipFile(path)
        self.records: dict[str, ZipInfo] = {}
        total = 0
        for info in self.zip.infolist():
            self.records.setdefault(info.filename, info)
            total += info.file_size
        if total > LARGEST_RATIO * size:
            self.zip.close()
            raise ArchiveError(f"its {size} bytes claim to hold {total}")
        pickles = [name for name in self.records if name == "data.pkl" or name.endswith("/data.pkl")]
        if not pickles:
            self.zip.close()
            raise ArchiveError("it has no data.pkl")
        self.folder = pickles[0].removesuffix("data.pkl")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def pickle(self) -> bytes:
        """What says which tensors there are; raises ArchiveError if it is larger than any model's."""
        info = self.records[f"{self.folder}data.pkl"]
        if info.file_size > PICKLE_BYTES:
            raise ArchiveError(f"its data.pkl has {info.file_size} bytes, more than any model")
        return self.zip.read(info)

    def storage(self, key: str, size: int) -> bytearray:
        """The bytes of the storage `key`; raises ArchiveError if there is none of this size."""
        info = self.records.get(f"{self.folder}data/{key}")
        if info is None or info.file_size != size:
            raise ArchiveError(f"its storage {key!r} does not have {size} bytes")
        content = bytearray(size)
        with self.zip.open(info) as file:
            assert isinstance(file, ZipExtFile)
            view, filled = memoryview(content), 0
            while filled < size and (got := file.readinto(view[filled:])):
                filled += got
            file.read(1)  # at the end, the checksum is compared
        if filled != size:
            raise ArchiveError(f"its storage {key!r} is cut off")
        return content


def directory_bytes(path: Path, size: int) -> int:
    """How long the list of records is, as the end of the file says; 0 where it says nothing."""
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
        at = tail.rfind(b"PK\5\6")
        if at < 0 or at + END.size > len(tail):
            return 0
        length = int(END.unpack_from(tail, at)[5])
        if tail[max(0, at - 20) : at].startswith(b"PK\6\7"):  # numbers of 64 bits stand before it
            (position,) = struct.unpack_from("<Q", tail, at - 12)
            file.seek(min(position, size))
            record = file.read(END_64.size)
            if len(record) == END_64.size and record.startswith(b"PK\6\6"):
                length = max(length if length != 0xFFFFFFFF else 0, int(END_64.unpack(record)[8]))
        return length
