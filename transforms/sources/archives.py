"""Archives as pieces of a source: each is read by one worker, once, in the order in which its members lie.

A tar has no table of contents, and a compressed one cannot be entered in the middle: whoever wants its hundredth file
reads the ninety-nine before it. So whole archives are spread over the workers, and no content crosses a shuffle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ..content.versions import version_of
from ..storage.archives import Member, members, open_file
from ..storage.filesystems import Filesystems, local_path, protocol_of
from .listing import Folder, Found, folders, list_folder
from .patterns import Pattern

__all__ = ["Archive", "Budget", "Inside", "Spoilt", "archive_folders", "list_files", "look_inside", "whole"]


@dataclasses.dataclass(frozen=True, slots=True)
class Archive:
    """A piece of a source: an archive that a pattern looks into.

    Attributes:
        pattern: index of the pattern.
        found: the archive's file.
    """

    pattern: int
    found: Found


@dataclasses.dataclass(frozen=True, slots=True)
class Inside:
    """A member that is an input: as a listing would have found it, and the way to its content."""

    found: Found
    member: Member


@dataclasses.dataclass(frozen=True, slots=True)
class Spoilt:
    """What of an archive names no input, and why: the rest of one that is damaged, or a name that comes again.

    Attributes:
        uri: the archive's.
        number: of the member, from 1.
        error: why the archive cannot be read from there on; None for a name that comes again.
    """

    uri: str
    number: int
    name: str = ""
    error: Exception | None = None


class Budget:
    """How much is looked at to tell what archives hold, where they are too many or too large to be looked at all."""

    MEMBERS, REMOTE_FILES, REMOTE_BYTES = 100_000, 256, 256 << 20

    def __init__(self) -> None:
        self._members = self._files = self._remote = self._seen = self._total = 0

    @property
    def share(self) -> float:
        """Of the archives' bytes, those that were looked at."""
        return self._seen / self._total if 0 < self._seen < self._total else 1.0

    @property
    def exact(self) -> bool:
        """Whether everything was looked at."""
        return self._seen == self._total

    @property
    def spent(self) -> bool:
        """Whether no more is looked at."""
        return (
            self._members >= self.MEMBERS
            or self._files >= self.REMOTE_FILES
            or self._remote >= self.REMOTE_BYTES
        )

    def meet(self, archive: Found) -> bool:
        """Take note of an archive; whether to look into it."""
        self._total += archive.size or 0
        return not self.spent

    def member(self) -> None:
        """Take note of a member that was looked at."""
        self._members += 1

    def leave(self, archive: Found, nbytes: int, *, read: int) -> None:
        """Take note of how much of an archive was looked at, and how much was read for it."""
        self._seen += nbytes
        if local_path(archive.uri) is None:
            self._files, self._remote = self._files + 1, self._remote + read


def whole(pattern: Pattern) -> Folder:
    """The listing of a pattern in one piece: that of its files, or of its archives."""
    return Folder(pattern.root) if pattern.archives is None else whole(pattern.archives)


def archive_folders(pattern: Pattern, filesystems: Filesystems) -> list[Folder]:
    """The pieces of the listing of a pattern's files, or of its archives."""
    return (
        folders(pattern, filesystems)
        if pattern.archives is None
        else archive_folders(pattern.archives, filesystems)
    )


def list_files(
    pattern: Pattern, folder: Folder, filesystems: Filesystems, *, ordered: bool = False
) -> Iterator[Found]:
    """The files that a pattern matches in one piece of its listing, members of archives too.

    Raises:
        OSError: the store cannot be listed.
        DamagedArchiveError: an archive is damaged.
    """
    if pattern.archives is None:
        yield from list_folder(pattern, folder, filesystems, ordered=ordered)
        return
    for archive in list_files(pattern.archives, folder, filesystems, ordered=ordered):
        for one in look_inside([pattern], 0, archive, filesystems):
            if isinstance(one, Inside):
                yield one.found
            elif one.error is not None:
                raise one.error


def look_inside(
    patterns: Sequence[Pattern],
    index: int,
    archive: Found,
    filesystems: Filesystems,
    budget: Budget | None = None,
) -> Iterator[Inside | Spoilt]:
    """The members of an archive that a pattern matches and no earlier one, in their order.

    A member may be read until the next one is asked for.

    Args:
        budget: look no further when it is spent; of a ZIP file, whose table of contents is read anyway, at everything.
    """
    if budget is not None and not budget.meet(archive):
        return
    pattern, number, seen = patterns[index], 0, set[str]()
    kind = protocol_of(pattern.text)
    looked, read, size = 0, 0, archive.size or 0
    try:
        with open_file(*filesystems.open(archive.uri)) as file:
            for number, member in enumerate(members(kind, file), 1):
                if budget is not None:
                    budget.member()
                    if kind == "tar":
                        looked = read = min(file.tell(), size)
                        if budget.spent:
                            return
                if pattern.takes(member.name):
                    if member.name in seen:
                        yield Spoilt(archive.uri, number, member.name)
                        continue
                    seen.add(member.name)
                    uri = f"{pattern.prefix}{member.name}::{archive.uri}"
                    if not any(other.matches(uri) for other in patterns[:index]):
                        yield Inside(Found(uri, version_of(member.info), member.info["size"]), member)
        looked = size
    except Exception as error:  # noqa: BLE001  (one archive of many: whatever its driver raises costs itself)
        looked = size
        yield Spoilt(archive.uri, number, error=error)
    finally:
        if budget is not None:
            budget.leave(archive, looked, read=read)
