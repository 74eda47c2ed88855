"""Files without rows for tables that are empty: readers' file patterns fail where they match nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from ...kept.folders import NULL_FOLDER, hive_path
from ...rows.footers import footer_metadata
from ...rows.schemas import errors_schema, masks_schema, predictions_schema
from ...runs.parts import final_name
from ...runs.record import RunRecord
from ...storage.store import Entry, Store
from ..files import write_parquet
from ..partitions import constant_of
from .columns import KeptColumns
from .merge import NewFile

__all__ = ["empty_tables", "some_partition", "without_rows"]

_SUFFIX = "-empty.parquet"


def empty_tables(
    store: Store, record: RunRecord, columns: KeptColumns, tables: Sequence[str], ready: str, partition: str
) -> Iterator[NewFile]:
    """Prepare a file without rows for each of these tables.

    Args:
        partition: the folder for those that have partitions: readers want the same keys in every path.
    """
    kept = pa.schema([field for field in columns.schema if field.name not in record.partition_by])
    schemas: dict[str, Any] = {
        "predictions": predictions_schema(kept),
        "masks": masks_schema(),
        "errors": errors_schema(),
    }
    for table in tables:
        schema = schemas[table]
        footer = footer_metadata(schema, run_id=record.run_id, model_url=record.model_url or None)
        source = f"{ready}/{table}{_SUFFIX}"
        size = write_parquet(store, source, schema.with_metadata(footer).empty_table(), record.file_bytes)
        folder = f"{table}/{partition}" if partition and table != "errors" else table
        yield NewFile(source, f"{folder}/{final_name(record.run_id, None)}", rows=0, size=size)


def some_partition(record: RunRecord, predictions: Sequence[str]) -> str:
    """Name a partition's folder, "" where there are none.

    Args:
        predictions: paths of files of that table. A folder of theirs is taken, since a join compares the keys; one
            without nulls where there is one, because PyArrow's datasets refuse a table whose key is null in every path.
    """
    folders = sorted({path.partition("/")[2].rpartition("/")[0] for path in predictions})
    if folders:
        return min(folders, key=lambda folder: NULL_FOLDER in folder)
    kept = {field.name for field in record.keep_schema or ()}
    values = ["none" if name in kept else constant_of(name, record) for name in record.partition_by]
    return hive_path(record.partition_by, values)


def without_rows(entries: Sequence[Entry]) -> list[Entry]:
    """Those of some files that hold no rows."""
    return [entry for entry in entries if entry.name.endswith(_SUFFIX)]
