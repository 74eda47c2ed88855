"""Assigns rows to Hive partitions, and sorts a table by them."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..kept.folders import hive_path
from ..kept.values import python_values
from ..runs.parts import OutputSpec, partition_bytes
from ..runs.record import RunRecord

__all__ = ["Split", "constant_of", "partition_of_inputs", "split_rows"]


class Split(NamedTuple):
    """A table sorted by partition.

    Attributes:
        table: the rows, without the partition keys as columns.
        ranges: (partition, number of rows) in order; a partition is named by its directory,
            "city=Bern/date=2026-01-31".
    """

    table: Any
    ranges: tuple[tuple[str, int], ...]


def constant_of(name: str, spec: OutputSpec | RunRecord) -> str:
    """Get the value of a key that is constant in a run: `date`, its day (UTC), or `model`, its model's id."""
    if name == "date":
        day = spec.run_id[:8]
        if day.isdigit():
            return f"{day[:4]}-{day[4:6]}-{day[6:]}"
        return datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return spec.model_url.partition("/models/")[2].partition("/")[0] or "unknown"


def partition_of_inputs(
    predictions: Any, inputs: NDArray[np.int64], spec: OutputSpec
) -> tuple[NDArray[np.int32], list[str]]:
    """Find the partition of each input that has rows in `predictions`.

    Args:
        predictions: rows with the kept columns among them.
        inputs: shape (rows,), the number of each row's input.
        spec: names the partition keys.

    Returns:
        For each input number an index into the list of partition directories, which is returned too; inputs without
        rows have 0.
    """
    kept = {field.name for field in spec.keep_schema or ()}
    names = spec.partition_by
    columns = {name: predictions.column(name) for name in names if name in kept}
    size = int(inputs.max()) + 1 if len(inputs) else 0
    by_input = np.zeros(size, np.int32)
    constants = {name: constant_of(name, spec) for name in names if name not in kept}
    most = partition_bytes(spec.store(), spec.run_id)
    if not columns:
        return by_input, [hive_path(names, [constants[name] for name in names], most)]
    paths: dict[str, int] = {}
    codes = np.zeros(predictions.num_rows, np.int64)
    uniques: list[list[Any]] = []
    for column in columns.values():
        encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
        uniques.append(python_values(encoded.dictionary))
        codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
    distinct, inverse = np.unique(codes, return_inverse=True)
    table = np.empty(len(distinct), np.int32)
    for number, code in enumerate(distinct.tolist()):
        values = dict(constants)
        for name, unique in zip(reversed(list(columns)), reversed(uniques), strict=True):
            code, index = divmod(code, len(unique))  # noqa: PLW2901  (the digits of a mixed-radix number)
            values[name] = unique[index]
        path = hive_path(names, [values[name] for name in names], most)
        table[number] = paths.setdefault(path, len(paths))
    by_input[inputs] = table[inverse.reshape(-1)]
    return by_input, list(paths)


def split_rows(
    table: Any, inputs: NDArray[np.int64], by_input: NDArray[np.int32], paths: list[str], spec: OutputSpec
) -> Split:
    """Sort rows by partition and drop the partition keys."""
    codes = by_input[inputs]
    rank = np.empty(len(paths), np.int32)
    rank[np.argsort(np.array(paths))] = np.arange(len(paths), dtype=np.int32)
    order = np.argsort(rank[codes], kind="stable")
    table = table.drop_columns([name for name in spec.partition_by if name in table.column_names])
    if not np.array_equal(order, np.arange(len(order))):
        table = table.take(pa.array(order))
    counts = np.bincount(codes, minlength=len(paths))
    names = sorted(range(len(paths)), key=lambda number: paths[number])
    ranges = tuple((paths[number], int(counts[number])) for number in names if counts[number])
    return Split(table, ranges)
