"""ReadReferences: what a job's source names, spread evenly over the workers.

    ListSource: pieces of the listing -> references -> chunks -> skip what is done -> Reshuffle -> units
    OpenUnits:  units -> references

Listing and reading manifests is itself done in pieces by all workers. What crosses the shuffle are chunks of
references (`runs.chunks`), never content: a source that holds its content itself shuffles the pieces of its manifest
instead, and reads them behind the shuffle.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.metrics import Metrics as BeamMetrics

from ..metrics import process_metrics
from ..records import Failure, Reference
from ..runs.chunks import to_chunk
from ..runs.redistribute import Redistribute
from ..runs.versions import Versions
from .archives import Archive
from .duplicates.deduplicate import Deduplicate
from .opener import Opener
from .pieces import Completed, PieceReader, first_pieces, folders_of
from .source import SourceSpec

__all__ = ["FAILED", "ListSource", "OpenUnits", "ReadReferences", "References"]

FAILED = "failed"


class Units(NamedTuple):
    """What a source names, as it is spread over the workers, and what is known to be unreadable by then.

    A unit is a chunk of references, or an archive; where the source holds its content itself, a piece of its manifest.
    """

    units: beam.PCollection[Any]
    failures: tuple[beam.PCollection[Failure], ...]


class References(NamedTuple):
    """What a source names, and what in it names nothing that can be read."""

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
        units = begin | "Pieces" >> beam.Create(first_pieces(spec), reshuffle=False)
        if spec.patterns and spec.limit is None:
            units = units | "Folders" >> beam.FlatMap(folders_of, spec)
        spreads = spec.limit is None and (spec.patterns or len(spec.scan.splits) > 1)
        failures: tuple[beam.PCollection[Failure], ...] = ()
        compressed = any(manifest.gz for manifest in spec.manifests)
        if spec.inline and not (compressed and self.spread_compressed and spec.limit is None):
            units = units | "SpreadPieces" >> beam.Reshuffle() if spreads else units
        else:
            units = units | "SpreadPieces" >> Redistribute() if spreads else units
            chunks = units | "Read" >> beam.ParDo(_ChunkFn(spec, self.completed)).with_outputs(
                FAILED, main="chunks"
            )
            units, failures = chunks.chunks | "SpreadChunks" >> beam.Reshuffle(), (chunks[FAILED],)
        if spec.source.deduplicate == "content":
            opened = units | "OpenAll" >> OpenUnits(spec, self.completed)
            units = opened.references | "Deduplicate" >> Deduplicate(spec)
            failures = (*failures, opened.failures)
        return Units(units, failures)


class OpenUnits(beam.PTransform):
    """Units -> their references, in workers that have the launcher's versions.

    Args:
        spec: from `inspect_source`.
        completed: leaves out what earlier runs finished, of units that are pieces of a manifest.

    Raises:
        RunnerError: in a worker whose versions are others.
    """

    def __init__(self, spec: SourceSpec, completed: Completed | None = None) -> None:
        super().__init__()
        self.spec, self.completed = spec, completed
        self.launcher = Versions.here()

    def expand(self, units: beam.PCollection[Any]) -> References:
        fn = _OpenFn(self.spec, self.completed, self.launcher)
        opened = units | "Open" >> beam.ParDo(fn).with_outputs(FAILED, main="references")
        return References(opened.references, opened[FAILED])


class _ChunkFn(beam.DoFn):
    """One piece of the source -> chunks of references, and archives."""

    def __init__(self, spec: SourceSpec, completed: Completed | None) -> None:
        super().__init__()
        self._spec, self._completed = spec, completed

    def start_bundle(self) -> None:
        self._reader = PieceReader(self._spec, self._completed)

    def process(self, piece: Any) -> Iterator[Any]:
        for item in self._reader.units(piece):
            if isinstance(item, Failure):
                yield pvalue.TaggedOutput(FAILED, item)
            else:
                yield item if isinstance(item, Archive) else to_chunk(item)
        _report()


class _OpenFn(beam.DoFn):
    """A unit -> its references."""

    def __init__(self, spec: SourceSpec, completed: Completed | None, launcher: Versions) -> None:
        super().__init__()
        self._spec, self._completed, self._launcher = spec, completed, launcher

    def setup(self) -> None:
        self._launcher.check(Versions.here(), platform.node())

    def start_bundle(self) -> None:
        self._opener = Opener(self._spec, self._completed)
        self._opener.begin()

    def process(self, unit: Any) -> Iterator[Any]:
        for item in self._opener.open(unit):
            if isinstance(item, Failure):
                yield pvalue.TaggedOutput(FAILED, item)
            else:
                yield from item
        _report()


def _report() -> None:
    """Tell Beam what was skipped; it hears a bundle's own thread alone."""
    process_metrics().report(lambda name: BeamMetrics.counter("bulkinfer", name))
