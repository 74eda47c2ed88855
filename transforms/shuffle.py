"""Deal: elements dealt out to the workers anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

__all__ = ["Deal"]

#: Many to a worker, so that by chance each gets about as much as the others.
_KEYS = 1 << 12


class Deal(beam.PTransform):
    """Deal elements out to the workers, by chance, wherever they are now.

    Beam's Reshuffle deals exactly evenly, but Flink leaves out one that comes after another without a GroupByKey in
    between: to its optimizer the elements are dealt out already, although they have become others since.
    """

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        return (
            elements
            | "Key" >> beam.ParDo(_KeyFn()).with_output_types(tuple[int, Any])
            | "Group" >> beam.GroupByKey()
            | "Ungroup" >> beam.FlatMap(lambda group: group[1])
        )


class _KeyFn(beam.DoFn):
    """Keys one after the other, from a random one: a few elements do not meet on one key."""

    def start_bundle(self) -> None:
        self._next = random.randrange(_KEYS)

    def process(self, element: Any) -> Iterator[tuple[int, Any]]:
        self._next = (self._next + 1) % _KEYS
        yield self._next, element
