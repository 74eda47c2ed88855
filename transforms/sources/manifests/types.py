"""Which types the columns of a manifest's file have: of its footer, or of all its rows."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...kept.types import BEYOND, FAR_BEYOND, kept_field, one_field
from ...kept.values import is_utf8

__all__ = ["RowTypes", "footer_types"]

_BLOCK = 1000
_EXACT = 2**53  #: whole numbers up to here are exact as doubles
_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NS_YEARS = (1678, 2261)
_NO_TYPE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)


class RowTypes:
    """Gathers the types of columns from rows of JSON, whose every row may have another.

    Args:
        names: of the columns.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._blocks: dict[str, list[Any]] = {name: [] for name in names}
        self._fields: dict[str, Any] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Take one row."""
        for name, block in self._blocks.items():
            value = values.get(name)
            if value is not None:
                block.append(value)
                if len(block) == _BLOCK:
                    self._close(name)

    def _close(self, name: str) -> None:
        block, self._blocks[name] = self._blocks[name], []
        if block:
            field = _field_of(name, block)
            known = self._fields.get(name)
            self._fields[name] = field if known is None else one_field(known, field)

    def schema(self) -> Any:
        """The columns that hold values, with their types."""
        for name in self._blocks:
            self._close(name)
        return pa.schema([self._fields[name] for name in self._blocks if name in self._fields])


def _field_of(name: str, values: list[Any]) -> Any:
    """The field of some values of JSON; JSON text where they have no type in common."""
    try:
        kind = pa.array(values).type
    except UnicodeEncodeError:  # half a pair of surrogates: its row is told when it is read
        return _field_of(name, [value for value in values if is_utf8(value)])
    except _NO_TYPE:
        return kept_field(name, pa.string(), json=True)
    if pa.types.is_floating(kind) and any(type(value) is bool for value in values):
        return kept_field(name, pa.string(), json=True)
    large = pa.types.is_integer(kind) and (max(values) > _EXACT or min(values) < -_EXACT)
    return kept_field(name, kind, values=BEYOND if large else "")


def footer_types(parquet: pq.ParquetFile, names: Sequence[str]) -> Any:
    """The columns of a Parquet file with their types, and what its footer tells of their values."""
    schema, metadata = parquet.schema_arrow, parquet.metadata
    at = {metadata.schema.column(index).path: index for index in range(len(metadata.schema))}
    fields = []
    for name in names:
        if name in schema.names:
            kind = schema.field(name).type
            fields.append(kept_field(name, kind, values=_size_of(metadata, at.get(name), kind)))
    return pa.schema(fields)


def _size_of(metadata: Any, column: int | None, kind: Any) -> str:
    """Whether a column's values are beyond what wider types hold; yes where the footer does not say."""
    if pa.types.is_integer(kind) and kind.bit_width == 64:
        low, high = -_EXACT, _EXACT
    elif pa.types.is_timestamp(kind) and kind.unit != "ns":
        low, high = (_year(year, kind.unit) for year in _NS_YEARS)
    else:
        return ""
    if column is None:
        return FAR_BEYOND
    least, most = low, high
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(column)
        stats = chunk.statistics
        if stats is not None and stats.null_count == chunk.num_values:
            continue
        if stats is None or not stats.has_min_max:
            return FAR_BEYOND
        try:
            least, most = min(least, _number(stats.min, kind)), max(most, _number(stats.max, kind))
        except (ValueError, OverflowError):
            return FAR_BEYOND
    return "" if (least, most) == (low, high) else BEYOND


def _year(year: int, unit: str) -> int:
    return int(datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc).timestamp()) * _SECOND[unit]


def _number(value: Any, kind: Any) -> int:
    if isinstance(value, datetime.datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        return int(zoned.timestamp()) * _SECOND[kind.unit]
    return int(value)
