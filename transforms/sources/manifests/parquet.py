"""Parquet files as manifests: cut by row group, read in batches."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError
from ...kept.types import one_schema
from ...kept.values import python_values
from ...storage.filesystems import Filesystems, local_path
from .files import FileScan, Manifest, Row, Split, check_unchanged, hash_id, open_manifest
from .types import footer_types

__all__ = ["FOOTERS", "common_schema", "open_parquet", "parquet_rows", "read_parquet", "scan_parquet"]

#: So many footers are read before a job.
FOOTERS = 1000
_THREADS = 16
_TOLD = 3


def open_parquet(manifest: Manifest, filesystems: Filesystems, *, int96: str | None = None) -> pq.ParquetFile:
    """Open a file whose version is the one of the listing.

    Args:
        int96: the unit of times that are stored as INT96.

    Raises:
        SourceError: it is no Parquet file, or was changed since it was listed.
        OSError: it cannot be read.
    """
    path = local_path(manifest.path)
    try:
        source = path if path is not None else open_manifest(manifest, filesystems)
        parquet = pq.ParquetFile(source, coerce_int96_timestamp_unit=int96)
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
    """One type for each column over all files of a table; of more files than `FOOTERS` as many, evenly spread.

    Args:
        required: columns that each file with rows must have.

    Raises:
        SourceError: files cannot be read as Parquet, or lack a required column.
    """

    def footer(manifest: Manifest) -> pa.Schema | str:
        try:
            with open_parquet(manifest, filesystems) as file:
                names = file.schema_arrow.names
                if not file.metadata.num_rows:
                    return pa.schema([])
                missing = sorted(set(required) - set(names) - set(manifest.partitions))
                if missing:
                    return f"{manifest.path} has no column {missing[0]!r}"
                return footer_types(file, names)
        except (SourceError, pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            return " ".join(str(error).split())[:300]

    step = max(1.0, len(manifests) / FOOTERS)
    chosen = [manifests[int(at * step)] for at in range(min(len(manifests), FOOTERS))]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(footer, chosen))
    faults = [one for one in found if isinstance(one, str)]
    if faults:
        more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        raise SourceError(
            f"of {len(chosen)} Parquet files {len(faults)} cannot be read: {'; '.join(faults[:_TOLD])}{more}; "
            "take them out of the table, or write them again"
        )
    return one_schema(found)


def read_parquet(
    manifest: Manifest, split: Split, columns: Sequence[str], filesystems: Filesystems
) -> Iterator[Row]:
    """The rows of one piece, with the values of those of the columns that the file has."""
    with open_parquet(manifest, filesystems) as file:
        if not _int96(file, columns):
            yield from parquet_rows(file, split, columns)
            return
        with open_parquet(manifest, filesystems, int96="us") as micros:
            yield from parquet_rows(file, split, columns, micros)


def _int96(file: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
    """Columns of the old type of Impala and Spark, whose times may lie where nanoseconds wrap round in silence."""
    found = map(file.metadata.schema.column, range(len(file.metadata.schema)))
    return [column.path for column in found if column.physical_type == "INT96" and column.path in columns]


def parquet_rows(
    file: pq.ParquetFile, split: Split, columns: Sequence[str], micros: pq.ParquetFile | None = None
) -> Iterator[Row]:
    """The rows of one piece of an open file.

    Args:
        micros: the same file, whose INT96 times are read as microseconds.
    """
    left, skip, line = split.rows, split.skip, split.line
    columns = [name for name in columns if name in file.schema_arrow.names]  # a column that later files have
    if not columns:
        yield from (Row(line + index, {}) for index in range(left))
        return
    asked: dict[str, Any] = {"batch_size": 256, "row_groups": [split.start]}
    coarse: Any = itertools.repeat(None)
    if micros is not None:
        coarse = micros.iter_batches(**asked, columns=_int96(file, columns))
    for batch, times in zip(file.iter_batches(**asked, columns=columns), coarse, strict=False):
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        rows = batch.slice(skip, left)
        read = [python_values(column) for column in rows.columns]
        for name in times.schema.names if times is not None else ():
            at = rows.schema.names.index(name)
            read[at] = _unwrapped(read[at], rows.column(at), times.slice(skip, left).column(name))
        for values in zip(*read, strict=True):
            yield _row(line, rows.schema.names, values)
            line, left = line + 1, left - 1
        skip = 0
        if not left:
            return


def _unwrapped(values: list[Any], nanos: pa.Array, micros: pa.Array) -> list[Any]:
    fine, coarse = (times.cast(pa.int64()).fill_null(0).to_numpy() for times in (nanos, micros))
    return [
        value if fits or value is None else ValueError("is a time before 1678 or after 2261")
        for value, fits in zip(values, (fine // 1000 == coarse).tolist(), strict=True)
    ]


def _row(line: int, names: Sequence[str], values: Sequence[Any]) -> Row:
    for name, value in zip(names, values, strict=True):
        if isinstance(value, ValueError):
            return Row(line, {}, f"has a value in the column {name!r} that {value}")
    return Row(line, dict(zip(names, values, strict=True)))


def scan_parquet(
    manifest: Manifest,
    file: int,
    key: str,
    filesystems: Filesystems,
    *,
    kept: Sequence[str] = (),
    limit: int | None,
    rows_per_split: int,
) -> FileScan:
    result = FileScan([], array("q"), array("q"))
    line = 1
    with open_parquet(manifest, filesystems) as parquet:
        result.kept = footer_types(parquet, kept) if parquet.metadata.num_rows else None
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if limit is not None:
                rows = min(rows, limit - line + 1)
            if rows < 1:
                break
            ids = parquet.read_row_group(group, columns=[key]).column(0).slice(0, rows)
            result.hashes.extend(hash_id(value, line + at, file) for at, value in enumerate(_ids(ids)))
            result.lines.extend(range(line, line + rows))
            # Every piece decodes its row group from the beginning, so a group is cut into a few pieces only.
            step = max(rows_per_split, -(-rows // 8))
            for skip in range(0, rows, step):
                result.splits.append(Split(file, group, 0, line + skip, min(step, rows - skip), skip))
            line += rows
    check_unchanged(manifest, filesystems)
    return result


def _ids(column: pa.ChunkedArray) -> list[Any]:
    """Ids, which are compared by their texts; a row whose id cannot be read is like no other."""
    values = itertools.chain.from_iterable(map(python_values, column.chunks))
    return [None if isinstance(value, ValueError) else value for value in values]
