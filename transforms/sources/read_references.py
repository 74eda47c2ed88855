"""ReadReferences: what a job's source names, spread evenly over the workers.

    ListSource: pieces of the listing -> references -> packs -> skip what is done -> Reshuffle -> units
    OpenUnits:  units -> references

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

from ..content.media import media_of
from ..records import Failure, Reference
from ..runs.chunks import MAX_PACK, Packer, evenly, pack, unpack
from ..runs.rebalance import Round, RoundSpec
from ..runs.redistribute import Deal
from ..storage.filesystems import Filesystems
from .duplicates.deduplicate import Deduplicate
from .listing import Folder, Found, folders
from .manifests.files import Split
from .rows import RowReader
from .source import SourceSpec, list_pattern

__all__ = ["FAILED", "LEFT", "Completed", "ListSource", "OpenUnits", "ReadReferences", "References"]

FAILED = "failed"
LEFT = "left"


class Completed(Protocol):
    """What earlier runs finished; see `completed`."""

    def remaining(self, references: list[Reference]) -> list[Reference]:
        """The references that still have to be done, in order."""


class Units(NamedTuple):
    """What a source names, as it is dealt out to workers, and what can be told to be unreadable by then.

    A unit is a pack of references; where the source holds its content itself, a piece of its manifest.
    """

    units: beam.PCollection[Any]
    failures: tuple[beam.PCollection[Failure], ...]


class Opened(NamedTuple):
    """The references of units, the places in units that name nothing readable, and units that were handed back."""

    references: beam.PCollection[Reference]
    failures: beam.PCollection[Failure]
    left: beam.PCollection[Any]


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
        listed = begin | "List" >> ListSource(self.spec, self.completed)
        opened = listed.units | "Open" >> OpenUnits(self.spec, self.completed)
        failures = (*listed.failures, opened.failures) | "Failures" >> beam.Flatten()
        return References(opened.references, failures)


class ListSource(beam.PTransform):
    """List a source as units, spread over the workers.

    Args:
        spec: from `inspect_source`.
        completed: leaves out what earlier runs finished.
        spread_compressed: spread content, too, that lies in a compressed manifest, which only one worker can read;
            for clusters, whose shuffles go to disk.
    """

    def __init__(
        self, spec: SourceSpec, completed: Completed | None = None, *, spread_compressed: bool = False
    ) -> None:
        super().__init__()
        self.spec = spec
        self.completed = completed
        self.spread_compressed = spread_compressed

    def expand(self, begin: pvalue.PBegin) -> Units:
        spec = self.spec
        units = begin | "Pieces" >> beam.Create(_pieces(spec), reshuffle=False)
        if spec.patterns and spec.limit is None:
            units = units | "Folders" >> beam.FlatMap(_folders_of, spec)
        spreads = spec.limit is None and (spec.patterns or len(spec.scan.splits) > 1)
        failures: tuple[beam.PCollection[Failure], ...] = ()
        compressed = any(manifest.gz for manifest in spec.manifests)
        if spec.inline and not (compressed and self.spread_compressed and spec.limit is None):
            units = units | "SpreadPieces" >> beam.Reshuffle() if spreads else units
        else:
            units = units | "SpreadPieces" >> Deal() if spreads else units
            packs = units | "Read" >> beam.ParDo(_PackFn(spec, self.completed)).with_outputs(
                FAILED, main="packs"
            )
            units, failures = packs.packs | "SpreadPacks" >> beam.Reshuffle(), (packs[FAILED],)
        if spec.source.deduplicate == "content":
            opened = units | "OpenAll" >> OpenUnits(spec, self.completed)
            units = opened.references | "Deduplicate" >> Deduplicate(spec)
            failures = (*failures, opened.failures)
        return Units(units, failures)


class OpenUnits(beam.PTransform):
    """Units -> their references.

    Args:
        spec: from `inspect_source`.
        completed: leaves out what earlier runs finished, of units that are pieces of a manifest.
        round_: hands back what is not begun when the round is over.
        shares: parts that a pack is cut into when it is handed back.
    """

    def __init__(
        self,
        spec: SourceSpec,
        completed: Completed | None = None,
        round_: RoundSpec | None = None,
        shares: int = 1,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.completed = completed
        self.round_ = round_
        self.shares = shares

    def expand(self, units: beam.PCollection[Any]) -> Opened:
        fn = _OpenFn(self.spec, self.completed, self.round_, self.shares)
        opened = units | "Open" >> beam.ParDo(fn).with_outputs(FAILED, LEFT, main="references")
        return Opened(opened.references, opened[FAILED], opened[LEFT])


def read_piece(
    piece: Any, spec: SourceSpec, reader: RowReader, filesystems: Filesystems
) -> Iterator[Reference | Failure]:
    """The references of one piece of a source."""
    if isinstance(piece, Split):
        return reader.read(piece)
    index, folder = piece
    return (_of_file(found, spec) for found in list_pattern(spec, index, folder, filesystems))


def is_bounded(unit: Any) -> bool:
    """Whether a unit's content may cross a shuffle: no compressed text, no large row group, no job's first inputs."""
    return isinstance(unit, Split) and unit.stop >= 0 and unit.rows <= MAX_PACK


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


class _PackFn(beam.DoFn):
    """One piece of the source -> packs."""

    def __init__(self, spec: SourceSpec, completed: Completed | None) -> None:
        super().__init__()
        self._spec, self._completed = spec, completed

    def start_bundle(self) -> None:
        self._reader = _PieceReader(self._spec, self._completed)

    def process(self, piece: Any) -> Iterator[Any]:
        for item in self._reader.read(piece):
            yield pvalue.TaggedOutput(FAILED, item) if isinstance(item, Failure) else pack(item)


class _OpenFn(beam.DoFn):
    """A unit -> its references, or what of it is handed back."""

    def __init__(
        self, spec: SourceSpec, completed: Completed | None, round_: RoundSpec | None, shares: int
    ) -> None:
        super().__init__()
        self._spec, self._completed, self._round_spec, self._shares = spec, completed, round_, shares
        self._round: Round | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_round": None}

    def start_bundle(self) -> None:
        self._reader = _PieceReader(self._spec, self._completed)
        self._round = Round.shared(self._round_spec) if self._round_spec else None

    def process(self, unit: Any) -> Iterator[Any]:
        if isinstance(unit, bytes):
            yield from self._while_it_lasts(unpack(unit))
        elif self._is_over:
            yield pvalue.TaggedOutput(LEFT, unit)
        else:
            for item in self._reader.read(unit):
                if isinstance(item, Failure):
                    yield pvalue.TaggedOutput(FAILED, item)
                elif is_bounded(unit):
                    yield from self._while_it_lasts(item)
                else:
                    # The rest goes on here: too much content would have to cross a shuffle.
                    yield from item

    def _while_it_lasts(self, references: Iterable[Reference]) -> Iterator[Any]:
        """References until the round is over; then the rest as packs."""
        rest = iter(references)
        for reference in rest:
            if self._is_over:
                for part in evenly([reference, *rest], self._shares):
                    yield pvalue.TaggedOutput(LEFT, pack(part))
                return
            yield reference

    @property
    def _is_over(self) -> bool:
        return self._round is not None and self._round.over


class _PieceReader:
    """Reads pieces of a source: lists of references that are left to do, and failures."""

    def __init__(self, spec: SourceSpec, completed: Completed | None) -> None:
        self._spec, self._completed = spec, completed
        self._rows = RowReader(spec)
        self._filesystems = Filesystems(spec.source.storage)
        self._packer = Packer(spec.scan.rows if spec.manifests else 0)

    def read(self, piece: Any) -> Iterator[list[Reference] | Failure]:
        pieces = piece if isinstance(piece, list) else [piece]
        items = itertools.chain.from_iterable(
            read_piece(one, self._spec, self._rows, self._filesystems) for one in pieces
        )
        for item in itertools.islice(items, self._spec.limit):
            if isinstance(item, Failure):
                yield item
            elif (full := self._packer.add(item)) is not None:
                yield from self._remaining(full)
        yield from self._remaining(self._packer.flush())

    def _remaining(self, references: list[Reference]) -> Iterator[list[Reference]]:
        if self._completed is not None and references:
            references = self._completed.remaining(references)
        if references:
            yield references
