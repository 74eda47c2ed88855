"""Figures of few numbers: how many rows there are, how they failed, which masks look wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..tables import Table, quoted
from .figure import Figure

__all__ = ["Failures", "OddMasks", "RowCount", "Tokens", "totals"]

_TINY = 10  #: pixels below which a mask shows nothing


class RowCount:
    """Counts the rows of a table, and of the predictions the inputs, of which each has a first output."""

    def __init__(self, table: Table) -> None:
        first = table.name == "predictions"
        self.columns: Sequence[str] = ("run_id", "output_index") if first else ("run_id",)
        self.rows = self.inputs = 0

    def look(self, batch: Any) -> None:
        self.rows += batch.num_rows
        if "output_index" in self.columns:
            self.inputs += pc.sum(pc.equal(batch.column("output_index"), 0)).as_py() or 0

    def count(self, batch: Any) -> None:
        """Nothing: one pass is enough."""

    def figure(self) -> Figure | None:
        return None


def totals(counts: Sequence[tuple[Table, RowCount]]) -> Figure | None:
    """How many rows the tables hold."""
    rows: list[tuple[Any, ...]] = []
    parts = []
    for table, found in counts:
        if not table:
            continue
        if table.name == "predictions":
            rows.append(("inputs", found.inputs))
            parts.append(f"SELECT 'inputs' AS what, count(*) AS n FROM {table.sql} WHERE output_index = 0")
        rows.append((table.name, found.rows))
        parts.append(f"SELECT {quoted(table.name)} AS what, count(*) AS n FROM {table.sql}")
    if not rows:
        return None
    return Figure(
        "totals",
        "What the tables hold",
        "Inputs that succeeded, and the rows of each table.",
        kind="table",
        columns=("what", "n"),
        rows=rows,
        sql="\nUNION ALL ".join(parts),
    )


class Failures:
    """Counts failed inputs by stage and type, with the first of each by its id as an example."""

    columns: Sequence[str] = ("stage", "error_type", "retryable", "input_id", "message")

    def __init__(self, table: str) -> None:
        self._table = table
        self._found: dict[tuple[str, str], tuple[int, int, str, str]] = {}

    def look(self, batch: Any) -> None:
        """Nothing: one pass is enough."""

    def count(self, batch: Any) -> None:
        columns = (batch.column(name).to_pylist() for name in self.columns)
        for stage, kind, retryable, key, message in zip(*columns, strict=True):
            count, again, first, said = self._found.get((stage, kind), (0, 0, key, message))
            if key < first:
                first, said = key, message
            self._found[stage, kind] = (count + 1, again + bool(retryable), first, said)

    def figure(self) -> Figure | None:
        rows = [(kind, found[0], stage, *found[1:]) for (stage, kind), found in self._found.items()]
        if not rows:
            return None
        return Figure(
            "failures",
            "Failed inputs by type",
            "Each with the first input by name, and what it says.",
            kind="bars",
            columns=("error_type", "inputs", "stage", "retryable", "example", "message"),
            rows=sorted(rows, key=lambda row: (-row[1], row[0], row[2])),
            sql=(
                "SELECT error_type, count(*) AS inputs, stage, count(*) FILTER (retryable) AS retryable,\n"
                "  min(input_id) AS example, arg_min(message, input_id) AS message\n"
                f"FROM {self._table} GROUP BY error_type, stage ORDER BY 2 DESC, 1, 3"
            ),
        )


class OddMasks:
    """Counts masks that show nothing, next to nothing or everything, and those that cannot be read."""

    columns: Sequence[str] = ("area", "segmentation.size.list.element", "note")
    _NAMES = ("masks", "empty", "tiny", "whole_picture", "unreadable")

    def __init__(self, table: str) -> None:
        self._table = table
        self._counts = np.zeros(len(self._NAMES), np.int64)

    def look(self, batch: Any) -> None:
        """Nothing: one pass is enough."""

    def count(self, batch: Any) -> None:
        area = batch.column("area").cast(pa.int64())
        sizes = pc.struct_field(batch.column("segmentation"), "size")
        whole = pc.multiply(_element(sizes, 0), _element(sizes, 1))
        unreadable = pc.starts_with(batch.column("note").cast(pa.string()), "unreadable")
        tiny = pc.and_(pc.greater(area, 0), pc.less(area, _TINY))
        flags = (pc.equal(area, 0), tiny, pc.equal(area, whole), unreadable)
        self._counts += [batch.num_rows, *(pc.sum(one).as_py() or 0 for one in flags)]

    def figure(self) -> Figure | None:
        if not self._counts[1:].any():
            return None
        return Figure(
            "odd_masks",
            "Masks that look wrong",
            f"Empty ones, those of less than {_TINY} pixels, those of everything, and those that cannot be read.",
            kind="table",
            columns=self._NAMES,
            rows=[tuple(self._counts.tolist())],
            sql=(
                f"SELECT count(*) AS masks, count(*) FILTER (area = 0) AS empty,\n"
                f"  count(*) FILTER (area > 0 AND area < {_TINY}) AS tiny,\n"
                "  count(*) FILTER (area = segmentation.size[1] * segmentation.size[2]) AS whole_picture,\n"
                f"  count(*) FILTER (note LIKE 'unreadable%') AS unreadable\nFROM {self._table}"
            ),
        )


class Tokens:
    """Sums the tokens of the rows that each run wrote."""

    columns: Sequence[str] = ("run_id", "prompt_tokens", "completion_tokens", "cached_tokens")

    def __init__(self, table: str) -> None:
        self._table = table
        self._sums: dict[str, list[int]] = {}

    def look(self, batch: Any) -> None:
        """Nothing: one pass is enough."""

    def count(self, batch: Any) -> None:
        table = pa.Table.from_batches([batch]).group_by("run_id")
        for row in table.aggregate([(name, "sum") for name in self.columns[1:]]).to_pylist():
            sums = self._sums.setdefault(row["run_id"], [0, 0, 0])
            for number, name in enumerate(self.columns[1:]):
                sums[number] += row[f"{name}_sum"] or 0

    def figure(self) -> Figure | None:
        if not any(map(any, self._sums.values())):
            return None
        sums = ", ".join(f"CAST(coalesce(sum({name}), 0) AS BIGINT) AS {name}" for name in self.columns[1:])
        return Figure(
            "tokens",
            "Tokens by run",
            "Of the rows that are in the table now, by the run that wrote them.",
            kind="table",
            columns=tuple(self.columns),
            rows=[(run, *sums) for run, sums in sorted(self._sums.items())],
            sql=f"SELECT run_id, {sums}\nFROM {self._table} GROUP BY 1 ORDER BY 1",
        )


def _element(lists: Any, index: int) -> Any:
    """An element of each list of two, null where the list is null."""
    filled = pc.if_else(pc.equal(pc.list_value_length(lists), 2), lists, pa.scalar([0, 0], lists.type))
    return pc.list_element(filled, index).cast(pa.int64())
