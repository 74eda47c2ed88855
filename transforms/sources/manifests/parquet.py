"""Parquet files as manifests: cut by row group, read in batches."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError
from ...storage.filesystems import Filesystems, local_path
from .files import FileScan, Manifest, Row, Split, hash_id, open_manifest

__all__ = ["open_parquet", "parquet_rows", "scan_parquet"]


def open_parquet(manifest: Manifest, filesystems: Filesystems) -> pq.ParquetFile:
    path = local_path(manifest.path)
    try:
        return pq.ParquetFile(path if path is not None else open_manifest(manifest, filesystems))
    except pa.ArrowInvalid as error:
        raise SourceError(f"{manifest.path} is no Parquet file: {error}") from None


def parquet_rows(file: pq.ParquetFile, split: Split, columns: Sequence[str]) -> Iterator[Row]:
    left, skip, line = split.rows, split.skip, split.line
    if not columns:
        yield from (Row(line + index, {}) for index in range(left))
        return
    for batch in file.iter_batches(batch_size=256, row_groups=[split.start], columns=list(columns)):
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
    return result
