"""ReadReferences: what a job's source names, spread evenly over the workers.

    pieces of the listing -> references -> packs -> skip what is done -> Reshuffle -> references

Listing and reading manifests is itself done in pieces by all workers. What crosses the shuffle are packs of
references (`packs`), never content: a source that holds its content itself shuffles the pieces of its
manifest instead, and reads them behind the shuffle.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
from apache_beam import pvalue

from .duplicates import Deduplicate
from .filesystems import Filesystems
from .listing import Folder, Found, folders
from .manifest_files import Split
from .media import media_of
from .packs import Packer, pack, unpack
from .records import Failure, Reference
from .rows import RowReader
from .sources import SourceSpec, list_pattern

__all__ = ["FAILED", "Completed", "ReadReferences", "References"]

FAILED = "failed"


class Completed(Protocol):
    """What earlier runs finished; see `completed`."""

    def remaining(self, references: list[Reference]) -> list[Reference]:
        """The references that still have to be done, in order."""


class References(NamedTuple):
    """What a source names, and the places where it names nothing that can be read."""

    references: beam.PCollection[Reference]
    failures: beam.PCollection[Failure]


class ReadReferences(beam.PTransform):
    """Read all references of a source.

    Every row or file ends in exactly one of the two outputs, but for inputs that `completed` knows as done.

    Args:
        spec: from `inspect_source`.
        completed: leaves out what earlier runs finished.

    >>> import apache_beam as beam
    >>> from bulkinfer.transforms import ReadReferences, inspect_source
    >>> with beam.Pipeline() as pipeline:  # doctest: +SKIP
    ...     read = pipeline | ReadReferences(inspect_source(source))
    ...     read.references | beam.Map(print)
    """

    def __init__(self, spec: SourceSpec, completed: Completed | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.completed = completed

    def expand(self, begin: pvalue.PBegin) -> References:
        spec = self.spec
        expected = spec.scan.rows if spec.manifests else 0
        pieces = begin | "Pieces" >> beam.Create(_pieces(spec), reshuffle=False)
        if spec.patterns and spec.limit is None:
            pieces = pieces | "Folders" >> beam.FlatMap(_folders_of, spec)
        if spec.limit is None and (spec.patterns or len(spec.scan.splits) > 1):
            pieces = pieces | "SpreadPieces" >> beam.Reshuffle()
        packs = pieces | "Read" >> beam.ParDo(_ReadFn(spec, self.completed, expected)).with_outputs(
            FAILED, main="packs"
        )
        spread = packs.packs
        if not spec.inline:
            spread = spread | "SpreadPacks" >> beam.Reshuffle()
        references = spread | "Unpack" >> beam.FlatMap(unpack).with_output_types(Reference)
        if spec.source.deduplicate == "content":
            references = references | "Deduplicate" >> Deduplicate(spec)
        return References(references, packs[FAILED])


def read_piece(
    piece: Any, spec: SourceSpec, reader: RowReader, filesystems: Filesystems
) -> Iterator[Reference | Failure]:
    """The references of one piece of a source."""
    if isinstance(piece, Split):
        return reader.read(piece)
    index, folder = piece
    return (_of_file(found, spec) for found in list_pattern(spec, index, folder, filesystems))


def _pieces(spec: SourceSpec) -> list[Any]:
    """What the pipeline starts from; with a limit one list in the source's order, read by one worker."""
    pieces: list[Any] = list(spec.scan.splits) if spec.manifests else []
    pieces += [(index, Folder(pattern.root)) for index, pattern in enumerate(spec.patterns)]
    return pieces if spec.limit is None else [pieces]


def _folders_of(piece: tuple[int, Folder], spec: SourceSpec) -> Iterable[tuple[int, Folder]]:
    index, _ = piece
    return [(index, folder) for folder in folders(spec.patterns[index], Filesystems(spec.source.storage))]


def _of_file(found: Found, spec: SourceSpec) -> Reference | Failure:
    media = spec.media_type
    reference = Reference(found.uri, found.uri, media, found.version, found.size)
    if spec.source.media is None:
        other = media_of(found.uri)
        if other != media:
            what = f"is a {other}" if other else "has a suffix that tells no media type"
            return Failure(
                reference,
                "list",
                "other_media",
                f"{found.uri} {what}, while the source holds {media}; narrow source.files, or set "
                "source.media",
            )
    return reference


class _ReadFn(beam.DoFn):
    """One piece of the source -> packs."""

    def __init__(self, spec: SourceSpec, completed: Completed | None, expected: int) -> None:
        super().__init__()
        self._spec, self._completed, self._expected = spec, completed, expected

    def setup(self) -> None:
        self._reader = RowReader(self._spec)
        self._filesystems = Filesystems(self._spec.source.storage)

    def start_bundle(self) -> None:
        self._packer = Packer(self._expected)

    def process(self, piece: Any) -> Iterator[Any]:
        pieces = piece if isinstance(piece, list) else [piece]
        items = itertools.chain.from_iterable(
            read_piece(one, self._spec, self._reader, self._filesystems) for one in pieces
        )
        for item in itertools.islice(items, self._spec.limit):
            if isinstance(item, Failure):
                yield pvalue.TaggedOutput(FAILED, item)
                continue
            full = self._packer.add(item)
            if full is not None:
                yield from self._packed(full)
        yield from self._packed(self._packer.flush())

    def _packed(self, references: list[Reference]) -> Iterator[bytes]:
        if self._completed is not None and references:
            references = self._completed.remaining(references)
        if references:
            yield pack(references)
