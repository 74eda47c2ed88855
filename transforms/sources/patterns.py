"""Patterns of files: taken apart, and asked whether a reference matches.

Braces are expanded first, as in a shell: `*.{jpg,png}` stands for two patterns. Patterns are fsspec's: `*` and `?` stay
inside one path component, `**` is a whole component and crosses any number of them, `[ab]` is a class. As in a shell,
names that begin with a dot match only where the pattern spells the dot. A directory stands for all files below it.
Behind `::` may stand a pattern as well: `zip://*.jpg::photos/*.zip` are the pictures of many archives.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re

from fsspec.utils import glob_translate

from ..errors import SourceError
from ..storage.archives import KINDS, clean
from ..storage.filesystems import Filesystems, local_path, protocol_of, split_chain
from ..storage.references import identity, is_data, shown

__all__ = ["NAMED_WHOLE", "Pattern", "expanded", "parse_pattern", "slashed"]

NAMED_WHOLE = ("http", "https", "data")  #: these give no listings
_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern taken apart.

    Attributes:
        text: as the user wrote it, a directory with `/**` added.
        prefix: what stands before a path in a reference: "" or "s3://".
        suffix: what stands behind it: "" or "::photos.zip"; of a pattern of archives, that pattern.
        root: the folder that holds all matches, as a path on the store; "" is the store's own or the
            working directory.
        parts: the pattern's components below the root; empty when it names one file.
        archives: which archives the files lie in, each of them read as a whole, in its order; None for files of a
            store, and for those of one ZIP file, which has a table of contents and can be entered anywhere.
    """

    text: str
    prefix: str
    suffix: str
    root: str
    parts: tuple[str, ...]
    archives: Pattern | None = None

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
        return re.compile(re.escape(slashed(root)) + glob_translate("/".join(self.parts)))

    def matches(self, uri: str) -> bool:
        """Whether a listed file would be matched by this pattern as well, however its path is written."""
        if protocol_of(self.text) in NAMED_WHOLE:
            return identity(uri) == identity(self.text)
        head, rest = split_chain(uri)
        if self.archives is not None:
            member = head.removeprefix(self.prefix)
            return self.archives.matches(rest.removeprefix("::")) and head != member and self.takes(member)
        if rest != self.suffix or (local_path(uri) is None) != self.remote:
            return False
        path = head.removeprefix(self.prefix)
        if not self.remote:
            path = os.path.abspath(uri.removeprefix("file://").removeprefix("local://"))
        absolute = _compiled(self)
        return absolute.match(path) is not None and not self._hides_path(path)

    def takes(self, member: str) -> bool:
        """Whether a member of an archive is meant; one named without wildcards may be a folder in it."""
        if not self.parts:
            return member == self.root or member.startswith(self.root + "/")
        return _compiled(self).match(member) is not None and not self._hides_path(member)

    def _hides_path(self, path: str) -> bool:
        dotted = any(part.startswith(".") for part in self.parts)
        root = self.root if self.remote else os.path.abspath(self.root or ".")
        return not dotted and any(part.startswith(".") for part in path[len(root) :].split("/"))

    def hides(self, name: str, level: int) -> bool:
        """Whether a name below the root is left out because of its dot."""
        return name.startswith(".") and not any(part.startswith(".") for part in self.parts[level:])


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
    if rest and protocol in KINDS:
        archives = _archives(text, protocol, rest, filesystems)
        if archives is not None:
            member = clean(head.partition("://")[2]) or "**"
            return _parts(text, f"{protocol}://", rest, member, archives)
    local = local_path(text)
    if protocol in NAMED_WHOLE:
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
    return _parts(text, prefix, rest, path)


def _archives(text: str, protocol: str, rest: str, filesystems: Filesystems) -> Pattern | None:
    """The archives that a pattern looks into, where each of them is read as a whole."""
    archive = rest.removeprefix("::")
    local = local_path(archive)
    if local is not None and os.path.isfile(local):  # brackets may be a name's own
        archives = Pattern(archive, archive[: len(archive) - len(local)], "", local, ())
    else:
        archives = parse_pattern(archive, filesystems)
    if archives.text != archive:
        raise SourceError(
            f"{shown(text)} looks into a folder; name the archives in it by a pattern, for example "
            f"{archive.rstrip('/')}/*.{protocol}"
        )
    return archives if archives.parts or archives.archives or protocol == "tar" else None


def _parts(text: str, prefix: str, rest: str, path: str, archives: Pattern | None = None) -> Pattern:
    if not _MAGIC.search(path):
        return Pattern(text, prefix, rest, path, (), archives)
    components = path.split("/")
    if any("**" in part and part != "**" for part in components):
        raise SourceError(f"{text}: `**` must be a whole path component; write `**/*.jpg`, not `**.jpg`")
    first = next(index for index, part in enumerate(components) if _MAGIC.search(part))
    root = "/".join(components[:first]) or ("/" if path.startswith("/") and first else "")
    return Pattern(text, prefix, rest, root, tuple(components[first:]), archives)


def slashed(folder: str) -> str:
    return folder if not folder or folder.endswith("/") else folder + "/"
