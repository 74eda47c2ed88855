"""Which rows a report shows: at random, where the model is least sure, the largest, the most regions, of each label."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bulkinfer.transforms.tables.input_index import IdLookup, hash_column
from numpy.typing import NDArray

from ..tables import Key, Table

__all__ = ["Choice", "choose"]

_SPREAD = 6  #: of a page of labels, the share of one label at most


@dataclasses.dataclass(frozen=True)
class Choice:
    """Rows that were chosen, the first one first.

    Attributes:
        key: its name in the page.
        title: for a person.
        keys: of the rows.
        sql: the query for DuckDB that names the same rows; "" where the tables alone do not tell them.
    """

    key: str
    title: str
    keys: tuple[Key, ...]
    sql: str = ""


def choose(
    predictions: Table,
    masks: Table,
    *,
    count: int,
    start: int = 0,
    labels: Sequence[str] = (),
    latest: str = "",
    known: IdLookup | None = None,
) -> list[Choice]:
    """Choose rows in all ways that the tables allow.

    Args:
        predictions: the table.
        masks: the table.
        count: rows of each choice.
        start: how many rows of each choice are left out, those that an earlier page has shown.
        labels: of which rows are shown.
        latest: the latest run.
        known: inputs that runs before it had done; None where it is the first.

    Raises:
        StoreError: a file of a table cannot be read.
    """
    if count < 1:
        return []
    page, chosen = _Page(count, start), _Chosen(start + count, labels, latest, known)
    for batch in predictions.batches(_COLUMNS):
        chosen.add(batch)
    largest = _Best(start + count)
    for batch in masks.batches(("input_id", "output_index", "area")):
        _add_largest(largest, batch)
    sql = predictions.sql
    sure = f"isfinite({_SURE})"
    found = [
        page.of("random", "Random", chosen.random, _by(sql, _RANDOM, page)),
        page.of("least_sure", "Least sure", chosen.least_sure, _by(sql, f"{_SURE}, 1, 2", page, sure)),
        page.of("largest", "Largest mask", largest, _largest_sql(masks.sql, page)),
        page.of(
            "most_regions", "Most regions", chosen.most_regions, _by(sql, _MOST, page, "num_regions > 0")
        ),
        _of_labels(chosen.labels, page),
        page.of("new", "New in the latest run", chosen.new),
        page.of("again", "Done again in the latest run", chosen.again),
    ]
    return [choice for choice in found if choice.keys]


_COLUMNS = (
    "input_id",
    "output_index",
    "run_id",
    "label",
    "score",
    "num_regions",
    "regions.list.element.score",
    "regions.list.element.label",
)
_RANDOM = "md5(input_id || '#' || output_index), 1, 2"
_MOST = "num_regions DESC, 1, 2"
_SURE = "CAST(coalesce(score, (SELECT min(r.score) FROM unnest(regions) AS t(r))) AS DOUBLE)"


class _Best:
    """The first so many rows by their rank."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._found: dict[Key, Any] = {}

    def add(self, ranks: NDArray[Any], keys: Sequence[Key]) -> None:
        """Add rows of a batch, each once; of equal keys of several batches the best rank counts."""
        near = np.arange(len(ranks))
        if len(ranks) > self._size:
            near = np.flatnonzero(ranks <= np.partition(ranks, self._size - 1)[self._size - 1])
        for number in near.tolist():
            rank, key = ranks[number], keys[number]
            if key not in self._found or rank < self._found[key]:
                self._found[key] = rank
        if len(self._found) > self._size:
            self._found = dict(heapq.nsmallest(self._size, self._found.items(), key=lambda one: one[::-1]))

    def keys(self) -> list[Key]:
        return [key for key, _ in sorted(self._found.items(), key=lambda one: one[::-1])]


class _Chosen:
    """What is chosen of the predictions, batch after batch."""

    def __init__(self, size: int, labels: Sequence[str], latest: str, known: IdLookup | None) -> None:
        self._latest, self._known = latest, known
        self.random, self.least_sure, self.most_regions = _Best(size), _Best(size), _Best(size)
        self.new, self.again = _Best(size), _Best(size)
        self.labels = {label: _Best(size) for label in labels}

    def add(self, batch: Any) -> None:
        ids, indexes = (batch.column(name).to_pylist() for name in _COLUMNS[:2])
        keys = list(zip(ids, indexes, strict=True))
        md5 = [hashlib.md5(f"{key}#{index}".encode(), usedforsecurity=False).digest() for key, index in keys]
        ranks = np.array(md5, "S16")
        self.random.add(ranks, keys)
        sure = _sureness(batch)
        _add(self.least_sure, sure, keys, np.isfinite(sure))
        regions = batch.column("num_regions").to_numpy(zero_copy_only=False)
        _add(self.most_regions, -regions, keys, regions > 0)
        for label, rows in _rows_of(batch, list(self.labels)):
            _add(self.labels[label], ranks, keys, rows)
        mine = pc.equal(batch.column("run_id"), self._latest).to_numpy(zero_copy_only=False)
        if self._known is not None and mine.any():
            seen = self._known.find(hash_column(batch.column("input_id"))) >= 0
            _add(self.new, ranks, keys, mine & ~seen)
            _add(self.again, ranks, keys, mine & seen)


def _add(best: _Best, ranks: NDArray[Any], keys: Sequence[Key], keep: NDArray[np.bool_]) -> None:
    rows = np.flatnonzero(keep)
    best.add(ranks[rows], [keys[number] for number in rows.tolist()])


def _rows_of(batch: Any, labels: list[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """For each label the rows that have it, themselves or in a region."""
    if not labels:
        return
    known = pa.array(labels, pa.string())
    own = pc.index_in(batch.column("label"), value_set=known).fill_null(-1).to_numpy()
    regions = batch.column("regions")
    flat = pc.struct_field(pc.list_flatten(regions), "label")
    codes = pc.index_in(flat, value_set=known).fill_null(-1).to_numpy()
    parents = pc.list_parent_indices(regions).to_numpy()
    for code, label in enumerate(labels):
        rows = own == code
        rows[parents[codes == code]] = True
        yield label, rows


@dataclasses.dataclass(frozen=True)
class _Page:
    """A page of each choice."""

    count: int
    start: int

    def of(self, key: str, title: str, best: _Best, sql: str = "") -> Choice:
        return Choice(key, title, tuple(best.keys()[self.start : self.start + self.count]), sql)

    @property
    def sql(self) -> str:
        return f"LIMIT {self.count}" + (f" OFFSET {self.start}" if self.start else "")


def _of_labels(labels: dict[str, _Best], page: _Page) -> Choice:
    """A few rows of each label: the first of all of them, then the second, so that every label is seen."""
    start, each = page.start // _SPREAD, -(-page.count // _SPREAD)
    found = [best.keys()[start : start + each] for best in labels.values()]
    keys = dict.fromkeys(key for row in itertools.zip_longest(*found) for key in row if key)
    return Choice("labels", "Of each label", tuple(keys)[: page.count])


def _sureness(batch: Any) -> NDArray[np.float64]:
    """The score of each row; where it has none the least of its regions, else infinity."""
    scores = batch.column("score").cast(pa.float64())
    missing = scores.is_null().to_numpy(zero_copy_only=False)
    sure: NDArray[np.float64] = scores.fill_null(np.inf).to_numpy(zero_copy_only=False).copy()
    regions = batch.column("regions")
    flat = pc.struct_field(pc.list_flatten(regions), "score").cast(pa.float64()).fill_null(np.inf)
    least = np.full(len(sure), np.inf)
    np.fmin.at(least, pc.list_parent_indices(regions).to_numpy(), flat.to_numpy(zero_copy_only=False))
    sure[missing] = least[missing]
    return sure


def _add_largest(largest: _Best, batch: Any) -> None:
    table = pa.Table.from_batches([batch.filter(pc.greater(batch.column("area"), 0))])
    found = table.group_by(["input_id", "output_index"]).aggregate([("area", "max")])
    keys = zip(*(found.column(name).to_pylist() for name in ("input_id", "output_index")), strict=True)
    largest.add(-found.column("area_max").to_numpy(), list(keys))


def _by(sql: str, order: str, page: _Page, where: str = "") -> str:
    keep = f"\nWHERE {where}" if where else ""
    return f"SELECT input_id, output_index FROM {sql}{keep}\nORDER BY {order} {page.sql}"


def _largest_sql(sql: str, page: _Page) -> str:
    return (
        f"SELECT input_id, output_index FROM {sql} WHERE area > 0\n"
        f"GROUP BY 1, 2 ORDER BY max(area) DESC, 1, 2 {page.sql}"
    )
