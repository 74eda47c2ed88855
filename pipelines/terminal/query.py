"""One query to paste: it asks for what the tables of an output hold, whichever run wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bulkinfer.transforms.storage.store import Store

__all__ = ["telling_query"]

#: Columns of `predictions` that are shown as they are, the first that is filled.
_SHOWN = ("text", "json", "string_value", "int_value", "float_value", "bool_value", "tool_calls")


def telling_query(store: Store, output: str) -> str:
    """A DuckDB query whose answer tells something about the output; "" where no table has rows.

    Args:
        store: of the output.
        output: its directory, as the query names it.

    Raises:
        StoreError: the store fails.
    """
    if _filled(store, "masks"):
        return (
            "SELECT input_id, count(*) AS masks, max(area) AS largest "
            f"FROM '{output}/masks/**/*.parquet' GROUP BY 1 ORDER BY 2 DESC, 3 DESC LIMIT 5"
        )
    columns = _filled(store, "predictions")
    table = f"'{output}/predictions/**/*.parquet'"
    if "label" in columns:
        return f"SELECT label, count(*) AS inputs, avg(score) AS score FROM {table} GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
    if "embedding" in columns:
        return f"SELECT input_id, len(embedding) AS numbers FROM {table} LIMIT 5"
    if columns:
        shown = next((name for name in _SHOWN if name in columns), "latency_ms")
        return f"SELECT input_id, {shown} FROM {table} LIMIT 5"
    if not _filled(store, "errors"):
        return ""
    return (
        "SELECT error_type, count(*) AS inputs, any_value(message) AS example "
        f"FROM '{output}/errors/**/*.parquet' GROUP BY 1"
    )


def _filled(store: Store, table: str) -> set[str]:
    """The columns that hold something in the latest file of a table that has rows; none where it has none."""
    for entry in sorted(store.find(table), key=lambda entry: entry.name, reverse=True):
        if entry.path.endswith(".parquet") and not entry.path.endswith("-empty.parquet"):
            with store.open(entry.path) as file:
                return set(_columns(pq.read_metadata(pa.PythonFile(file, mode="r"))))
    return set()


def _columns(footer: Any) -> Iterator[str]:
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            known = column.statistics
            if known is None or known.null_count is None or known.null_count < column.num_values:
                yield column.path_in_schema.partition(".")[0]
