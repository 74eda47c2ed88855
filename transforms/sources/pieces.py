"""A source in pieces, each listed or read by one worker: folders of a pattern, ranges of a manifest."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ..content.media import media_of
from ..records import Failure, Reference
from ..runs.chunks import MAX_CHUNK, Chunker
from ..storage.filesystems import Filesystems
from ..storage.references import identity, shown
from .listing import Folder, Found, folders
from .manifests.files import BrokenFile, Split
from .rows import RowReader
from .source import SourceSpec, list_pattern

__all__ = ["Completed", "PieceReader", "first_pieces", "folders_of", "is_bounded"]


class Completed(Protocol):
    """What earlier runs finished; see `completed`."""

    def remaining(self, references: list[Reference]) -> list[Reference]:
        """The references that still have to be done, in order."""


def first_pieces(spec: SourceSpec) -> list[Any]:
    """What the pipeline starts from; with a limit one list in the source's order, read by one worker."""
    pieces: list[Any] = []
    if spec.manifests:
        pieces += [BrokenFile(file, reason) for file, reason in spec.scan.faults.items()]
        pieces += spec.scan.splits
    pieces += [(index, Folder(pattern.root)) for index, pattern in enumerate(spec.patterns)]
    return pieces if spec.limit is None else [pieces]


def folders_of(piece: tuple[int, Folder], spec: SourceSpec) -> Iterable[tuple[int, Folder]]:
    """The folders at the root of a pattern, each a piece of its own."""
    index, _ = piece
    return [(index, folder) for folder in folders(spec.patterns[index], Filesystems(spec.source.storage))]


def is_bounded(unit: Any) -> bool:
    """Whether a unit's content may cross a shuffle: no compressed text, no large row group, no job's first inputs."""
    return isinstance(unit, Split) and unit.stop >= 0 and unit.rows <= MAX_CHUNK


class PieceReader:
    """Reads pieces of a source: lists of references that are left to do, and failures."""

    def __init__(self, spec: SourceSpec, completed: Completed | None) -> None:
        self._spec, self._completed = spec, completed
        self._rows = RowReader(spec)
        self._filesystems = Filesystems(spec.source.storage)
        self._chunker = Chunker(spec.scan.rows if spec.manifests else 0)

    def read(self, piece: Any) -> Iterator[list[Reference] | Failure]:
        if isinstance(piece, Split) and self._spec.limit is None:
            plain = self._rows.read_plain(piece)
            if plain is not None:
                yield from self._remaining(plain)
                return
        pieces = piece if isinstance(piece, list) else [piece]
        items = itertools.chain.from_iterable(self._read(one) for one in pieces)
        for item in itertools.islice(items, self._spec.limit):
            if isinstance(item, Failure):
                yield item
            elif (full := self._chunker.add(item)) is not None:
                yield from self._remaining(full)
        yield from self._remaining(self._chunker.flush())

    def _remaining(self, references: list[Reference]) -> Iterator[list[Reference]]:
        if self._completed is not None and references:
            references = self._completed.remaining(references)
        if references:
            yield references

    def _read(self, piece: Any) -> Iterator[Reference | Failure]:
        if isinstance(piece, Split):
            return self._rows.read(piece)
        if isinstance(piece, BrokenFile):
            return iter([self._rows.broken(piece)])
        index, folder = piece
        found = list_pattern(self._spec, index, folder, self._filesystems)
        return (_of_file(one, self._spec) for one in found)


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
