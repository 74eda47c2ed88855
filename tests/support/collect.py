"""Takes what reaches the end of an in-process pipeline, with windows and timestamps, for a test to see."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

__all__ = ["Collected", "collect"]

_numbers = itertools.count()
_taken: dict[str, list[tuple[Any, Any, Any]]] = {}


class _Keep(beam.DoFn):
    def __init__(self, key: str) -> None:
        self._key = key

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        _taken[self._key].append((element, timestamp, window))
        return iter(())


class Collected:
    """What came; readable after the pipeline ran."""

    def __init__(self, key: str) -> None:
        self._key = key

    @property
    def elements(self) -> list[Any]:
        """The elements alone."""
        return [element for element, _, _ in _taken[self._key]]

    @property
    def stamped(self) -> list[tuple[Any, Any, Any]]:
        """(element, timestamp, window) of each."""
        return list(_taken[self._key])


def collect(collection: Any, label: str = "Collect") -> Collected:
    """Keep a collection's elements in this process."""
    key = f"{label}-{next(_numbers)}"
    _taken[key] = []
    collection | key >> beam.ParDo(_Keep(key))
    return Collected(key)
