"""Rewrites older table files without the rows of inputs that a later run did again."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...errors import BulkinferError, StoreError
from ...runs.parts import TABLES, run_id_of
from ...runs.record import RunRecord
from ...storage.files import Entry
from ...storage.store import Store
from ..files import RollingWriter, read_batches
from ..input_index import IdLookup, hash_column
from .columns import KeptColumns

__all__ = ["Rewrite", "drop_older_rows", "jobs_of_files", "read_columns", "visible_files"]


class Rewrite(NamedTuple):
    """A visible file that loses rows.

    Attributes:
        table: of the file.
        target: its path.
        source: the prepared file that replaces it; None when it loses all rows and is deleted.
        dropped: rows that it loses.
    """

    table: str
    target: str
    source: str | None
    dropped: int


def visible_files(store: Store) -> dict[str, list[Entry]]:
    """List the Parquet files of each table."""
    return {
        table: [entry for entry in store.find(table) if entry.path.endswith(".parquet")] for table in TABLES
    }


def jobs_of_files(runs: Sequence[RunRecord], files: Mapping[str, Sequence[Entry]]) -> dict[str, str]:
    """The fingerprint of the job that answered in each visible file, by its path.

    Args:
        runs: all runs, in their order.
        files: the visible files.
    """
    by_run = {run.run_id: run.fingerprint for run in runs}
    told = {path: job for run in runs for path, job in run.jobs.items()}
    return {
        entry.path: told.get(entry.path, by_run.get(run_id_of(entry.path) or "", ""))
        for entries in files.values()
        for entry in entries
    }


def drop_older_rows(
    store: Store,
    files: Mapping[str, list[Entry]],
    lookup: IdLookup,
    forgotten: IdLookup,
    *,
    runs: Collection[str],
    owners: Mapping[str, str],
    stay: Collection[str] = (),
    listing_errors_of: Set[str],
    ready: str,
    columns: KeptColumns | None = None,
) -> list[Rewrite]:
    """Prepare the older files without the rows of inputs that were done again.

    Args:
        files: the visible files.
        lookup: the inputs of the new run.
        forgotten: inputs whose rows go altogether.
        runs: runs whose files may hold such inputs.
        owners: of runs that are folded, the run that answers for their files.
        stay: files whose predictions and masks of the new run's inputs stay all the same.
        listing_errors_of: runs whose errors of stage `list` are dropped as well, because a complete new listing
            replaces theirs.
        ready: directory for prepared files, which no reader looks at.
        columns: the kept columns that files of `predictions` must have; those that have others are written anew.

    Raises:
        TooNarrowError: a kept value does not fit its column.
        StoreError: a visible file cannot be read.
    """
    rewrites = []
    numbers = itertools.count()
    for table, entries in files.items():
        for entry in entries:
            wrote = run_id_of(entry.path) or ""
            run = owners.get(wrote, wrote)
            stages = table == "errors" and not listing_errors_of.isdisjoint((wrote, run))
            kept = columns if table == "predictions" else None
            holds = run in runs and (bool(len(forgotten)) or table == "errors" or entry.path not in stay)
            if not holds and not stages and kept is None:
                continue
            with _telling(store, entry.path):
                replaced = [lookup] if table == "errors" or entry.path not in stay else []
                gone = _gone(store, entry.path, [*replaced, forgotten] if holds else [], stages)
                dropped = int(gone.sum())
                if not dropped and (kept is None or not len(gone) or _fits(store, entry.path, kept)):
                    continue
                source = None
                if dropped < len(gone):
                    source = f"{ready}/{table}-old-{next(numbers):05d}.parquet"
                    _rewrite(store, entry.path, ~gone, source, kept)
            rewrites.append(Rewrite(table, entry.path, source, dropped))
    return rewrites


def read_columns(store: Store, path: str, columns: list[str]) -> Any:
    """Read columns of a visible file, text as dictionaries.

    Raises:
        StoreError: the file cannot be read.
    """
    with _telling(store, path):
        return _read(store, path, columns)


@contextlib.contextmanager
def _telling(store: Store, path: str) -> Iterator[None]:
    try:
        yield
    except BulkinferError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise StoreError(
            f"cannot read {store.url(path)}, which an earlier run wrote: "
            f"{' '.join(str(error).split())[:200]}; restore the file, or delete it and use --force"
        ) from error


def _read(store: Store, path: str, columns: list[str]) -> Any:
    with store.open(path) as file:
        reader = pq.ParquetFile(
            pa.PythonFile(file, mode="r"), read_dictionary=columns, pre_buffer=not store.is_local
        )
        return reader.read(columns=columns)


def _gone(store: Store, path: str, lookups: Sequence[IdLookup], stages: bool) -> NDArray[np.bool_]:
    table = _read(store, path, ["input_id", "stage"] if stages else ["input_id"])
    gone = np.zeros(table.num_rows, bool)
    if not table.num_rows:
        return gone
    if lookups:
        ids = hash_column(table.column("input_id"))
        gone = np.logical_or.reduce([lookup.find(ids) >= 0 for lookup in lookups])
    if stages:
        stage = table.column("stage").cast(pa.string())
        gone |= np.array([value == "list" for value in stage.to_pylist()], bool)
    return gone


def _fits(store: Store, path: str, columns: KeptColumns) -> bool:
    with store.open(path) as file:
        return columns.fit(pq.read_schema(pa.PythonFile(file, mode="r")))


def _rewrite(
    store: Store, path: str, kept: NDArray[np.bool_], target: str, columns: KeptColumns | None
) -> None:
    writer: Any = None
    start = 0
    for read in read_batches(store, path):
        batch = read if columns is None else columns.align(read)
        stop = start + batch.num_rows
        rows = batch.filter(pa.array(kept[start:stop]))
        start = stop
        if writer is None:
            # One file replaces one, whatever its size.
            writer = RollingWriter(store, lambda: target, batch.schema, total_bytes=1, file_bytes=1 << 50)
        if rows.num_rows:
            writer.add(rows)
    writer.close()
