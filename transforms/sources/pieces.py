"""A source in pieces, each listed or read by one worker: folders of a pattern, ranges of a manifest, archives."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from ..content.faults import PassingReadError, check_size, read_error
from ..content.media import media_of
from ..records import Failure, Reference, failure_of
from ..runs.chunks import MAX_CHUNK, Chunker
from ..storage.archives import DamagedArchiveError
from ..storage.faults import source_faults
from ..storage.filesystems import Filesystems
from ..storage.references import identity, shown
from .archives import Archive, Budget, Inside, Spoilt, archive_folders, list_files, look_inside, whole
from .listing import Folder, Found, list_folder
from .manifests.files import BrokenFile, Split
from .rows import RowReader
from .source import SourceSpec

__all__ = [
    "Completed",
    "PieceReader",
    "SourceCount",
    "count_source",
    "first_pieces",
    "folders_of",
    "is_bounded",
]


@dataclasses.dataclass(frozen=True, slots=True)
class SourceCount:
    """How much a job reads.

    Attributes:
        inputs: broken lines and ids that come twice included, for each ends as a row.
        bytes: of content, where the listing tells it.
        exact: false where archives are too many or too large to be looked at all.
    """

    inputs: int
    bytes: int | None
    exact: bool = True


class Completed(Protocol):
    """What earlier runs finished; see `completed`."""

    def remaining(
        self, references: list[Reference], read: Callable[[], bytes] | None = None
    ) -> list[Reference]:
        """The references that still have to be done, in order; of a single one `read` gives the content."""

    def flush(self) -> None:
        """Keep for later runs what was found out."""


def count_source(spec: SourceSpec) -> SourceCount:
    """Count inputs, and their bytes where the listing tells them.

    Raises:
        SourceError: the source cannot be listed or read.
    """
    if spec.manifests:
        return SourceCount(spec.scan.rows, None)
    filesystems = Filesystems(spec.source.storage)
    inputs, nbytes, known, exact = 0, 0, True, True
    for index in range(len(spec.patterns)):
        count = total = 0
        left = None if spec.limit is None else spec.limit - inputs
        budget = Budget() if spec.limit is None else None
        for size in itertools.islice(_sizes(spec, index, filesystems, budget), left):
            count += 1
            total += size or 0
            known = known and size is not None
        share = 1.0 if budget is None else budget.share
        inputs, nbytes = inputs + round(count / share), nbytes + round(total / share)
        exact = exact and (budget is None or budget.exact)
    return SourceCount(inputs, nbytes if known else None, exact)


def first_pieces(spec: SourceSpec) -> list[Any]:
    """What the pipeline starts from; with a limit one list in the source's order, read by one worker."""
    pieces: list[Any] = []
    if spec.manifests:
        pieces += [BrokenFile(file, reason) for file, reason in spec.scan.faults.items()]
        pieces += spec.scan.splits
    pieces += [(index, whole(pattern)) for index, pattern in enumerate(spec.patterns)]
    return pieces if spec.limit is None else [pieces]


def folders_of(piece: tuple[int, Folder], spec: SourceSpec) -> Iterable[tuple[int, Folder]]:
    """The folders at the root of a pattern of files or archives, each a piece of its own."""
    index, _ = piece
    filesystems = Filesystems(spec.source.storage)
    return [(index, folder) for folder in archive_folders(spec.patterns[index], filesystems)]


def is_bounded(unit: Any) -> bool:
    """Whether a unit's content may cross a shuffle: no compressed text, no large row group, no job's first inputs."""
    return isinstance(unit, Split) and unit.stop >= 0 and unit.rows <= MAX_CHUNK


class PieceReader:
    """Reads pieces of a source: lists of references that are left to do, and failures.

    Args:
        spec: the source.
        completed: leaves out what earlier runs finished.
        budget: how far to look into archives, to estimate what they hold; None to read them all.
    """

    def __init__(self, spec: SourceSpec, completed: Completed | None, budget: Budget | None = None) -> None:
        self._spec, self._completed, self._budget = spec, completed, budget
        self._rows = RowReader(spec)
        self._filesystems = Filesystems(spec.source.storage)
        self._chunker = Chunker(spec.scan.rows if spec.manifests else 0)

    def units(self, piece: Any) -> Iterator[list[Reference] | Archive | Failure]:
        """The references of a piece, or the archives that lie there, to be read by whoever gets them."""
        spec = self._spec
        if (
            isinstance(piece, tuple)
            and spec.patterns[piece[0]].archives
            and spec.source.deduplicate == "none"
        ):
            index, folder = piece
            for found in _list_archives(spec, index, folder, self._filesystems):
                yield Archive(index, found)
        else:
            yield from self.read(piece)

    def read(self, piece: Any) -> Iterator[list[Reference] | Failure]:
        """The references of a piece; those of an archive one by one, with their content."""
        if isinstance(piece, Archive):
            yield from self._contents(piece)
        elif (plain := self._plain(piece)) is not None:
            yield from self._remaining(plain)
        else:
            yield from self._references(piece)
        if self._completed is not None:
            self._completed.flush()

    def _plain(self, piece: Any) -> list[Reference] | None:
        """The references of a piece of texts, read as columns; None where it is to be read row by row."""
        whole_piece = isinstance(piece, Split) and self._spec.limit is None
        return self._rows.read_plain(piece) if whole_piece else None

    def _references(self, piece: Any) -> Iterator[list[Reference] | Failure]:
        pieces = piece if isinstance(piece, list) else [piece]
        items = itertools.chain.from_iterable(self._read(one) for one in pieces)
        for item in itertools.islice(items, self._spec.limit):
            if isinstance(item, Failure):
                yield item
            elif (full := self._chunker.add(item)) is not None:
                yield from self._remaining(full)
        yield from self._remaining(self._chunker.flush())

    def _remaining(
        self, references: list[Reference], read: Callable[[], bytes] | None = None
    ) -> Iterator[list[Reference]]:
        if self._completed is not None and references:
            references = self._completed.remaining(references, read)
        if references:
            yield references

    def _read(self, piece: Any) -> Iterator[Reference | Failure]:
        if isinstance(piece, Split):
            return self._rows.read(piece)
        if isinstance(piece, BrokenFile):
            return iter([self._rows.broken(piece)])
        index, folder = piece
        if self._spec.patterns[index].archives is not None:
            return self._members(index, folder)
        found = _list_pattern(self._spec, index, folder, self._filesystems)
        return (_of_file(one, self._spec) for one in found)

    def _members(self, index: int, folder: Folder) -> Iterator[Reference | Failure]:
        spec = self._spec
        for archive in _list_archives(spec, index, folder, self._filesystems):
            for one in look_inside(spec.patterns, index, archive, self._filesystems, self._budget):
                yield self._inside(one)

    def _contents(self, piece: Archive) -> Iterator[list[Reference] | Failure]:
        for one in look_inside(self._spec.patterns, piece.pattern, piece.found, self._filesystems):
            item = self._inside(one)
            if isinstance(item, Failure):
                yield item
            elif isinstance(one, Inside):
                read = functools.cache(one.member.read)
                for (reference,) in self._remaining([item], read):
                    yield self._filled(reference, read)

    def _filled(self, reference: Reference, read: Callable[[], bytes]) -> list[Reference] | Failure:
        source = self._spec.source
        try:
            check_size(reference.size or 0, shown(reference.uri or ""), int(source.max_bytes))
            return [dataclasses.replace(reference, inline=read())]
        except Exception as error:  # noqa: BLE001  (one member of many: each driver has exceptions of its own)
            fault = read_error(reference.uri or "", error, source.storage, source.timeout.file)
            return failure_of(reference, fault, retryable=isinstance(fault, PassingReadError))

    def _inside(self, one: Inside | Spoilt) -> Reference | Failure:
        if isinstance(one, Inside):
            return _of_file(one.found, self._spec)
        source, named = self._spec.source, shown(one.uri)
        reference = Reference(identity(one.uri), None, self._spec.media_type, place=one.uri)
        if one.error is None:
            reference = dataclasses.replace(reference, input_id=f"{reference.input_id}:{one.number}")
            message = (
                f"{named} has {one.name!r} again as its member {one.number}; only the first is sent. Give each member "
                "a name of its own"
            )
            return Failure(reference, "list", "duplicate_id", message)
        fault = read_error(one.uri, one.error, source.storage, source.timeout.file)
        damaged = isinstance(one.error, DamagedArchiveError)
        behind = f"; what stands in it behind its member {one.number} is in no table" if one.number else ""
        return Failure(
            reference,
            "list",
            "broken_file" if damaged else fault.error_type,
            f"{fault.message}{behind}; write it anew, or move it away"
            if damaged
            else f"{fault.message}{behind}",
            retryable=isinstance(fault, PassingReadError),
        )


def _of_file(found: Found, spec: SourceSpec) -> Reference | Failure:
    media = spec.media_type
    reference = Reference(identity(found.uri), found.uri, media, found.version, found.size)
    if spec.source.media is None:
        other = media_of(found.uri)
        if other != media:
            what = f"is a {other}" if other else "has a suffix that tells no media type"
            return Failure(
                reference,
                "list",
                "other_media",
                f"{shown(found.uri)} {what}, while the source holds {media}; narrow source.files, or set "
                "source.media",
            )
    return reference


def _sizes(
    spec: SourceSpec, index: int, filesystems: Filesystems, budget: Budget | None
) -> Iterator[int | None]:
    """The size of each input that a pattern names; of what names none in an archive, 0."""
    pattern = spec.patterns[index]
    if pattern.archives is None:
        for file in _list_pattern(spec, index, whole(pattern), filesystems):
            yield file.size
        return
    for archive in _list_archives(spec, index, whole(pattern), filesystems):
        for one in look_inside(spec.patterns, index, archive, filesystems, budget):
            yield one.found.size if isinstance(one, Inside) else 0


def _list_archives(spec: SourceSpec, index: int, folder: Folder, filesystems: Filesystems) -> Iterator[Found]:
    """The archives that a pattern looks into, in one piece of their listing.

    Raises:
        SourceError: the store cannot be listed.
    """
    pattern = spec.patterns[index]
    with source_faults(f"cannot list {pattern.text}", spec.source.storage):
        assert pattern.archives is not None
        yield from list_files(pattern.archives, folder, filesystems, ordered=spec.limit is not None)


def _list_pattern(spec: SourceSpec, index: int, folder: Folder, filesystems: Filesystems) -> Iterator[Found]:
    """Files of one pattern in one folder, without those that an earlier pattern matches as well.

    Raises:
        SourceError: the store cannot be listed.
    """
    pattern = spec.patterns[index]
    with source_faults(f"cannot list {pattern.text}", spec.source.storage):
        for found in list_folder(pattern, folder, filesystems, ordered=spec.limit is not None):
            if not any(other.matches(found.uri) for other in spec.patterns[:index]):
                yield found
