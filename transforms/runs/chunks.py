"""Chunks: many references as one small piece of bytes, which is what crosses the shuffle.

A shuffle costs 16 us and 0.7 kB an element in the in-process engine, whatever the element; 256 references in
one element make that nothing. Columns are stored beside each other, because neighbours share their beginnings
and compress well.
"""

from __future__ import annotations

import itertools
import pickle
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from ..records import Reference

__all__ = ["MAX_CHUNK", "Chunker", "evenly", "from_chunk", "to_chunk"]

MAX_CHUNK = 256  #: references in one chunk, at most
_MAX_INLINE = 1 << 20
_SPREAD = 64


def to_chunk(references: Sequence[Reference]) -> bytes:
    """Encode references; `from_chunk` gives equal ones back."""
    first = references[0]
    names = tuple(first.columns)
    alike = all(tuple(reference.columns) == names for reference in references)
    columns: Any = (
        (names, [list(reference.columns.values()) for reference in references])
        if alike
        else [dict(reference.columns) for reference in references]
    )
    fields = (
        [reference.input_id for reference in references],
        _run([None if reference.uri == reference.input_id else (reference.uri,) for reference in references]),
        _run([reference.media_type for reference in references]),
        _run([reference.version for reference in references]),
        _run([reference.size for reference in references]),
        _run([reference.inline for reference in references]),
        columns,
        _run([reference.place for reference in references]),
        _run([reference.aliases for reference in references]),
        _run([reference.content for reference in references]),
    )
    return zlib.compress(pickle.dumps(fields, protocol=5), 1)


def from_chunk(data: bytes) -> Iterator[Reference]:
    """Decode the references of a chunk, in order."""
    fields = pickle.loads(zlib.decompress(data))
    ids, uris, media, versions, sizes, inlines, columns, places, aliases, contents = fields
    count = len(ids)
    if isinstance(columns, tuple):
        names, rows = columns
        values: Any = [dict(zip(names, row, strict=True)) for row in rows]
    else:
        values = columns
    for input_id, uri, medium, version, size, inline, row, place, others, content in zip(
        ids,
        _unrun(uris, count),
        _unrun(media, count),
        _unrun(versions, count),
        _unrun(sizes, count),
        _unrun(inlines, count),
        values,
        _unrun(places, count),
        _unrun(aliases, count),
        _unrun(contents, count),
        strict=True,
    ):
        yield Reference(
            input_id,
            input_id if uri is None else uri[0],
            medium,
            version,
            size,
            inline,
            row,
            place,
            others,
            content,
        )


class Chunker:
    """Collects references into chunks that fit the source: small at first, so that few inputs spread too.

    Args:
        expected: references in the whole source where that is known, else 0.
    """

    def __init__(self, expected: int = 0) -> None:
        self._seen = expected
        self._held: list[Reference] = []
        self._inline = 0

    def add(self, reference: Reference) -> list[Reference] | None:
        """Take one reference; give back the ones that make a chunk now, if any."""
        self._held.append(reference)
        self._seen += 1
        self._inline += len(reference.inline or reference.uri or "")  # a `data:` URI is content
        if len(self._held) >= min(MAX_CHUNK, 1 + self._seen // _SPREAD) or self._inline >= _MAX_INLINE:
            return self.flush()
        return None

    def flush(self) -> list[Reference]:
        """Give back what is held."""
        held, self._held, self._inline = self._held, [], 0
        return held


def evenly(references: Sequence[Reference], parts: int) -> list[Sequence[Reference]]:
    """Cut references into at most so many parts that differ by one at most; none is empty."""
    parts = min(parts, len(references))
    cuts = [len(references) * index // parts for index in range(parts + 1)]
    return [references[start:stop] for start, stop in itertools.pairwise(cuts)]


def _run(values: list[Any]) -> Any:
    """One value in place of a list of equals."""
    first = values[0]
    return (first,) if all(value == first for value in values) else values


def _unrun(values: Any, count: int) -> Any:
    return values * count if type(values) is tuple else values
