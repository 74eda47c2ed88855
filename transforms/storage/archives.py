"""The members of ZIP and tar files: in the order in which they lie there, or by name as a filesystem.

A member's name is what its archive says without `./`, `//` and a slash at the beginning; of members with one name the
first counts. One archive may be read by many threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import lzma
import tarfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from fsspec import AbstractFileSystem

from .faults import patiently
from .files import RangeReader

__all__ = [
    "KINDS",
    "ArchiveFileSystem",
    "DamagedArchiveError",
    "Member",
    "OpenArchives",
    "clean",
    "members",
    "open_file",
]

KINDS = ("zip", "tar")
#: Read at once from a remote archive.
_BUFFER_BYTES = 1 << 20
_LOCAL_BUFFER_BYTES = 1 << 16
#: Archives that one process keeps open for references to their members; each has a table of contents in memory.
_MOST_OPEN = 32


class DamagedArchiveError(ValueError):
    """The bytes are no archive of their kind, or are damaged from some place on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes:
        kind: of the archive.
        name: without `./` and `//`.
        info: as an fsspec listing tells of a file: its size, and its checksum or time.
        open: begins to read it; the archive's file must be open, and read by nobody else meanwhile.
    """

    kind: str
    name: str
    info: Mapping[str, Any]
    open: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """The content, while the archive's file is open and read by nobody else.

        Raises:
            DamagedArchiveError: it is damaged, or packed in a way that cannot be read.
            FileNotFoundError: it is a link to nothing in the archive.
        """
        with damage_told(self.kind), self.open() as file:
            return file.read()


def clean(path: str) -> str:
    """The one spelling of a member's path.

    >>> clean("./photos//a.jpg"), clean("/a.jpg")
    ('photos/a.jpg', 'a.jpg')
    """
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def members(kind: str, file: IO[bytes]) -> Iterator[Member]:
    """The files of an archive in the order in which they lie there, links to files included.

    Args:
        kind: "zip" or "tar"; a tar may be compressed by gzip, bzip2 or xz.
        file: seekable.

    Raises:
        DamagedArchiveError: it is no such archive, or is damaged from here on.
        OSError: the store cannot be read.
    """
    with damage_told(kind):
        yield from _zip_members(file) if kind == "zip" else _tar_members(file)


@contextlib.contextmanager
def damage_told(kind: str) -> Iterator[None]:
    """Turn what the readers of archives raise about their bytes into a DamagedArchiveError."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(kind, error) from None
    except (RuntimeError, NotImplementedError) as error:  # encrypted; compressed as the module does not know
        raise DamagedArchiveError(f"packed in a way that cannot be read: {error}") from None
    except OSError as error:
        # The store's own faults bear a number or a type of their own, those of gzip and bzip2 do not.
        if error.errno is None and type(error).__name__ in ("OSError", "BadGzipFile"):
            raise _damaged(kind, error) from None
        raise


def _damaged(kind: str, error: Exception) -> DamagedArchiveError:
    return DamagedArchiveError(
        f"damaged, or no {kind} archive: {' '.join(str(error).split()) or 'it ends early'}"
    )


def open_file(filesystem: Any, path: str) -> IO[bytes]:
    """A seekable file for an archive; reads of a remote one are tried again while their fault is one that passes.

    Raises:
        OSError: it cannot be opened.
        ValueError: its server sends no ranges of bytes.
    """
    protocol = filesystem.protocol
    protocols = (protocol,) if isinstance(protocol, str) else protocol
    if "file" in protocols:
        return Path(path).open("rb", buffering=_LOCAL_BUFFER_BYTES)
    if isinstance(filesystem, ArchiveFileSystem):
        return cast(IO[bytes], filesystem.open(path, "rb"))
    info = filesystem.info(path)
    if info.get("size") is None or not info.get("partial", True):
        raise ValueError(
            "its server sends no ranges of bytes, without which no archive can be read; copy it to a disk or an "
            "object store"
        )
    # A file of HTTP looks whether it got the range that it asked for.
    file = filesystem.open(path, "rb", cache_type="none") if "http" in protocols else None

    def read(start: int, end: int) -> bytes:
        if file is None:
            return cast(bytes, filesystem.cat_file(path, start=start, end=end))
        file.seek(start)
        return cast(bytes, file.read(end - start))

    def read_range(start: int, end: int) -> bytes:
        return patiently(lambda: read(start, end), what="read a range of an archive", local=False)

    return io.BufferedReader(RangeReader(read_range, int(info["size"])), _BUFFER_BYTES)


class ArchiveFileSystem(AbstractFileSystem):
    """The members of one archive by name, read by many threads.

    Args:
        kind: "zip" or "tar".
        file: of the archive; closed with the filesystem.
    """

    protocol = KINDS
    root_marker = ""
    cachable = False

    def __init__(self, kind: str, file: IO[bytes]) -> None:
        super().__init__()
        self._kind, self._file = kind, file
        self._lock = threading.Lock()  # all members share the place in the archive's file
        self._members: dict[str, Member] = {}
        self._folders: dict[str, dict[str, Mapping[str, Any]]] = {"": {}}
        for member in members(kind, file):
            if member.name not in self._members:
                self._members[member.name] = member
                self._enter(member.name, member.info)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return clean(super()._strip_protocol(path))

    def _enter(self, name: str, info: Mapping[str, Any]) -> None:
        folder = name.rpartition("/")[0]
        known = folder in self._folders
        self._folders.setdefault(folder, {})[name] = info
        if not known:
            self._enter(folder, {"name": folder, "size": 0, "type": "directory"})

    def info(self, path: str, **_: Any) -> Mapping[str, Any]:
        """What the archive says of a member or a folder."""
        path = self._strip_protocol(path)
        if path in self._members:
            return self._members[path].info
        if path in self._folders:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The members and folders in a folder, by name."""
        info = self.info(path)
        found = self._folders[info["name"]] if info["type"] == "directory" else {info["name"]: info}
        return [found[name] for name in sorted(found)] if detail else sorted(found)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        member = self._members.get(path)
        if member is None:
            raise FileNotFoundError(path)
        with self._lock, damage_told(self._kind):
            file = member.open()

        def read_range(start: int, end: int) -> bytes:
            with self._lock, damage_told(self._kind):
                file.seek(start)
                return file.read(end - start)

        return io.BufferedReader(RangeReader(read_range, int(member.info["size"])), _LOCAL_BUFFER_BYTES)


class OpenArchives:
    """The archives that were used last, each opened once by one thread while others wait for it.

    Args:
        most: so many are kept; an older one is closed when its last reader is done.
    """

    def __init__(self, most: int = _MOST_OPEN) -> None:
        self._most = most
        self._slots: OrderedDict[tuple[str, str], _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, kind: str, url: str, connect: Callable[[str, str], Any]) -> Any:
        """The filesystem of the archive at this place; `connect` opens it if it is not."""
        with self._lock:
            slot = self._slots.setdefault((kind, url), _Slot())
            self._slots.move_to_end((kind, url))
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.filesystem is None:
                slot.filesystem = connect(kind, url)
            return slot.filesystem


class _Slot:
    """A place for an archive that is open, or about to be."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.filesystem: Any = None


def _zip_members(file: IO[bytes]) -> Iterator[Member]:
    archive = zipfile.ZipFile(file)
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        if not entry.is_dir():
            name = clean(entry.filename)
            info = {"name": name, "size": entry.file_size, "type": "file", "CRC": entry.CRC}
            yield Member("zip", name, info, functools.partial(archive.open, entry))


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    archive = tarfile.open(fileobj=file, mode="r:*")  # noqa: SIM115  (the file is its owner's)
    for entry in archive:
        name = clean(entry.name)
        info = {"name": name, "size": entry.size, "type": "file", "mtime": entry.mtime}
        target = _target(archive, entry)
        if target is None:
            yield Member("tar", name, {**info, "size": None}, functools.partial(_nothing, name))
        elif target.isfile():
            opened = cast("Callable[[], IO[bytes]]", functools.partial(archive.extractfile, target))
            yield Member("tar", name, {**info, "size": target.size}, opened)
    # The module takes a header that it cannot read for the end.
    stream, end = cast(Any, archive).fileobj, cast(Any, archive).offset
    stream.seek(end)
    if stream.read(tarfile.BLOCKSIZE).strip(tarfile.NUL):
        raise DamagedArchiveError(f"damaged: what stands at byte {end} is no header of a member")


def _target(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What an entry is or leads to; None for a link to nothing in the archive."""
    seen: list[str] = []
    while entry.islnk() or entry.issym():
        if entry.name in seen:
            return None
        seen.append(entry.name)
        try:
            entry = archive._find_link_target(entry)  # type: ignore[attr-defined]
        except KeyError:
            return None
    return entry


def _nothing(name: str) -> IO[bytes]:
    raise FileNotFoundError(name)
