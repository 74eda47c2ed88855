"""Plans a commit: prepares all new files out of readers' sight, and lists the changes in one file, `commit.json`.

Writing that file is the point of no return: before it nothing visible changes, and after it the changes that it lists
are carried out, by a later start if this process dies.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from ...errors import StoppedError
from ...kept.types import to_text
from ...runs.parts import (
    TABLES,
    PartManifest,
    commit_path,
    index_directory,
)
from ...runs.record import RunRecord, list_runs
from ...storage.store import Entry, Store
from ..files import write_parquet
from ..input_index import IdLookup, InputIndex, Pairs
from .adopt import adopt_segments
from .columns import KeptColumns, TooNarrowError
from .dropped import read_dropped
from .durable import durable_parts, read_index
from .empty import empty_tables, some_partition, without_rows
from .merge import BrokenPartError, NewFile, merge_table
from .replace import Rewrite, drop_older_rows, jobs_of_files, visible_files
from .steps import CommitPlan, Step

__all__ = ["INDEX_ROWS", "make_plan"]

logger = logging.getLogger(__name__)

INDEX_ROWS = 4_000_000


def make_plan(store: Store, record: RunRecord, ready: str, *, complete: bool) -> CommitPlan | None:
    """Prepare the files of a commit and plan its changes; nothing becomes visible yet.

    Args:
        record: of the run to commit.
        ready: directory for prepared files, which no reader looks at.
        complete: the run read its whole source, so listing errors of earlier runs are obsolete.

    Returns:
        The plan; None when files are missing because another process has planned this commit and is moving them.

    Raises:
        StoreError: the store fails, or a visible file of an earlier run cannot be read.
    """
    invalid: dict[str, str] = {}
    try:
        adopt_segments(store, record, invalid)
    except StoppedError:
        return None
    parts, indexes = durable_parts(store, record.run_id, invalid)
    while not (invalid and store.exists(commit_path(record.run_id))):
        try:
            plan = _prepare(store, record, parts, indexes, invalid, ready, complete=complete)
        except BrokenPartError as broken:
            invalid[broken.part_id] = broken.reason
            kept = [number for number, part in enumerate(parts) if part.part_id != broken.part_id]
            parts, indexes = [parts[number] for number in kept], [indexes[number] for number in kept]
        else:
            for part_id, reason in invalid.items():
                logger.warning(
                    "broken part, its inputs are done again: run=%s part=%s reason=%s",
                    record.run_id,
                    part_id,
                    reason,
                )
            return plan
    return None


def _prepare(
    store: Store,
    record: RunRecord,
    parts: list[PartManifest],
    indexes: list[InputIndex],
    invalid: Mapping[str, str],
    ready: str,
    *,
    complete: bool,
) -> CommitPlan:
    index, dropped = _each_once(parts, indexes)
    dropped_ids = read_dropped(store, record.run_id)
    before = [run for run in list_runs(store) if run.committed and run.run_id != record.run_id]
    columns = KeptColumns.of(record, before if len(index) else ())
    while True:
        try:
            new = {
                table: merge_table(
                    store,
                    table,
                    parts,
                    dropped,
                    run_id=record.run_id,
                    ready=ready,
                    file_bytes=record.file_bytes,
                    columns=columns if table == "predictions" else None,
                )
                for table in TABLES
            }
            rewrites, older = _replaced(
                store, record, before, index, dropped_ids, columns, ready, complete=complete
            )
            break
        except TooNarrowError as narrow:
            columns = columns.widened(narrow.name)
    deleted = {rewrite.target for rewrite in rewrites if rewrite.source is None}
    left = {table: [entry for entry in older[table] if entry.path not in deleted] for table in TABLES}
    bare = [table for table in TABLES if not new[table] and not left[table]]
    beside = [file.target for file in new["predictions"]] + [entry.path for entry in left["predictions"]]
    steps = [
        _index(store, record.run_id, index, ready),
        _add(0, empty_tables(store, record, columns, bare, ready, some_partition(record, beside))),
        *(_drop(stage, table, rewrites) for stage, table in enumerate(("errors", "predictions", "masks"), 1)),
        *(_add(stage, new[table]) for stage, table in enumerate(("masks", "predictions", "errors"), 4)),
        [Step(7, None, entry.path) for table in TABLES if new[table] for entry in without_rows(older[table])],
    ]
    errors = int((index.error_codes >= 0).sum())
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.metrics)
    counts.update(
        {
            "inputs": len(index),
            "predictions": len(index) - errors,
            "errors": errors,
            "masks": sum(file.rows for file in new["masks"]),
            "prediction_rows": sum(file.rows for file in new["predictions"]),
            "files": sum(map(len, new.values())),
            "dropped": len(dropped_ids),
            "replaced_rows": sum(rewrite.dropped for rewrite in rewrites),
        }
    )
    return CommitPlan(
        tuple(step for group in steps for step in group),
        dict(counts),
        tuple(part.part_id for part in parts),
        dict(invalid),
        to_text(columns.schema),
    )


def _each_once(
    parts: list[PartManifest], indexes: list[InputIndex]
) -> tuple[InputIndex, dict[str, IdLookup]]:
    """Choose one outcome an input, a prediction before an error; also, by part id, the inputs to leave out."""
    everything = InputIndex.concat(indexes)
    halves = np.sort(everything.ids[:, 0])
    if not (halves[1:] == halves[:-1]).any():  # as nearly always: what follows takes four times the memory
        return everything, {}
    owner = np.repeat(np.arange(len(parts)), [len(index) for index in indexes])
    # IdLookup keeps the last of equal ids: errors sort first, and of two predictions the first part's wins.
    order = np.lexsort((-owner, everything.error_codes < 0))
    ordered = everything.take(order)
    winners = np.sort(order[IdLookup(ordered.ids).order])
    lost = np.ones(len(everything), bool)
    lost[winners] = False
    dropped = {
        parts[number].part_id: IdLookup(everything.ids[lost & (owner == number)])
        for number in np.unique(owner[lost]).tolist()
    }
    return everything.take(winners), dropped


def _replaced(
    store: Store,
    record: RunRecord,
    older: list[RunRecord],
    index: InputIndex,
    dropped_ids: Pairs,
    columns: KeptColumns,
    ready: str,
    *,
    complete: bool,
) -> tuple[list[Rewrite], dict[str, list[Entry]]]:
    """Find and rewrite the older files that lose rows to this run; also returns all older files by table."""
    files = visible_files(store)
    differing = columns if columns.differs else None
    if not older and differing is None:
        return [], files
    lookup, dropped = IdLookup(index.ids), IdLookup(dropped_ids)
    touched = set()
    for run in older:
        if run.folded_into:
            continue
        for entry in store.files(index_directory(run.run_id)):
            ids = read_index(store, entry.path).ids if run.run_id not in touched else index.ids[:0]
            if (lookup.find(ids) >= 0).any() or (dropped.find(ids) >= 0).any():
                touched.add(run.run_id)
    relisted = {run.run_id for run in older if complete and record.lists_all and run.counts.get("errors")}
    if not touched and not relisted and differing is None:
        return [], files
    jobs = jobs_of_files(older, files)
    stay = {path for path, job in jobs.items() if record.beside and job != record.fingerprint}
    rewrites = drop_older_rows(
        store,
        files,
        lookup,
        dropped,
        runs=touched,
        owners={run.run_id: run.folded_into for run in older if run.folded_into},
        stay=stay,
        listing_errors_of=relisted,
        ready=ready,
        columns=differing,
    )
    return rewrites, files


def _drop(stage: int, table: str, rewrites: list[Rewrite]) -> Iterator[Step]:
    for rewrite in rewrites:
        if rewrite.table == table:
            yield Step(stage, rewrite.source, rewrite.target, replaces=True)


def _add(stage: int, files: Iterable[NewFile]) -> Iterator[Step]:
    for file in files:
        yield Step(stage, file.source, file.target, file.size)


def _index(store: Store, run_id: str, index: InputIndex, ready: str) -> Iterator[Step]:
    """Write the run's input index as prepared files: each plan has its own, so that a discarded plan leaves none."""
    for number, start in enumerate(range(0, len(index), INDEX_ROWS)):
        rows = np.arange(start, min(start + INDEX_ROWS, len(index)))
        name = f"part-{number:05d}.parquet"
        source = f"{ready}/index-{name}"
        size = write_parquet(store, source, index.take(rows).to_table(), 1 << 40)
        yield Step(0, source, f"{index_directory(run_id)}/{name}", size, replaces=True)
