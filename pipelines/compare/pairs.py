"""Joins the predictions of two outputs by input and output index; of each row it keeps what is compared of all rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from bulkinfer.transforms.tables.input_index import IdLookup, hash_column, hash_ids
from numpy.typing import NDArray

from ..report.tables import Key, Table

__all__ = ["LABEL", "Pairs", "Side", "join", "keys_at"]

#: What is compared as a label, in DuckDB's SQL.
LABEL = "coalesce(label, CAST(bool_value AS VARCHAR))"
_COLUMNS = ("input_id", "output_index", "label", "bool_value", "score", "text", "num_regions")
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass
class Side:
    """The rows of one output, in the order of its table.

    Attributes:
        keys: shape (n, 2), hashes of their keys.
        labels: shape (n,), int32: index into `names`; -1 where a row has none.
        names: of the labels.
        scores: shape (n,), NaN where a row has none.
        texts: shape (n,), uint64: hashes; 0 where a row has none.
        regions: shape (n,), how many it has.
    """

    keys: NDArray[np.uint64]
    labels: NDArray[np.int32]
    names: list[str]
    scores: NDArray[np.float64]
    texts: NDArray[np.uint64]
    regions: NDArray[np.int32]

    @classmethod
    def read(cls, table: Table) -> Side:
        """Read the predictions of an output.

        Raises:
            StoreError: a file of the table cannot be read.
        """
        codes: dict[str, int] = {}
        found = [_columns(batch, codes) for batch in table.batches(_COLUMNS)]
        if not found:
            found = [_columns(pa.RecordBatch.from_pylist([], schema=_EMPTY), codes)]
        keys, labels, scores, texts, regions = (np.concatenate(one) for one in zip(*found, strict=True))
        return cls(keys, labels, list(codes), scores, texts, regions)


@dataclasses.dataclass
class Pairs:
    """The rows that both outputs have, aligned.

    Attributes:
        a: one output.
        b: the other.
        rows_a: shape (pairs,), row numbers in `a`.
        rows_b: shape (pairs,), those of the same keys in `b`.
    """

    a: Side
    b: Side
    rows_a: NDArray[np.int64]
    rows_b: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows_a)

    @property
    def only_a(self) -> int:
        """Rows that only one output has."""
        return len(self.a.keys) - len(self)

    @property
    def only_b(self) -> int:
        """Rows that only the other output has."""
        return len(self.b.keys) - len(self)

    def labels(self) -> tuple[NDArray[np.int32], NDArray[np.int32], list[str]]:
        """The labels of the pairs in which both have one, by a common list of names."""
        names = sorted({*self.a.names, *self.b.names})
        place = {name: number for number, name in enumerate(names)}
        a, b = (
            np.array([place[name] for name in side.names] + [-1], np.int32)[side.labels[rows]]
            for side, rows in ((self.a, self.rows_a), (self.b, self.rows_b))
        )
        return a, b, names


def join(a: Table, b: Table) -> Pairs:
    """Join two tables of predictions.

    Raises:
        StoreError: a file of a table cannot be read.
    """
    one, other = Side.read(a), Side.read(b)
    rows = IdLookup(one.keys).find(other.keys)
    found = np.flatnonzero(rows >= 0)
    return Pairs(one, other, rows[found], found)


def keys_at(table: Table, rows: Sequence[int]) -> dict[int, Key]:
    """The keys of rows by their numbers in a table.

    Raises:
        StoreError: a file of the table cannot be read.
    """
    wanted, found, start = np.array(sorted(rows), np.int64), {}, 0
    for batch in table.batches(("input_id", "output_index")):
        inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        for number in inside.tolist():
            row = batch.slice(number - start, 1).to_pylist()[0]
            found[number] = (row["input_id"], row["output_index"])
        start += batch.num_rows
    return found


_EMPTY = pa.schema(
    [
        ("input_id", pa.string()),
        ("output_index", pa.int32()),
        ("label", pa.string()),
        ("bool_value", pa.bool_()),
        ("score", pa.float32()),
        ("text", pa.string()),
        ("num_regions", pa.int32()),
    ]
)


def _columns(batch: Any, codes: dict[str, int]) -> tuple[NDArray[Any], ...]:
    keys = hash_column(batch.column("input_id")) if batch.num_rows else np.empty((0, 2), np.uint64)
    indexes = batch.column("output_index").to_numpy(zero_copy_only=False).astype(np.uint64)
    keys[:, 1] += indexes * _ODD
    labels = pc.coalesce(batch.column("label"), batch.column("bool_value").cast(pa.string()))
    encoded = labels.dictionary_encode()
    names = [codes.setdefault(name, len(codes)) for name in encoded.dictionary.to_pylist()]
    numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    scores = batch.column("score").cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    regions = batch.column("num_regions").to_numpy(zero_copy_only=False)
    return keys, np.array([*names, -1], np.int32)[numbers], scores, _hashes(batch.column("text")), regions


def _hashes(texts: Any) -> NDArray[np.uint64]:
    hashes = np.zeros(len(texts), np.uint64)
    given = texts.is_valid().to_numpy(zero_copy_only=False)
    # Of 2**64 hashes one is 0, which stands for no text.
    hashes[given] = np.maximum(hash_ids(_valid(texts)).reshape(-1, 2)[:, 0], np.uint64(1))
    return hashes


def _valid(texts: Any) -> Iterator[str]:
    return (text for text in texts.to_pylist() if text is not None)
