"""Places: local files, or objects in a store that URLs name, by the drivers of fsspec.

Only `place` makes a `Url`, from what the user has typed. A path from inside a file becomes a `Path`, which never
reaches a store.

What works on files works on objects too: an object is downloaded to a temporary file, and a result is written to one
and uploaded whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any, TypeAlias, TypeVar

from apollo import atomic
from apollo.atomic import ExistsError, exists_already, temporary_folder
from apollo.drivers import EXTRAS, puts_whole, reached
from apollo.errors import ApolloError

BUCKETS = ("s3", "gs", "az")  # must be there before anything is written

# By which drivers tell one state of an object from another, the surest first.
VERSIONS = ("ETag", "etag", "md5Hash", "blob_id", "LastModified", "last_modified", "mtime", "updated", "created")


@dataclass(frozen=True)
class Url:
    """An object or a folder in a store; it behaves like a path as far as needed."""

    scheme: str  # names the driver
    path: str  # bucket and key, without a slash at either end
    size: int | None = field(default=None, compare=False)  # in bytes, if it comes from a listing
    # Changes with the object, as far as the store tells; empty if it does not come from a listing.
    version: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def as_posix(self) -> str:
        """All of it."""
        return str(self)

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on."""
        return PurePosixPath(self.name).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Scheme, bucket, and what stands between slashes."""
        return (f"{self.scheme}://", *self.path.split("/"))

    @property
    def parent(self) -> Url:
        """What lies above it."""
        return Url(self.scheme, self.path.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Url, ...]:
        """All that lies above it, the nearest first."""
        keys = self.path.split("/")
        return tuple(Url(self.scheme, "/".join(keys[:end])) for end in range(len(keys) - 1, 0, -1))

    def __truediv__(self, inside: str | Path) -> Url:
        inside = inside.as_posix() if isinstance(inside, Path) else inside
        return self if inside == "." else Url(self.scheme, f"{self.path}/{inside}".strip("/"))

    def is_dir(self) -> bool:
        """Whether objects lie below it."""
        return self._kind() == "directory"

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self._kind() == "file"

    def exists(self) -> bool:
        """Whether there is such an object, or anything below it."""
        return self._kind() is not None

    def state(self) -> tuple[str, int | None, str]:
        """What it is called, and its size and version, for which nothing is downloaded."""
        if self.version:
            return str(self), self.size, self.version
        with reached(self.scheme, self) as store:
            found = self._other(self.path, store.info(str(self)))
        return str(self), found.size, found.version

    def check_bucket(self) -> None:
        """Raise ApolloError if there is no bucket, before there is anything to write to it."""
        bucket = Url(self.scheme, self.path.partition("/")[0])
        if self.scheme in BUCKETS and bucket._kind() is None:
            raise ApolloError(f"there is no bucket {bucket}: make it, or choose another output")

    def between(self, start: int, end: int) -> bytes:
        """Some bytes of it, and nothing else; fewer where it ends before them."""
        if self.size == 0:  # of which stores give no part
            return b""
        with reached(self.scheme, self) as store:
            return bytes(store.cat_file(str(self), start=start, end=end))

    def remove(self) -> None:
        """Remove it if it is there."""
        with reached(self.scheme, self) as store, suppress(FileNotFoundError):
            store.rm_file(str(self))

    def matches(self) -> list[Url]:
        """What matches it as a pattern, sorted."""
        with reached(self.scheme, self) as store:
            return [self._other(*found) for found in sorted(store.glob(str(self), detail=True).items())]

    def files(self) -> Iterator[Url]:
        """All objects below it, except hidden ones and names that would lead out of a folder."""
        with reached(self.scheme, self) as store:
            found = store.find(str(self), detail=True)
        for url in (self._other(*each) for each in found.items()):
            parts = url.path.removeprefix(self.path).strip("/").split("/")
            if all(not part.startswith(".") and Path(part).name == part and "\0" not in part for part in parts):
                yield url

    def _kind(self) -> str | None:
        with reached(self.scheme, self) as store:
            try:
                return str(store.info(str(self))["type"])
            except FileNotFoundError:
                return None

    def _other(self, path: str, information: dict[str, Any]) -> Url:
        version = next((str(information[key]) for key in VERSIONS if information.get(key)), "unknown")
        return Url(self.scheme, path.strip("/"), information.get("size"), version)


Place: TypeAlias = Path | Url

Where = TypeVar("Where", Path, Path | Url)  # files give files; places of either kind give such places

_copies: dict[Path, Url] = {}  # what the temporary files of this process hold


def place(text: str) -> Place:
    """Give the place that a user has named by a path or a URL; `~/` is the home folder where the shell has left it.

    Raises ApolloError if the kind of URL is unknown, it may hold a secret, or nothing is named.
    """
    if not text:  # of a shell's variable without a value; the current folder would be a surprise
        raise ApolloError("an empty name stands for no file: give a path, or . for the current folder")
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", text, re.DOTALL)
    if found is None:
        return Path(at_home(text))
    scheme, path = found[1].lower(), found[2]
    if scheme not in EXTRAS:
        known = ", ".join(f"{name}://" for name in EXTRAS)
        raise ApolloError(f"{scheme}:// is not a known store: known are {known}")
    if scheme == "file":
        from fsspec.implementations.local import LocalFileSystem

        return Path(LocalFileSystem._strip_protocol(text))
    # Names of places are written into messages, reports and tags.
    if "@" in path.partition("/")[0] or re.search(r"[?&][^/]*=", path):
        raise ApolloError(
            f"a {scheme}:// URL may contain a secret (before @ or after ?): leave that out, for its driver reads "
            "credentials from the environment and from files of its own"
        )
    path = path.strip("/")
    if not path:
        raise ApolloError(f"{scheme}:// names no place: give it as {scheme}://bucket/folder")
    return Url(scheme, path)


def at_home(text: str) -> str:
    """A path with the home folder for a `~/` at its beginning, which shells leave in `key=~/music`."""
    return os.path.expanduser(text) if text.startswith("~/") else text  # noqa: PTH111  which fails without a home


def here(text: str) -> Path:
    """Give what the user has named where only this machine will do; raises ApolloError if it is in a store."""
    found = place(str(text))
    if isinstance(found, Url):
        raise ApolloError(f"{found} is in a store, and only what is on this machine will do here: name a path instead")
    return found


def inside(place: Place, folder: Place) -> Path:
    """Where something lies below a folder."""
    if isinstance(place, Url):
        return Path(place.path.removeprefix(folder.path if isinstance(folder, Url) else "").lstrip("/"))
    assert isinstance(folder, Path)
    return place.relative_to(folder)


def origin(file: Path) -> Place:
    """The object that a file is at hand for; other files are their own."""
    return _copies.get(file, file)


def naming_objects(text: str) -> str:
    """A message with the names of objects in place of those of the files that are at hand for them."""
    for file, url in _copies.items():
        text = text.replace(str(file), str(url))
    return text


@contextmanager
def at_hand(place: Place) -> Iterator[Path]:
    """Give a local file with the content of a place; an object's is removed after the block.

    Errors raised in the block name the object. Raises ApolloError as `download` does.
    """
    if isinstance(place, Path):
        yield place
        return
    with stand_in(place) as file:
        download(place, file)
        yield file


def between(place: Place, start: int, end: int) -> bytes:
    """Some bytes of a file or object, and nothing else; fewer where it ends before them."""
    if isinstance(place, Url):
        return place.between(start, end)
    with place.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


@contextmanager
def beginning_of(place: Place, size: int) -> Iterator[Path]:
    """Give a file as long as a place's, of an object with only the beginning fetched; the rest takes no room."""
    if isinstance(place, Path):
        yield place
        return
    with stand_in(place) as file:
        file.write_bytes(place.between(0, size))
        os.truncate(file, place.state()[1] or 0)
        yield file


@contextmanager
def in_place_of(place: Place, overwrite: bool) -> Iterator[Path]:
    """Give a local file to work on in place of a target, with its content unless that may be replaced.

    `publish` uploads the file.
    """
    if isinstance(place, Path):
        yield place
        return
    with stand_in(place) as file:
        if not overwrite and place.is_file():
            download(place, file)
        yield file


def publish(file: Path, place: Place, overwrite: bool) -> None:
    """Upload a whole file to its place: at once or, if the store cannot do that, under another name and renamed.

    Raises ExistsError if something is there that may not be replaced, and ApolloError if the store does not take it.
    """
    if isinstance(place, Path):
        return  # it was written there
    with reached(place.scheme, place) as store:
        try:
            if puts_whole(store):
                store.put_file(str(file), str(place), mode="overwrite" if overwrite else "create")
                return
            part = place.parent / f".{token_hex(4)}.part"
            try:
                store.put_file(str(file), str(part))
                if not overwrite and store.exists(str(place)):
                    raise FileExistsError
                store.mv(str(part), str(place))
            finally:
                with suppress(Exception):
                    store.invalidate_cache()
                    if store.exists(str(part)):
                        store.rm_file(str(part))
        except FileExistsError:
            raise ExistsError(exists_already(place)) from None


@contextmanager
def replacing(place: Place, overwrite: bool = True) -> Iterator[Path]:
    """Give a file to write to, which replaces the place when the block ends, like `apollo.atomic.replacing`."""
    if isinstance(place, Path):
        with atomic.replacing(place, overwrite) as temporary:
            yield temporary
        return
    if not overwrite:
        refuse_existing(place)
    with stand_in(place) as file:
        yield file
        publish(file, place, overwrite)


def refuse_existing(place: Place) -> None:
    """Raise ExistsError if there is something under a name, as `apollo.atomic.refuse_existing` does."""
    if isinstance(place, Path):
        atomic.refuse_existing(place)
    elif place.is_file():
        raise ExistsError(exists_already(place))


@contextmanager
def stand_in(url: Url) -> Iterator[Path]:
    """Give a name for a file or folder that stands for an object; errors raised in the block name the object."""
    name = re.sub(r"[^\w .()+-]", "_", url.name)[-50:].strip(". ") or "object"
    with temporary_folder() as folder:
        file = folder / name
        _copies[file] = url
        try:
            yield file
        except ApolloError as error:
            error.args = tuple(naming_objects(str(part)) for part in error.args)
            raise
        finally:
            del _copies[file]


def download(url: Url, file: Path) -> None:
    """Download an object to a file; raises ApolloError if that fails, or the disk has no room for it."""
    with reached(url.scheme, url) as store:
        size = int(store.info(str(url))["size"] or 0)
        free = shutil.disk_usage(file.parent).free
        if size > free:
            raise ApolloError(
                f"{url} has {size / 1e9:.1f} GB, but {file.parent.parent} has room for {free / 1e9:.1f} GB "
                "only: set TMPDIR to a larger disk"
            )
        store.get_file(str(url), str(file))
