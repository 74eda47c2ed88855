"""One table of an output, read file by file in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import FSSpecHandler, PyFileSystem

from ...errors import StoreError
from ...storage.store import Store

__all__ = ["Table", "open_table"]

_ROWS = 4096


class Table:
    """The files of a table.

    Args:
        store: of the output.
        name: predictions, masks or errors.
        paths: of the files.
    """

    def __init__(self, store: Store, name: str, paths: Sequence[str]) -> None:
        self._store, self._paths = store, paths
        with store.telling("read", name):
            self.dataset = ds.dataset(
                [store.full_path(path) for path in paths],
                filesystem=PyFileSystem(FSSpecHandler(store.filesystem)),
                format="parquet",
                partitioning="hive",
                partition_base_dir=store.full_path(name),
            )
            self._folders = {
                fragment.path: ds.get_partition_keys(fragment.partition_expression)
                for fragment in self.dataset.get_fragments()
            }

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Record batches of these columns, or of all; one that a file lacks is empty.

        One file is open at a time, without threads: theirs would outlive a fault and end the interpreter.

        Raises:
            StoreError: a file cannot be read, or is gone since it was listed.
        """
        schema = self.dataset.schema
        asked = list(dict.fromkeys(columns)) if columns is not None else schema.names
        for path in self._paths:
            folders = self._folders.get(self._store.full_path(path), {})
            try:
                with self._store.open(path) as file:
                    reader = pq.ParquetFile(pa.PythonFile(file, mode="r"))
                    there = [name for name in asked if name in reader.schema_arrow.names]
                    for batch in reader.iter_batches(_ROWS, columns=there, use_threads=False):
                        yield _completed(batch, asked, folders, schema)
            except (FileNotFoundError, pa.ArrowException) as error:
                what = "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
                raise StoreError(
                    f"{self._store.url(path)} {what}: a run may have replaced it meanwhile, or somebody changed it by "
                    "hand; try again"
                ) from error


def open_table(store: Store, name: str) -> Table | None:
    """A table; None where it has no file.

    Raises:
        StoreError: the store cannot be listed, or a file is no Parquet.
    """
    paths = sorted(entry.path for entry in store.find(name) if entry.path.endswith(".parquet"))
    return Table(store, name, paths) if paths else None


def _completed(batch: Any, asked: Sequence[str], folders: dict[str, Any], schema: Any) -> Any:
    arrays = []
    for name in asked:
        if name in batch.schema.names:
            arrays.append(batch.column(name))
        else:  # in the name of its folder, or in no file of an older version
            kind = schema.field(name).type if name in schema.names else pa.null()
            arrays.append(pa.array([folders.get(name)] * batch.num_rows, kind))
    return pa.RecordBatch.from_arrays(arrays, asked)
