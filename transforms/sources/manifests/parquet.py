"""Parquet files as manifests: cut by row group, read in batches."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError
from ...storage.filesystems import Filesystems, local_path
from .files import FileScan, Manifest, Row, Split, check_unchanged, hash_id, open_manifest

__all__ = ["common_schema", "is_mixed", "mixed", "open_parquet", "parquet_rows", "plain_type", "scan_parquet"]

#: So many footers are read before a job; a table of more files is judged by the first ones.
FOOTERS = 1000
_THREADS = 16
_MIXED = {b"bulkinfer": b"json text"}


def open_parquet(manifest: Manifest, filesystems: Filesystems) -> pq.ParquetFile:
    """Open a file whose version is the one of the listing.

    Raises:
        SourceError: it is no Parquet file, or was changed since it was listed.
        OSError: it cannot be read.
    """
    path = local_path(manifest.path)
    try:
        parquet = pq.ParquetFile(path if path is not None else open_manifest(manifest, filesystems))
    except (pa.ArrowInvalid, OSError) as error:
        check_unchanged(manifest, filesystems)
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise SourceError(f"{manifest.path} is no Parquet file: {reason}") from None
    check_unchanged(manifest, filesystems)
    return parquet


def common_schema(
    manifests: Sequence[Manifest], filesystems: Filesystems, required: Collection[str]
) -> pa.Schema:
    """One type for each column over all files of a table: their own, or a wider one that loses nothing, else `mixed`.

    Args:
        required: columns that each file with rows must have.

    Raises:
        SourceError: a file cannot be read as Parquet, or lacks a required column.
    """

    def footer(manifest: Manifest) -> pa.Schema:
        with open_parquet(manifest, filesystems) as file:
            schema = file.schema_arrow
            missing = sorted(set(required) - set(schema.names) - set(manifest.partitions))
            if missing and file.metadata.num_rows:
                raise SourceError(
                    f"{manifest.path} has no column {missing[0]!r}, which other files of the table have; take the file "
                    "out of the table, or write it again"
                )
            return schema

    with ThreadPoolExecutor(_THREADS) as pool:
        schemas = list(pool.map(footer, manifests[:FOOTERS]))
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for field in schema:
            kinds.setdefault(field.name, []).append(plain_type(field.type))
    common = {name: _common_type(found) for name, found in kinds.items()}
    return pa.schema([pa.field(name, kind) if kind else mixed(name) for name, kind in common.items()])


def mixed(name: str) -> pa.Field:
    """A column whose values have no common type: it is kept as JSON text, by which none is changed."""
    return pa.field(name, pa.string(), metadata=_MIXED)


def is_mixed(field: pa.Field) -> bool:
    """Whether a column's values are kept as JSON text."""
    return bool(field.metadata == _MIXED)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A column's type without its dictionary, which is only how a file stores it."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _common_type(kinds: Sequence[pa.DataType]) -> pa.DataType | None:
    """The type that holds all values of these; None where each would lose some."""
    distinct = list(dict.fromkeys(kind for kind in kinds if not pa.types.is_null(kind)))
    if len(distinct) < 2:
        return distinct[0] if distinct else pa.null()
    if all(map(pa.types.is_integer, distinct)):
        signed = any(map(pa.types.is_signed_integer, distinct))
        return None if signed and pa.uint64() in distinct else pa.int64() if signed else pa.uint64()
    if all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in distinct):
        # A float64 holds whole numbers of 53 bits.
        exact = all(pa.types.is_floating(kind) or kind.bit_width <= 32 for kind in distinct)
        return pa.float64() if exact else None
    if all(pa.types.is_string(kind) or pa.types.is_large_string(kind) for kind in distinct):
        return pa.string()
    return None


def parquet_rows(file: pq.ParquetFile, split: Split, columns: Sequence[str]) -> Iterator[Row]:
    left, skip, line = split.rows, split.skip, split.line
    columns = [name for name in columns if name in file.schema_arrow.names]  # a column that later files have
    if not columns:
        yield from (Row(line + index, {}) for index in range(left))
        return
    for batch in file.iter_batches(batch_size=256, row_groups=[split.start], columns=columns):
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        for values in batch.slice(skip, left).to_pylist():
            yield Row(line, values)
            line, left = line + 1, left - 1
        skip = 0
        if not left:
            return


def scan_parquet(
    manifest: Manifest,
    file: int,
    key: str,
    filesystems: Filesystems,
    *,
    limit: int | None,
    rows_per_split: int,
) -> FileScan:
    result = FileScan([], array("q"), array("q"))
    line = 1
    with open_parquet(manifest, filesystems) as parquet:
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if limit is not None:
                rows = min(rows, limit - line + 1)
            if rows < 1:
                break
            ids = parquet.read_row_group(group, columns=[key]).column(0).slice(0, rows)
            result.hashes.extend(hash_id(value, line + at, file) for at, value in enumerate(ids.to_pylist()))
            result.lines.extend(range(line, line + rows))
            # Every piece decodes its row group from the beginning, so a group is cut into a few pieces only.
            step = max(rows_per_split, -(-rows // 8))
            for skip in range(0, rows, step):
                result.splits.append(Split(file, group, 0, line + skip, min(step, rows - skip), skip))
            line += rows
    check_unchanged(manifest, filesystems)
    return result
