"""Which files a pattern matches, on any store, without holding the list."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fsspec.asyn import sync
from fsspec.utils import glob_translate

from ..content.versions import local_version, version_of
from ..storage.filesystems import Filesystems, protocol_of
from .patterns import NAMED_WHOLE, Pattern, slashed

__all__ = ["Folder", "Found", "folders", "list_folder"]

_PAGE = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file that a pattern matched: its reference, and what the listing knew of it."""

    uri: str
    version: str = ""
    size: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A piece of a listing that one worker does: a folder of a pattern, with or without what is below it."""

    path: str
    level: int = 0
    deep: bool = True


def folders(pattern: Pattern, filesystems: Filesystems) -> list[Folder]:
    """Cut a listing into pieces for several workers: the root's own files, and each folder in it."""
    if len(pattern.parts) < 2 and "**" not in pattern.parts:
        return [Folder(pattern.root)]
    pieces = [Folder(pattern.root, deep=False)]
    for name, path, found in _entries(pattern, pattern.root, filesystems):
        if found is None and _descends(pattern, name, 0):
            pieces.append(Folder(path, 0 if pattern.parts[0] == "**" else 1))
    return pieces


def list_folder(
    pattern: Pattern, folder: Folder, filesystems: Filesystems, *, ordered: bool = False
) -> Iterator[Found]:
    """The files that a pattern matches in one piece of its listing.

    Args:
        ordered: folder by folder by name, files first; else as the store gives them, which holds no list.

    Raises:
        OSError: the store cannot be listed.
    """
    if not pattern.parts:
        yield from _named(pattern, filesystems)
        return
    matches = pattern.regex().match
    pending = [folder]
    while pending:
        here = pending.pop()
        below: list[Folder] = []
        entries: Any = _entries(pattern, here.path, filesystems)
        if ordered:
            entries = sorted(entries, key=lambda entry: entry[0])
        for name, path, found in entries:
            if found is None:
                if here.deep and _descends(pattern, name, here.level):
                    at_any_depth = pattern.parts[here.level] == "**"
                    below.append(Folder(path, here.level if at_any_depth else here.level + 1))
            elif matches(path) and not pattern.hides(name, here.level):
                yield found
        pending.extend(sorted(below, key=lambda piece: piece.path, reverse=True) if ordered else below)


def _named(pattern: Pattern, filesystems: Filesystems) -> Iterator[Found]:
    if protocol_of(pattern.text) in NAMED_WHOLE:
        yield Found(pattern.text)
        return
    uri = pattern.prefix + pattern.root + pattern.suffix
    if not pattern.remote:
        try:
            stat = os.stat(pattern.root)
        except (FileNotFoundError, NotADirectoryError):
            return
        yield Found(uri, local_version(stat), stat.st_size)
        return
    filesystem, path = filesystems.open(uri)
    try:
        info = filesystem.info(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield Found(uri, version_of(info), info.get("size"))


def _descends(pattern: Pattern, name: str, level: int) -> bool:
    """Whether a folder `name`, found at component `level`, may hold matches."""
    part = pattern.parts[level]
    if pattern.hides(name, level):
        return False
    if part == "**":
        return True
    return level + 1 < len(pattern.parts) and re.match(glob_translate(part), name) is not None


def _entries(
    pattern: Pattern, folder: str, filesystems: Filesystems
) -> Iterator[tuple[str, str, Found | None]]:
    """Name and path of each entry, with what is known of it for a file and None for a folder."""
    if pattern.remote:
        yield from _remote_entries(pattern, folder, filesystems)
        return
    base, prefix = slashed(folder), pattern.prefix
    try:
        listing = os.scandir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return
    with listing:
        for entry in listing:
            path = base + entry.name
            if entry.is_dir():
                if not (entry.is_symlink() and _loops(path)):
                    yield entry.name, path, None
                continue
            try:
                stat = entry.stat()
            except FileNotFoundError:  # a link to nothing: reading it says so, in its own row
                yield entry.name, path, Found(prefix + path)
                continue
            yield entry.name, path, Found(prefix + path, local_version(stat), stat.st_size)


def _remote_entries(
    pattern: Pattern, folder: str, filesystems: Filesystems
) -> Iterator[tuple[str, str, Found | None]]:
    filesystem, _ = filesystems.open(pattern.text)
    try:
        listing = iter(
            _s3_pages(filesystem, folder) if _pages(filesystem) else filesystem.ls(folder, detail=True)
        )
    except FileNotFoundError:
        return
    for info in listing:
        path = info["name"].rstrip("/")
        name = path.rpartition("/")[2]
        if info["type"] == "directory":
            if path != folder.rstrip("/"):
                yield name, path, None
        elif not info["name"].endswith("/"):  # object stores keep empty marker objects for folders
            uri = pattern.prefix + path + pattern.suffix
            yield name, path, Found(uri, version_of(info), info.get("size"))


def _pages(filesystem: Any) -> bool:
    protocol = filesystem.protocol
    return "s3" in ((protocol,) if isinstance(protocol, str) else protocol) and hasattr(
        filesystem, "_iterdir"
    )


def _s3_pages(filesystem: Any, folder: str) -> Iterator[Mapping[str, Any]]:
    """A folder of S3 page by page: `ls` would hold all of a million objects, a kilobyte each."""
    bucket, key, _ = filesystem.split_path(folder)
    entries = filesystem._iterdir(bucket, prefix=slashed(key))

    async def page() -> list[Mapping[str, Any]]:
        found = []
        async for info in entries:
            found.append(info)
            if len(found) == _PAGE:
                break
        return found

    while True:
        try:
            infos = sync(filesystem.loop, page)
        except Exception as error:
            # Some versions of s3fs let the client's own errors through here, which nobody else knows.
            from s3fs.errors import translate_boto_error  # noqa: PLC0415  (an extra)

            translated = translate_boto_error(error)
            if translated is error:
                raise
            raise translated from error
        yield from infos
        if len(infos) < _PAGE:
            return


def _loops(link: str) -> bool:
    """Whether a link leads to a folder that it lies in."""
    target = os.path.realpath(link)
    return (os.path.realpath(os.path.dirname(link) or ".") + "/").startswith(target.rstrip("/") + "/")
