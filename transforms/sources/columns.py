"""Checks that a manifest or table has the columns that a job names."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import pyarrow as pa

from ..errors import SourceError
from ..job.config import ColumnsConfig
from .manifests.files import Manifest

__all__ = ["check_columns"]


def check_columns(
    columns: ColumnsConfig,
    needed: Collection[str],
    manifest: Manifest,
    schema: pa.Schema,
    partitions: Collection[str],
) -> None:
    """Check every column that the job names.

    Args:
        columns: the job's `source.columns`.
        needed: columns that the model's arguments name.
        manifest: the file to name in messages.
        schema: its columns.
        partitions: columns that folders of the table name.

    Raises:
        SourceError: a column is missing, or inputs cannot be told apart by the one that names them.
    """
    named: dict[str, str | None] = {
        "source.columns.uri": columns.uri,
        "source.columns.content": columns.content,
        "source.columns.id": columns.id,
        "source.columns.version": columns.version,
    }
    for place, name in named.items():
        if name is not None:
            _require(name, place, manifest, schema)
    for kept in columns.kept.values():
        _require(kept, "source.columns.keep", manifest, schema)
    for asked in sorted(needed):
        _require(asked, "model.arguments", manifest, schema)
    if (columns.id or columns.uri) in partitions:
        raise SourceError(
            f"source.columns: {columns.id or columns.uri!r} is a partition, which many rows share; name a "
            "column whose values differ from row to row as the id"
        )


def _require(name: str, place: str, manifest: Manifest, schema: pa.Schema) -> None:
    if name in schema.names:
        return
    close = difflib.get_close_matches(name, schema.names, 1, 0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise SourceError(
        f"{place} names the column {name!r}, but {manifest.path} has "
        f"{', '.join(schema.names) or 'no columns'}{hint}"
    )
