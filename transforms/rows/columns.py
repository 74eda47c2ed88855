"""Columns that grow value by value and become Arrow arrays.

Values are held by column, so that a row costs no object of its own; a null costs nothing. Each column can be
cut back to a number of rows, so that an answer that cannot be read leaves nothing behind.
"""

from __future__ import annotations

import array
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .types import CONCEPTS, FLOATS, REGIONS

__all__ = [
    "NO_CONCEPTS",
    "Best",
    "ConceptColumn",
    "Concepts",
    "FloatListColumn",
    "RegionColumn",
    "SparseColumn",
    "utf8",
]

Best = tuple[str | None, str | None, float | None]  # id, label and score of the best concept
Concepts = tuple[list[str], list[str], list[float]]  # ids, names and values, "" for what is missing
NO_CONCEPTS: Concepts = ([], [], [])


def utf8(text: str) -> str:
    """A text that Arrow can hold: names of files that are not UTF-8 keep their invalid bytes as escapes."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class SparseColumn:
    """A column that is null except in the rows that were put."""

    __slots__ = ("rows", "values")

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.values: list[Any] = []

    def put(self, row: int, value: Any) -> None:
        """Set the value of a row; rows come in order."""
        self.rows.append(row)
        self.values.append(value)

    def extend(self, first: int, values: Sequence[Any]) -> None:
        """Set the values of rows that follow each other; None for no value."""
        self.rows.extend(row for row, value in enumerate(values, first) if value is not None)
        self.values.extend(value for value in values if value is not None)

    def has(self, row: int) -> bool:
        """True when the latest row that was put is this one."""
        return bool(self.rows) and self.rows[-1] == row

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        while self.rows and self.rows[-1] >= count:
            self.rows.pop()
            self.values.pop()

    def build(self, count: int, kind: Any) -> Any:
        """The column as an Arrow array of `count` values."""
        if not self.rows:
            return pa.nulls(count, kind)
        if len(self.rows) == count:
            return pa.array(self.values, kind)
        values: list[Any] = [None] * count
        for row, value in zip(self.rows, self.values, strict=True):
            values[row] = value
        return pa.array(values, kind)


class _Lists:
    """Where each of the lists that are stored one after the other ends; an empty list is null."""

    __slots__ = ("ends", "total")

    def __init__(self) -> None:
        self.ends = array.array("q")
        self.total = 0

    def close(self, length: int) -> None:
        self.total += length
        self.ends.append(self.total)

    def close_all(self, lengths: Sequence[int]) -> None:
        """Close many lists."""
        ends = list(itertools.accumulate(lengths, initial=self.total))
        self.ends.extend(ends[1:])
        self.total = ends[-1]

    def skip(self, count: int) -> None:
        """Close so many empty lists."""
        self.ends.extend([self.total] * count)

    def cut(self, count: int) -> int:
        """Keep the first `count` lists; returns how many items they hold."""
        del self.ends[count:]
        self.total = self.ends[-1] if self.ends else 0
        return self.total

    def build(self, items: Any, kind: Any) -> Any:
        offsets = np.zeros(len(self.ends) + 1, np.int32)
        offsets[1:] = np.frombuffer(self.ends, np.int64) if self.ends else 0
        empty = np.diff(offsets) == 0
        return pa.ListArray.from_arrays(
            pa.array(offsets), items, type=kind, mask=pa.array(empty) if empty.any() else None
        )


def _floats(values: array.array[float]) -> Any:
    return pa.array(np.frombuffer(values, np.float32) if values else [], pa.float32())


def _texts(values: list[str]) -> Any:
    """Texts as an Arrow array; an empty one counts as none, so it is null."""
    texts = pa.array(values, pa.string())
    empty = pc.equal(texts, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts


class FloatListColumn:
    """A dense column of lists of floats: boxes, points, vectors; an empty list is null."""

    __slots__ = ("_lists", "values")

    def __init__(self) -> None:
        self._lists = _Lists()
        self.values = array.array("f")

    def append(self, values: Sequence[float]) -> None:
        """Add one list."""
        self.values.extend(values)
        self._lists.close(len(values))

    def extend(self, values: Any, filled: Any) -> None:
        """Add many lists of one length.

        Args:
            values: shape (lists, length).
            filled: the others are empty; shape (lists,).
        """
        self.values.frombytes(values[filled].astype(np.float32).tobytes())
        self._lists.close_all((filled * values.shape[1]).tolist())

    def cut(self, count: int) -> None:
        """Keep the first `count` lists."""
        del self.values[self._lists.cut(count) :]

    def build(self) -> Any:
        """The column as an Arrow array."""
        return self._lists.build(_floats(self.values), FLOATS)


class ConceptColumn:
    """A dense column of lists of concepts."""

    __slots__ = ("_ids", "_lists", "_names", "_values")

    def __init__(self) -> None:
        self._lists = _Lists()
        self._ids: list[str] = []
        self._names: list[str] = []
        self._values = array.array("f")

    def append(self, ids: list[str], names: list[str], values: list[float]) -> Best:
        """Add the list of a row, and say which concept is the best."""
        if not ids:
            self._lists.close(0)
            return None, None, None
        self._ids += ids
        self._names += names
        self._values.extend(values)
        self._lists.close(len(ids))
        score = max(values)
        if math.isnan(score):  # NaN is no score, but max() takes it where it comes first
            score = max((value for value in values if not math.isnan(value)), default=values[0])
        best = values.index(score)
        return ids[best] or None, names[best] or ids[best] or None, None if math.isnan(score) else score

    def skip(self, count: int) -> None:
        """Add so many empty lists."""
        self._lists.skip(count)

    def cut(self, count: int) -> None:
        """Keep the first `count` lists."""
        items = self._lists.cut(count)
        del self._ids[items:], self._names[items:], self._values[items:]

    def build(self) -> Any:
        """The column as an Arrow array."""
        items = pa.StructArray.from_arrays(
            [_texts(self._ids), _texts(self._names), _floats(self._values)],
            fields=list(CONCEPTS.value_type),
        )
        return self._lists.build(items, CONCEPTS)


class RegionColumn:
    """A dense column of lists of regions without their masks: boxes, labels and scores.

    The lists are open to `region_rows`, which fills them: a method call here for each of a million detections would
    cost as much as the detection.
    """

    __slots__ = ("_lists", "bbox", "bbox_rel", "ids", "indexes", "labels", "scores", "track_ids")

    def __init__(self) -> None:
        self._lists = _Lists()
        self.indexes: list[int] = []
        self.ids: list[str | None] = []
        self.track_ids: list[str | None] = []
        self.labels: list[str | None] = []
        self.scores: list[float | None] = []
        self.bbox = FloatListColumn()
        self.bbox_rel = FloatListColumn()

    def close(self) -> int:
        """End the list of a row; returns how many regions it holds."""
        length = len(self.indexes) - self._lists.total
        self._lists.close(length)
        return length

    def close_rows(self, lengths: Sequence[int]) -> None:
        """End the lists of several rows, whose regions were all added."""
        self._lists.close_all(lengths)

    def skip(self, count: int) -> None:
        """Add so many empty lists, when no list is open."""
        self._lists.skip(count)

    def cut(self, count: int) -> None:
        """Keep the first `count` lists, and drop what belongs to a list that was not closed."""
        items = self._lists.cut(count)
        for column in (self.indexes, self.ids, self.track_ids, self.labels, self.scores):
            del column[items:]
        self.bbox.cut(items)
        self.bbox_rel.cut(items)

    def build(self) -> Any:
        """The column as an Arrow array."""
        items = pa.StructArray.from_arrays(
            [
                pa.array(self.indexes, pa.int32()),
                pa.array(self.ids, pa.string()),
                pa.array(self.track_ids, pa.string()),
                pa.array(self.labels, pa.string()),
                pa.array(self.scores, pa.float32()),
                self.bbox.build(),
                self.bbox_rel.build(),
            ],
            fields=list(REGIONS.value_type),
        )
        return self._lists.build(items, REGIONS)
