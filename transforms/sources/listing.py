"""Which files a pattern matches, on any store, without holding the list.

Braces are expanded first, as in a shell: `*.{jpg,png}` stands for two patterns. Patterns are fsspec's: `*` and `?` stay
inside one path component, `**` is a whole component and crosses any number of them, `[ab]` is a class. As in a shell,
names that begin with a dot match only where the pattern spells the dot. A directory stands for all files below it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fsspec.asyn import sync
from fsspec.utils import glob_translate

from ..content.versions import local_version, version_of
from ..errors import SourceError
from ..storage.archives import KINDS
from ..storage.filesystems import Filesystems, local_path, protocol_of, split_chain
from ..storage.references import identity, is_data, shown

__all__ = ["Folder", "Found", "Pattern", "expanded", "folders", "list_folder", "parse_pattern"]

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_PAGE = 1000
_NAMED_WHOLE = ("http", "https", "data")  #: these give no listings


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file that a pattern matched: its reference, and what the listing knew of it."""

    uri: str
    version: str = ""
    size: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern taken apart.

    Attributes:
        text: as the user wrote it, a directory with `/**` added.
        prefix: what stands before a path in a reference: "" or "s3://".
        suffix: what stands behind it: "" or "::photos.zip".
        root: the folder that holds all matches, as a path on the store; "" is the store's own or the
            working directory.
        parts: the pattern's components below the root; empty when it names one file.
    """

    text: str
    prefix: str
    suffix: str
    root: str
    parts: tuple[str, ...]

    @property
    def remote(self) -> bool:
        """Whether the files lie behind a filesystem other than the local one."""
        return local_path(self.text) is None

    @property
    def first(self) -> str:
        """The reference of the root, which the references of all files begin and end as."""
        return self.prefix + self.root + self.suffix

    def regex(self, *, absolute: bool = False) -> re.Pattern[str]:
        """What the paths of matching files look like."""
        root = os.path.abspath(self.root or ".") if absolute and not self.remote else self.root
        if not self.parts:
            return re.compile(re.escape(root) + r"\Z")
        return re.compile(re.escape(_slashed(root)) + glob_translate("/".join(self.parts)))

    def matches(self, uri: str) -> bool:
        """Whether a listed file would be matched by this pattern as well, however its path is written."""
        if protocol_of(self.text) in _NAMED_WHOLE:
            return identity(uri) == identity(self.text)
        path = uri.removeprefix(self.prefix).removesuffix(self.suffix)
        if not self.remote:
            path = os.path.abspath(uri.removeprefix("file://").removeprefix("local://"))
        absolute = _compiled(self)
        return absolute.match(path) is not None and not self._hides_path(path)

    def _hides_path(self, path: str) -> bool:
        dotted = any(part.startswith(".") for part in self.parts)
        root = self.root if self.remote else os.path.abspath(self.root or ".")
        return not dotted and any(part.startswith(".") for part in path[len(root) :].split("/"))

    def hides(self, name: str, level: int) -> bool:
        """Whether a name below the root is left out because of its dot."""
        return name.startswith(".") and not any(part.startswith(".") for part in self.parts[level:])


@dataclasses.dataclass(frozen=True, slots=True)
class Folder:
    """A piece of a listing that one worker does: a folder of a pattern, with or without what is below it."""

    path: str
    level: int = 0
    deep: bool = True


@functools.lru_cache(256)
def _compiled(pattern: Pattern) -> re.Pattern[str]:
    return pattern.regex(absolute=True)


def expanded(text: str) -> list[str]:
    """The patterns that braces stand for, each once; braces without a comma are a name's own.

    >>> expanded("{a,b}/*.{jpg,png}")
    ['a/*.jpg', 'a/*.png', 'b/*.jpg', 'b/*.png']
    """
    found = None if is_data(text) else _BRACES.search(text)
    if found is None:
        return [text]
    head, tail = text[: found.start()], text[found.end() :]
    # The innermost braces go first, so that nested ones are expanded as well.
    every = [more for one in found[1].split(",") for more in expanded(head + one + tail)]
    return list(dict.fromkeys(every))


def parse_pattern(text: str, filesystems: Filesystems) -> Pattern:
    """Take a pattern apart; a directory becomes the pattern of all files below it.

    Raises:
        SourceError: the pattern cannot be listed.
    """
    protocol = protocol_of(text)
    head, rest = split_chain(text)
    local = local_path(text)
    if protocol in _NAMED_WHOLE:
        if protocol != "data" and "*" in text.partition("?")[0]:
            raise SourceError(
                f"{shown(text)} is a pattern, but HTTP servers give no listings; name each URL in source.files, "
                "or use a manifest"
            )
        return Pattern(text, "", rest, head, ())
    if local is not None:
        prefix, path = head[: len(head) - len(local)], os.path.expanduser(local)
        if not _MAGIC.search(path) and os.path.isdir(path):
            text, path = text.rstrip("/") + "/**", path.rstrip("/") + "/**"
    else:
        filesystem, path = filesystems.open(text)
        if protocol not in KINDS and head.endswith(path):
            prefix = head[: len(head) - len(path)]
        else:
            prefix = f"{protocol}://"
        if not _MAGIC.search(path) and filesystem.isdir(path):
            text, path = head.rstrip("/") + "/**" + rest, path.rstrip("/") + "/**"
    if not _MAGIC.search(path):
        return Pattern(text, prefix, rest, path, ())
    components = path.split("/")
    if any("**" in part and part != "**" for part in components):
        raise SourceError(f"{text}: `**` must be a whole path component; write `**/*.jpg`, not `**.jpg`")
    first = next(index for index, part in enumerate(components) if _MAGIC.search(part))
    root = "/".join(components[:first]) or ("/" if path.startswith("/") and first else "")
    return Pattern(text, prefix, rest, root, tuple(components[first:]))


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
    if protocol_of(pattern.text) in _NAMED_WHOLE:
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
    base, prefix = _slashed(folder), pattern.prefix
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
    entries = filesystem._iterdir(bucket, prefix=_slashed(key))

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


def _slashed(folder: str) -> str:
    return folder if not folder or folder.endswith("/") else folder + "/"


def _loops(link: str) -> bool:
    """Whether a link leads to a folder that it lies in."""
    target = os.path.realpath(link)
    return (os.path.realpath(os.path.dirname(link) or ".") + "/").startswith(target.rstrip("/") + "/")
