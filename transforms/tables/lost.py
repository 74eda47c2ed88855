"""Finds the inputs whose rows are gone, because somebody removed a table file that a run's record names.

Their runs still list them as finished; without this they would stand in no table for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..runs.parts import RUNS, commit_path, index_directory
from ..runs.record import RunRecord
from ..storage.store import Store
from .commit.plan import INDEX_ROWS
from .commit.replace import read_columns, visible_files
from .commit.steps import read_plan
from .input_index import IdLookup, InputIndex, hash_column

__all__ = ["LostFiles", "lost_files"]


class LostFiles(NamedTuple):
    """The table files of one run: those that are gone, and those that are still there."""

    gone: tuple[str, ...]
    left: tuple[str, ...]

    def inputs(self, store: Store, run: RunRecord, index: InputIndex) -> NDArray[np.bool_]:
        """Tell which inputs of the run's index have lost rows; shape (n,).

        Raises:
            StoreError: a file that is left cannot be read.
        """
        gone = {path.partition("/")[0] for path in self.gone}
        lost = np.zeros(len(index), bool)
        failed = index.error_codes >= 0
        if "errors" in gone:
            lost |= failed & ~_holds(self._ids(store, "errors"), index)
        if "predictions" in gone:
            several = run.counts.get("prediction_rows", 0) > run.counts.get("predictions", 0)
            lost |= ~failed & ~_holds(self._ids(store, "predictions", whole=several), index)
        if "masks" in gone:
            # Only predictions tell which inputs had regions; one without rows there is lost already.
            with_regions = _holds(self._ids(store, "predictions", column="num_regions"), index)
            lost |= with_regions & ~_holds(self._ids(store, "masks", whole=True), index)
        return lost

    def _ids(self, store: Store, table: str, *, whole: bool = False, column: str = "") -> Iterator[Any]:
        """Yield the ids of each file of a table that is left.

        Args:
            whole: leave out those whose rows may go on in a file that is gone, before or after.
            column: only of rows in which this column is above 0.
        """
        files = sorted((path for path in self.gone + self.left if path.startswith(f"{table}/")), key=_place)
        gone = set(self.gone)
        for number, path in enumerate(files):
            if path in gone:
                continue
            rows = read_columns(store, path, ["input_id", *([column] if column else [])])
            ids = hash_column(rows.column("input_id"))
            if column:
                ids = ids[rows.column(column).to_numpy() > 0]
            kept = np.ones(len(ids), bool)
            if whole and number and files[number - 1] in gone:
                kept &= (ids != ids[:1]).any(axis=1)
            if whole and number + 1 < len(files) and files[number + 1] in gone:
                kept &= (ids != ids[-1:]).any(axis=1)
            yield ids[kept]


def lost_files(store: Store, runs: Sequence[RunRecord]) -> Mapping[str, LostFiles]:
    """Find, by run, the table files that its record names and that are gone.

    Args:
        runs: all runs at the output.

    Raises:
        StoreError: the index of a run is gone as well, so that nobody can tell what it did.
    """
    _check_indexes(store, runs)
    named = {path for run in runs for path in run.files}
    if not named:
        return {}
    there = {entry.path for entries in visible_files(store).values() for entry in entries}
    gone = named - there
    if gone:
        gone -= set(_removed(store, runs))
    return {
        run.run_id: LostFiles(
            tuple(path for path in run.files if path in gone),
            tuple(path for path in run.files if path in there),
        )
        for run in runs
        if not gone.isdisjoint(run.files)
    }


def _removed(store: Store, runs: Sequence[RunRecord]) -> Collection[str]:
    """List the files that later commits removed, a commit under way included."""
    removed = {path for run in runs for path in run.removed}
    for run in runs:
        if not run.committed and store.exists(commit_path(run.run_id)):
            path = commit_path(run.run_id)
            removed.update(read_plan(store.read(path), store.url(path)).removed)
    return removed


def _check_indexes(store: Store, runs: Sequence[RunRecord]) -> None:
    found: dict[str, int] = {}
    for entry in store.find(RUNS):
        folder = entry.path.rpartition("/")[0]
        found[folder] = found.get(folder, 0) + 1
    for run in runs:
        least = run.counts.get("index_files", -(-run.counts.get("inputs", 0) // INDEX_ROWS))
        wanted = least if run.committed and not run.folded_into else 0
        folder = index_directory(run.run_id)
        if found.get(folder, 0) < wanted:
            raise StoreError(
                f"{store.url(folder)} lacks files, so that nobody can tell which inputs run {run.run_id} did; restore "
                "them, or move the whole output away and start anew"
            )


def _holds(groups: Iterator[Any], index: InputIndex) -> NDArray[np.bool_]:
    ids = [*groups, np.empty((0, 2), np.uint64)]
    return IdLookup(np.concatenate(ids)).find(index.ids) >= 0


def _place(path: str) -> tuple[int, str]:
    """Sort files in the order in which they were written; numbers have five digits or more."""
    return len(path.rpartition("-")[2]), path.rpartition("-")[2]
