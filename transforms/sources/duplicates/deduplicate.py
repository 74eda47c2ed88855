"""Identical content is sent and paid once: inputs with the same bytes and arguments become aliases of one of
them.

A pass of its own reads all content and keeps its hash, one GroupByKey brings equal hashes together, and the
input with the first id stands for the others. So content is read twice, and what crosses the shuffle are
references. An alias gets its rows from the same answer, in the same part; what earlier runs finished takes no
part in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ...content.fetch import Fetcher
from ...content.prefetch import Prefetcher, process_budget
from ...errors import ReadError
from ...records import Content, Reference
from ...runs.chunks import from_chunk, to_chunk
from ..source import SourceSpec

__all__ = ["Deduplicate", "merge"]

#: One reference that stands for more would be a large element.
MOST_ALIASES = 10_000
_PREFETCH = 64
_PREFETCH_BYTES = 128 << 20


class Deduplicate(beam.PTransform):
    """References -> chunks, each of one reference for its content, with the others as its `aliases`.

    Content that cannot be read stays as it is, for LoadContent to say why.

    Args:
        spec: names the store, the size limit and the columns that are arguments.
    """

    def __init__(self, spec: SourceSpec) -> None:
        super().__init__()
        self.spec = spec

    def expand(self, references: beam.PCollection[Reference]) -> beam.PCollection[bytes]:
        return (
            references
            | "Hash" >> beam.ParDo(_HashFn(self.spec)).with_output_types(tuple[bytes, bytes])
            | "Group" >> beam.GroupByKey()
            | "Merge" >> beam.FlatMap(_merged).with_output_types(bytes)
        )


def merge(references: Iterable[Reference], most: int = MOST_ALIASES) -> Iterator[Reference]:
    """References with the same content -> one, the first by id, with the others as aliases.

    Args:
        most: aliases of one; further ones are sent again.
    """
    ordered = sorted(references, key=lambda reference: reference.input_id)
    for start in range(0, len(ordered), most + 1):
        first, *others = ordered[start : start + most + 1]
        aliases = tuple(dataclasses.replace(other, inline=None) for other in others)
        yield dataclasses.replace(first, aliases=aliases) if aliases else first


def _merged(group: tuple[bytes, Iterable[bytes]]) -> Iterator[bytes]:
    for reference in merge(reference for data in group[1] for reference in from_chunk(data)):
        yield to_chunk([reference])


class _HashFn(beam.DoFn):
    """Reference -> hash of its content and arguments, with the reference as a chunk of one."""

    def __init__(self, spec: SourceSpec) -> None:
        super().__init__()
        self._spec = spec
        self._ahead: Prefetcher[Any] | None = None

    def setup(self) -> None:
        source = self._spec.source
        self._fetcher = Fetcher(
            max_bytes=int(source.max_bytes),
            storage=source.storage,
            allowed=self._spec.allowed,
            idle=source.timeout.idle,
            timeout=source.timeout.file,
            max_pixels=source.image.max_pixels,
        )

    def start_bundle(self) -> None:
        self.teardown()
        self._ahead = Prefetcher(self._hash, count=_PREFETCH, budget=process_budget(_PREFETCH_BYTES))

    def process(
        self,
        reference: Reference,
        timestamp: Any = beam.DoFn.TimestampParam,
        window: Any = beam.DoFn.WindowParam,
    ) -> Iterator[Any]:
        assert self._ahead is not None
        for item in self._ahead.submit((timestamp, window), reference):
            yield self._output(*item)

    def finish_bundle(self) -> Iterator[Any]:
        assert self._ahead is not None
        for item in self._ahead.drain():
            yield self._output(*item)

    def teardown(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    def _hash(self, reference: Reference) -> Content:
        content = self._fetcher.content(reference)
        digest = hashlib.blake2b(content.data or b"", digest_size=16)
        digest.update(repr([reference.columns.get(name) for name in self._spec.arguments]).encode())
        known = dataclasses.replace(content.reference, inline=reference.inline)
        return Content(known, b"content " + digest.digest())

    def _output(self, token: tuple[Any, Any], reference: Reference, result: Content | ReadError) -> Any:
        timestamp, window = token
        if isinstance(result, Content):
            key, reference = result.data or b"", result.reference
        else:
            key = b"id " + reference.input_id.encode()
        return WindowedValue((key, to_chunk([reference])), timestamp, (window,))
