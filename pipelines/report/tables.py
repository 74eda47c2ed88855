"""Reads the tables of an output: some columns of all rows in batches, or all columns of some rows."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bulkinfer.transforms.errors import StoreError
from bulkinfer.transforms.storage.files import Entry
from bulkinfer.transforms.storage.references import masked
from bulkinfer.transforms.storage.store import Store

__all__ = ["MAGIC", "Key", "Table", "quoted"]

Key = tuple[str, int]  #: an input's id and an output's index: a row of `predictions`

_BATCH_ROWS = 65_536
#: What DuckDB's patterns give a meaning, and the pattern of the same character.
MAGIC = str.maketrans({one: f"[{one}]" for one in "*?["})


class Table:
    """One of the tables, as the files that a reader sees.

    Args:
        store: of the output.
        name: predictions, masks or errors.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self.name = store, name
        self._files: list[Entry] = [one for one in store.find(name) if one.path.endswith(".parquet")]

    def __bool__(self) -> bool:
        """Whether DuckDB finds a file, without which a query over the table fails."""
        return bool(self._files)

    @property
    def sql(self) -> str:
        """The table in DuckDB's SQL."""
        root = masked(self._store.uri).translate(MAGIC)
        return quoted(f"{root}/{self.name}/**/*.parquet")

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of these columns; one inside a list is named by its path, as regions.list.element.label.

        Raises:
            StoreError: a file cannot be read, or is gone since it was listed.
        """
        for entry in self._files:
            with self._open(entry) as reader:
                names = reader.schema_arrow.names
                absent = [one for one in dict.fromkeys(map(_top, columns)) if one not in names]
                for batch in reader.iter_batches(_BATCH_ROWS, columns=list(columns)):
                    for name in absent:  # files of an older version
                        batch = batch.append_column(name, pa.nulls(batch.num_rows))  # noqa: PLW2901
                    yield batch

    def rows(
        self, keys: Collection[Key], *, without: Iterable[str] = (), only: Iterable[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """The rows of these keys; files and row groups that hold none of them are left alone.

        Args:
            keys: of the rows.
            without: columns that are not read.
            only: the columns that are; all others where none is named.

        Raises:
            StoreError: a file cannot be read, or is gone since it was listed.
        """
        ids = pa.array(sorted({key for key, _ in keys}), pa.string())
        wanted, left_out, named = set(keys), set(without), set(only)
        for entry in self._files if len(ids) else ():
            with self._open(entry) as reader:
                names = reader.schema_arrow.names
                columns = [name for name in names if name in named or not (named or name in left_out)]
                for number in range(reader.metadata.num_row_groups):
                    if not _may_hold(reader.metadata.row_group(number), ids):
                        continue
                    key = reader.read_row_group(number, columns=["input_id"]).column("input_id")
                    if not pc.any(pc.is_in(key, value_set=ids)).as_py():
                        continue
                    group = reader.read_row_group(number, columns=columns)
                    group = group.filter(pc.is_in(group.column("input_id"), value_set=ids))
                    for row in group.to_pylist():
                        if (row["input_id"], row["output_index"]) in wanted:
                            yield {**_partitions(entry.path), **row}

    @contextlib.contextmanager
    def _open(self, entry: Entry) -> Iterator[Any]:
        try:
            with self._store.open(entry.path) as file:
                source = pa.PythonFile(file, mode="r")
                yield pq.ParquetFile(source, pre_buffer=not self._store.is_local)
        except (FileNotFoundError, pa.ArrowException) as error:
            what = "is gone" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            raise StoreError(
                f"{self._store.url(entry.path)} {what}: a run may have replaced it meanwhile, or somebody changed "
                "it by hand; try again"
            ) from error


def quoted(text: str) -> str:
    """A text in DuckDB's SQL."""
    return "'" + text.replace("'", "''") + "'"


def _top(path: str) -> str:
    return path.partition(".")[0]


def _may_hold(group: Any, ids: Any) -> bool:
    """Whether a row group's statistics leave room for one of these ids, which are sorted."""
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema == "input_id":
            found = column.statistics
            if found is None or not found.has_min_max:
                return True
            least = pc.fill_null(pc.greater_equal(ids, found.min), True)
            return bool(pc.any(pc.and_(least, pc.less_equal(ids, found.max))).as_py())
    return True


def _partitions(path: str) -> dict[str, str]:
    """The values that a file's folders name."""
    pairs = (part.partition("=") for part in path.split("/")[1:-1])
    return {name: unquote(value) for name, equals, value in pairs if equals}
