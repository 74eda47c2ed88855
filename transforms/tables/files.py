"""Reads and writes table files: Parquet for visible rows, Arrow IPC for staged rows of several partitions.

A staged file with several partitions holds record batches of one partition each. Parquet would need a row group a
partition, and a footer of 500 row groups takes 30 MB of memory and 50 ms to open; an IPC file finds a batch by its
index.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..rows.schemas import parquet_options
from ..storage.store import Store

__all__ = ["BATCH_ROWS", "RollingWriter", "group_rows", "read_batches", "write_ipc", "write_parquet"]

_GROUP_ROWS = 16_384
_GROUP_BYTES = 32_000_000
_LEAST_GROUP_BYTES = 500_000  #: below that, the some 30 kB of footer that a row group costs would matter
_FOOTER_BYTES = 500  #: of one column in one row group
BATCH_ROWS = 8192


def group_rows(rows: int, nbytes: int, file_bytes: int) -> int:
    """Choose the rows of one row group: 16,384, or fewer where rows are large or files small."""
    limit = min(_GROUP_BYTES, max(_LEAST_GROUP_BYTES, file_bytes // 8))
    return max(1, min(_GROUP_ROWS, int(limit / max(1.0, nbytes / max(1, rows)))))


def write_parquet(store: Store, path: str, table: Any, file_bytes: int) -> int:
    """Write a table as one Parquet file; returns its size in bytes."""
    rows = group_rows(table.num_rows, table.nbytes, file_bytes)

    def write(file: IO[bytes]) -> int:
        sink = pa.PythonFile(file, mode="w")
        with pq.ParquetWriter(sink, table.schema, **parquet_options(table.schema)) as writer:
            if table.num_rows:  # Hugging Face datasets read as many rows at once as the first row group has
                writer.write_table(table, row_group_size=rows)
        return int(sink.tell())

    return store.create(path, write)


def write_ipc(store: Store, path: str, table: Any, rows: Sequence[int]) -> int:
    """Write consecutive groups of rows to an Arrow IPC file, no record batch across two groups; returns its size."""
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    table = table.combine_chunks()

    def write(file: IO[bytes]) -> int:
        sink = pa.PythonFile(file, mode="w")
        with pa.ipc.new_file(sink, table.schema, options=options) as writer:
            start = 0
            for count in rows:
                writer.write_table(table.slice(start, count), max_chunksize=BATCH_ROWS)
                start += count
        return int(sink.tell())

    return store.create(path, write)


def read_batches(store: Store, path: str) -> Iterator[Any]:
    """Yield the rows of a Parquet file as tables of at most 8192 rows, one row group in memory at a time."""
    with store.open(path) as file:
        reader = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=not store.is_local)
        for number in range(reader.metadata.num_row_groups):
            group = reader.read_row_group(number).replace_schema_metadata(reader.schema_arrow.metadata)
            for start in range(0, group.num_rows, BATCH_ROWS):
                yield group.slice(start, BATCH_ROWS)


class RollingWriter:
    """Writes rows to Parquet files of about the same size, one after another.

    Files go to a directory that no reader looks at, so they are only synced, not renamed; on a remote store each
    is written to a temporary local file first, so that an upload can be tried again.

    Args:
        store: of the output.
        name: returns the path of the next file.
        schema: of all files, with its metadata.
        total_bytes: estimate of all rows' bytes; files are sized so that the last one is not much smaller.
        file_bytes: size to aim for.
    """

    def __init__(
        self, store: Store, name: Callable[[], str], schema: Any, *, total_bytes: float, file_bytes: int
    ) -> None:
        self._store, self._name, self._schema = store, name, schema
        self._file_bytes = file_bytes
        self._total, self._taken, self._made = total_bytes, 0.0, 0
        self._held_bytes = 0.0
        self._target = self._even(total_bytes)
        self._held: list[Any] = []
        self._rows = 0
        self._nbytes = 0
        self._open: tuple[str, IO[bytes], Any, Any] | None = None
        self._written = 0
        self._groups = 0
        self._group_footer = float(_FOOTER_BYTES * _leaves(schema))
        self.files: list[tuple[str, int, int]] = []  #: (path, rows, bytes) of each finished file

    def add(self, table: Any, nbytes: float = 0.0) -> None:
        """Add rows that stand for so many of `total_bytes`."""
        self._held.append(table)
        self._held_bytes += nbytes
        self._rows += table.num_rows
        self._nbytes += table.nbytes
        if self._rows >= group_rows(self._rows, self._nbytes, self._file_bytes):
            self._write_held()

    def close(self) -> None:
        """Write the held rows and finish the last file."""
        self._write_held()
        self._finish()

    def abandon(self) -> None:
        """Discard the open file; finished ones stay."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _even(self, left: float) -> float:
        """Choose the size of the next file so that the bytes left make files of equal size."""
        size = left / max(1, round(left / self._file_bytes))
        return min(max(size, 0.85 * self._file_bytes), 1.15 * self._file_bytes)

    def _write_held(self) -> None:
        if not self._rows:
            return
        table = pa.concat_tables(self._held).combine_chunks()
        step = group_rows(self._rows, self._nbytes, self._file_bytes)
        row_bytes = self._held_bytes / self._rows
        self._held, self._rows, self._nbytes, self._held_bytes = [], 0, 0, 0.0
        for start in range(0, table.num_rows, step):
            group = table.slice(start, step)
            path, _, sink, writer = self._open or self._start()
            with self._store.telling("write", path):
                writer.write_table(group, row_group_size=step)
            self._written += group.num_rows
            self._groups += 1
            self._taken += row_bytes * group.num_rows
            size = sink.tell() + self._groups * self._group_footer
            # Finish the file when one more row group would bring it farther from the target size.
            if size + size / self._groups / 2 >= self._target:
                self._finish()

    def _start(self) -> tuple[str, IO[bytes], Any, Any]:
        path = self._name()
        with self._store.telling("write", path):
            file: IO[bytes]
            if self._store.is_local:
                local = Path(self._store.full_path(path))
                local.parent.mkdir(parents=True, exist_ok=True)
                file = local.open("wb")
            else:
                file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by _finish)
            sink = pa.PythonFile(file, mode="w")
            writer = pq.ParquetWriter(sink, self._schema, **parquet_options(self._schema))
        self._open = (path, file, sink, writer)
        return self._open

    def _finish(self) -> None:
        if self._open is None:
            return
        path, file, sink, writer = self._open
        self._open = None
        with self._store.telling("write", path), file:
            body = int(sink.tell())
            writer.close()
            size = int(sink.tell())
            file.flush()
            if self._store.is_local:
                os.fsync(file.fileno())
            else:
                self._upload(path, file)
        self.files.append((path, self._written, size))
        self._made += size
        if self._taken:
            # The estimate is in bytes of staged files, which are larger or smaller than these.
            self._target = self._even((self._total - self._taken) * self._made / self._taken)
        self._group_footer = (size - body) / max(1, self._groups)
        self._written = self._groups = 0

    def _upload(self, path: str, file: IO[bytes]) -> None:
        def send(target: IO[bytes]) -> None:
            file.seek(0)
            while block := file.read(1 << 22):
                target.write(block)

        self._store.create(path, send)


def _leaves(kind: Any) -> int:
    """Count the leaf columns that Parquet makes of a schema or a type."""
    if isinstance(kind, pa.Schema) or pa.types.is_struct(kind):
        return sum(_leaves(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _leaves(kind.value_type)
    return 1
