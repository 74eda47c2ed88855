"""Redistribute: spreads elements over the workers anew."""

from __future__ import annotations

import pickle
import zlib
from typing import Any

import apache_beam as beam

__all__ = ["Redistribute"]

#: Many to a worker, so that by chance each gets about as much as the others.
_KEYS = 1 << 12


class Redistribute(beam.PTransform):
    """Spread elements over the workers, by chance, wherever they are now.

    Beam's Reshuffle spreads exactly evenly, but Flink leaves out one that comes after another without a GroupByKey in
    between: to its optimizer the elements are spread already, although they have become others since.
    """

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[Any]:
        return (
            elements
            | "Key" >> beam.Map(_keyed).with_output_types(tuple[int, Any])
            | "Group" >> beam.GroupByKey()
            | "Ungroup" >> beam.FlatMap(lambda group: group[1])
        )


def _keyed(element: Any) -> tuple[int, Any]:
    # The same key each time: when a cluster computes a lost part again, what it spreads must go where it went before.
    return zlib.crc32(pickle.dumps(element, protocol=5)) % _KEYS, element
