"""Counts of equal values: the commonest first, and of how many the latest run wrote."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..tables import quoted
from .figure import Figure

__all__ = ["Counted", "Texts", "column"]

_MOST_DISTINCT = 100_000  #: of free text every value may be another: what comes later is left out
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Texts:
    """Where the values come from.

    Attributes:
        columns: to read, besides run_id.
        of: the values of a batch as an array of strings, nulls included, and the row of the batch of each.
        sql: an expression of the same values in DuckDB.
        source: what stands behind FROM.
    """

    columns: Sequence[str]
    of: Callable[[Any], tuple[Any, Any]]
    sql: str
    source: str


class Counted:
    """Counts equal values.

    Args:
        key, title, about: see `Figure`.
        values: what is counted.
        what: what a value stands for.
        latest: the latest run, whose rows are counted beside all; "" where it is the only one.
        repeated: only what occurs more than once.
    """

    def __init__(
        self,
        key: str,
        title: str,
        about: str,
        values: Texts,
        *,
        what: str,
        latest: str = "",
        repeated: bool = False,
    ) -> None:
        self._key, self._title, self._about = key, title, about
        self._values, self._what, self._latest, self._repeated = values, what, latest, repeated
        self._all: Counter[str] = Counter()
        self._new: Counter[str] = Counter()

    @property
    def columns(self) -> Sequence[str]:
        return (*self._values.columns, "run_id")

    def look(self, batch: Any) -> None:
        """Nothing: one pass is enough."""

    def count(self, batch: Any) -> None:
        values, rows = self._values.of(batch)
        self._add(self._all, values)
        if self._latest:
            runs = batch.column("run_id") if rows is None else pc.take(batch.column("run_id"), rows)
            self._add(self._new, values.filter(pc.equal(runs, self._latest)))

    def figure(self) -> Figure | None:
        top = sorted(self._all.items(), key=lambda one: (-one[1], one[0]))[:_SHOWN]
        rows: list[tuple[Any, ...]] = [one for one in top if one[1] > 1 or not self._repeated]
        if not rows:
            return None
        share = rows[0][1] / self._all.total()
        columns: tuple[str, ...] = ("value", self._what)
        if self._latest:
            columns = (*columns, "latest_run")
            rows = [(value, count, self._new[value]) for value, count in rows]
        about = f"{self._about} The commonest is {share:.1%} of all."
        return Figure(self._key, self._title, about, "bars", columns, rows, self._sql())

    def _add(self, counts: Counter[str], values: Any) -> None:
        for pair in pc.value_counts(values.drop_null()).to_pylist():
            if pair["values"] in counts or len(counts) < _MOST_DISTINCT:
                counts[pair["values"]] += pair["counts"]

    def _sql(self) -> str:
        also = f", count(*) FILTER (run_id = {quoted(self._latest)}) AS latest_run" if self._latest else ""
        having = " HAVING count(*) > 1" if self._repeated else ""
        return (
            f"SELECT value, count(*) AS {self._what}{also}\n"
            f"FROM (SELECT {self._values.sql} AS value, run_id FROM {self._values.source})\n"
            f"WHERE value IS NOT NULL GROUP BY 1{having} ORDER BY 2 DESC, 1 LIMIT {_SHOWN}"
        )


def column(name: str, table: str) -> Texts:
    """A column of a table, cast to text."""

    def of(batch: Any) -> tuple[Any, Any]:
        values = batch.column(name)
        return (values if pa.types.is_string(values.type) else values.cast(pa.string())), None

    return Texts((name,), of, f"CAST({name} AS VARCHAR)", table)
