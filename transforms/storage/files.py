"""How a `Store` reads ranges, makes one file visible at once, and reads a listing's entries."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import fsspec

__all__ = [
    "TEMPORARY",
    "Entry",
    "RangeReader",
    "create_local",
    "create_moved",
    "create_object",
    "entry_of",
    "swap_directory",
    "sync_directory",
]

T = TypeVar("T")

TEMPORARY = ".tmp"  #: suffix of files that are not yet whole; no reader's pattern matches it


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A file as a listing knows it.

    Attributes:
        path: relative to the store's directory.
        size: bytes.
        mtime: seconds since 1970 by the store's own clock; 0.0 where the store tells none.
    """

    path: str
    size: int
    mtime: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


class RangeReader(io.RawIOBase):
    """A seekable reader of a remote file: Parquet asks for few, exact ranges, so none is read ahead."""

    def __init__(self, read_range: Callable[[int, int], bytes], size: int) -> None:
        self._read_range, self._size, self._at = read_range, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        data = self._read_range(self._at, end)
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def create_local(path: Path, write: Callable[[IO[bytes]], T]) -> T:
    """Write beside the place, sync, rename, sync the directory: whole and durable, or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The pid and a token keep two processes that write the same name apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            result = write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return result


def create_object(filesystem: fsspec.AbstractFileSystem, full: str, write: Callable[[IO[bytes]], T]) -> T:
    """Stream a new object: it is visible once its upload is completed; a failed upload is given up."""
    file = filesystem.open(full, "wb", autocommit=False)
    try:
        result = write(file)
        file.close()
        file.commit()
    except BaseException:
        with contextlib.suppress(Exception):  # the first fault is the one to tell
            file.discard()
        raise
    return result


def create_moved(filesystem: fsspec.AbstractFileSystem, full: str, write: Callable[[IO[bytes]], T]) -> T:
    """Write a temporary file and move it to its place, for stores of which nothing better is known."""
    filesystem.makedirs(full.rpartition("/")[0], exist_ok=True)
    temporary = f"{full}.{secrets.token_hex(4)}{TEMPORARY}"
    with filesystem.open(temporary, "wb") as file:
        result = write(file)
    _replace(filesystem, temporary, full)
    return result


def swap_directory(new: Path, place: Path) -> None:
    """Let a local directory take the place of another, which goes to `new` + "-old".

    Between its two renames there is none. Killed there, and done again, it does the second one; done again after
    that, it does nothing.
    """
    old = new.with_name(f"{new.name}-old")
    if not new.is_dir():
        return
    if place.is_dir() and not old.exists():
        place.rename(old)
    new.rename(place)
    sync_directory(place.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network mounts cannot sync a directory; the rename itself stands
        pass
    finally:
        os.close(descriptor)


def _replace(filesystem: fsspec.AbstractFileSystem, source: str, target: str) -> None:
    try:
        filesystem.mv(source, target)
    except (FileExistsError, OSError):
        # Some servers refuse to rename onto an existing file.
        if not filesystem.exists(source) or not filesystem.exists(target):
            raise
        filesystem.rm_file(target)
        filesystem.mv(source, target)


_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def entry_of(path: str, item: Mapping[str, Any]) -> Entry:
    """What an fsspec listing says of a file, whatever names the store uses for its times."""
    when = next(
        (item[key] for key in _TIMES if item.get(key)),
        0.0,
    )
    if isinstance(when, str):
        try:
            when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            when = 0.0
    if isinstance(when, datetime.datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)).timestamp()
    return Entry(path, int(item.get("size") or 0), float(when))
