"""What a figure is, and the one pass after another over a table in which all of its figures are counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..tables import Table

__all__ = ["Figure", "Maker", "count_figures"]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A counted figure.

    Attributes:
        key: its name in the page.
        title: what is counted.
        about: what to look for, a sentence.
        kind: bars (a row has a name) | columns (rows are bins in order) | line (rows are moments) | table.
        columns: names of the values; the first names the row, the second is what is drawn.
        rows: as the query gives them.
        sql: the query for DuckDB that gives the same rows.
        labels: the rows' names for a person; by default the first value as text.
        step: of columns, from one bin to the next; 0 where each is twice as wide as the one before.
    """

    key: str
    title: str
    about: str
    kind: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    sql: str
    labels: list[str] | None = None
    step: float = 0


class Maker(Protocol):
    """Counts one figure in two passes over the batches of a table.

    Attributes:
        columns: what it reads, paths inside lists included.
    """

    @property
    def columns(self) -> Sequence[str]: ...

    def look(self, batch: Any) -> None:
        """The first pass: ranges and extremes."""

    def count(self, batch: Any) -> None:
        """The second pass: counts within what the first one found."""

    def figure(self) -> Figure | None:
        """What was counted; None where there is nothing to show."""


def count_figures(table: Table, makers: Sequence[Maker]) -> list[Figure]:
    """Count the figures of a table.

    Raises:
        StoreError: a file of the table cannot be read.
    """
    columns = list(dict.fromkeys(column for maker in makers for column in maker.columns))
    for name in ("look", "count"):
        passes = [getattr(maker, name) for maker in makers]
        for batch in table.batches(columns) if makers else ():
            for add in passes:
                add(batch)
    return list(_present(maker.figure() for maker in makers))


def _present(figures: Iterable[Figure | None]) -> Iterable[Figure]:
    return (figure for figure in figures if figure is not None)
