"""The kept columns of the predictions table: one type over all runs, so that readers see one schema.

A commit that brings a column, or a wider type of one, writes the older files anew with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pyarrow as pa

from ...kept.types import form_of, one_schema, with_json
from ...kept.values import converted
from ...rows.footers import refitted
from ...runs.record import RunRecord

__all__ = ["KeptColumns", "TooNarrowError"]


class TooNarrowError(Exception):
    """A column's values do not fit the type that was to hold them; it becomes JSON text."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclasses.dataclass(frozen=True)
class KeptColumns:
    """The kept columns that a commit leaves in all files.

    Attributes:
        schema: all of them, the keys of partitions included.
        partition_by: those that the path holds and the files must not repeat.
        differs: whether older files, or the parts of this run, have others.
    """

    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    differs: bool = False

    @classmethod
    def of(cls, record: RunRecord, older: Iterable[RunRecord]) -> KeptColumns:
        """The columns of a run that is committed on top of older ones."""
        # By text, because hundreds of runs have the same.
        schemas = {run.keep: run for run in older if run.counts.get("inputs")}
        before = one_schema(run.keep_schema for run in schemas.values())
        own = record.keep_schema or pa.schema([])
        schema = one_schema([before, own])
        forms = {
            frozenset(form_of(field) for field in one if field.name not in record.partition_by)
            for one in (before, own, schema)
            if len(one)
        }
        return cls(schema, record.partition_by, len(forms) > 1)

    def widened(self, name: str) -> KeptColumns:
        """The same with one column as JSON text."""
        fields = [with_json(field) if field.name == name else field for field in self.schema]
        return KeptColumns(pa.schema(fields), self.partition_by, True)

    def fit(self, schema: pa.Schema) -> bool:
        """Whether a file of this schema has the columns as they shall be."""
        return all(
            field.name in schema.names and form_of(schema.field(field.name)) == form_of(field)
            for field in self._stored
        )

    @property
    def _stored(self) -> list[pa.Field]:
        return [field for field in self.schema if field.name not in self.partition_by]

    def align(self, table: pa.Table) -> pa.Table:
        """Rows of `predictions` with the columns as they shall be.

        Raises:
            TooNarrowError: a value does not fit.
        """
        if not self.differs or self.fit(table.schema):
            return table
        names = [name for name in table.column_names if name not in self.schema.names]
        fields = [table.schema.field(name) for name in names]
        arrays = [table.column(name) for name in names]
        for field in self._stored:
            fields.append(field)
            if field.name in table.column_names:
                arrays.append(_converted(table.column(field.name), table.schema.field(field.name), field))
            else:
                arrays.append(pa.nulls(table.num_rows, field.type))
        schema = refitted(pa.schema(fields, table.schema.metadata))
        return pa.Table.from_arrays(arrays, schema=schema)


def _converted(column: pa.ChunkedArray, before: pa.Field, after: pa.Field) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([converted(chunk, before, after) for chunk in column.chunks], after.type)
    except pa.ArrowException as error:
        raise TooNarrowError(after.name) from error
