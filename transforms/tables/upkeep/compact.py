"""Makes few large files of many small ones, and one index and one history of those of many runs.

Readers see no row missing or twice for longer than one rename. The protocol is in `docs/design/upkeep.md`.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import StoreError
from ...kept.types import one_schema, to_text
from ...runs.parts import commit_path, index_directory, run_directory, run_id_of
from ...runs.record import HISTORY, RunRecord, history_text, list_runs, write_run
from ...storage.files import Entry
from ...storage.store import Store
from ..commit.commit import commit_run
from ..commit.durable import JOB
from ..commit.plan import INDEX_ROWS
from ..commit.replace import jobs_of_files, visible_files
from ..commit.steps import CommitPlan, Step
from ..files import write_parquet
from ..input_index import InputIndex
from ..lost import lost_files
from ..revalidation import SEEN, Sightings
from .alive import alive_by_job
from .merging import Merged, merge_small, owned_by, small_files

__all__ = ["SMALL", "Compacted", "compact", "needs_compacting"]

logger = logging.getLogger(__name__)

#: A run compacts by itself when so many of an output's runs have directories of their own, or so many files are small.
_MOST_RUNS, _MOST_SMALL = 8, 16
SMALL = 0.1  #: share of the size that files aim for, below which a file is small


@dataclasses.dataclass(frozen=True)
class Compacted:
    """What became less: table files, and runs with a directory of their own."""

    files_before: int
    files_after: int
    runs_folded: int


def needs_compacting(store: Store, target: int) -> bool:
    """Whether an output has so many small files or runs that a run should compact it at its end."""
    runs = [run for run in list_runs(store) if not run.folded_into]
    return len(runs) > _MOST_RUNS or len(small_files(visible_files(store), SMALL * target)) > _MOST_SMALL


def compact(store: Store, run_id: str, target: int, *, all_below: float = 0.75) -> Compacted:
    """Merge small files, and fold all runs but the latest one; only the holder of the output's lock may call it.

    Args:
        run_id: of this upkeep.
        target: bytes that files aim for.
        all_below: files smaller than this share of it are merged.

    Raises:
        StoreError: a run is not committed, a file is gone, or the store fails. What is begun is brought to an end by
            the next start.
    """
    runs = list_runs(store)
    _check(store, runs)
    files = visible_files(store)
    before = sum(map(len, files.values()))
    jobs = [run for run in runs if not run.upkeep]
    folding = [run for run in runs if not run.folded_into and run.run_id != jobs[-1].run_id] if jobs else []
    if not folding or (len(folding) == 1 and folding[0].upkeep):
        return Compacted(before, before, 0)
    record = _record(run_id, runs, folding, target)
    write_run(store, record)
    ready = f"{run_directory(run_id)}/ready-{secrets.token_hex(3)}"
    store.write(commit_path(run_id), _plan(store, record, runs, folding, files, ready, all_below).to_json())
    commit_run(store, run_id)
    after = sum(map(len, visible_files(store).values()))
    logger.info("compacted: run=%s files=%d->%d runs=%d", run_id, before, after, len(folding))
    return Compacted(before, after, len(folding))


def _check(store: Store, runs: Sequence[RunRecord]) -> None:
    open_run = next((run for run in runs if not run.committed), None)
    if open_run is not None:
        raise StoreError(
            f"{store.url(open_run.path)}: the run is not committed; start its job again, then compact"
        )
    for gone in lost_files(store, runs).values():
        raise StoreError(
            f"{store.url(gone.gone[0])} is gone, and with it the rows of its inputs; start the job again, which does "
            "them again, then compact"
        )


def _record(run_id: str, runs: Sequence[RunRecord], folding: Sequence[RunRecord], target: int) -> RunRecord:
    last = folding[-1]
    return RunRecord(
        run_id=run_id,
        sequence=last.sequence,  # what it holds is older than what the latest run did
        started_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        fingerprint=last.fingerprint,
        model_url=last.model_url,
        model_version=last.model_version,
        beside=True,  # the outcomes in its index do not replace each other
        layout=runs[-1].layout,
        keep=to_text(one_schema(run.keep_schema for run in runs if run.counts.get("inputs"))),
        file_bytes=target,
        versions=last.versions,
        upkeep="compact",
    )


def _plan(
    store: Store,
    record: RunRecord,
    runs: Sequence[RunRecord],
    folding: Sequence[RunRecord],
    files: Mapping[str, Sequence[Entry]],
    ready: str,
    all_below: float,
) -> CommitPlan:
    """Prepare all files, and list the changes that bring them into sight."""
    folded = [*(run for run in runs if run.folded_into), *folding]
    order = {run.run_id: number for number, run in enumerate(folded)}
    owned = sorted(owned_by(files, set(order)), key=lambda entry: order[run_id_of(entry.path) or ""])
    by_file = jobs_of_files(runs, files)
    small = [entry for entry in owned if entry.size < all_below * record.file_bytes]
    merged = merge_small(store, record.run_id, ready, small, by_file, target=record.file_bytes)
    gone = set(merged.gone)
    jobs = {entry.path: by_file[entry.path] for entry in owned if entry.path not in gone} | merged.jobs
    alive = alive_by_job(store, folding)
    index = list(_index(store, record.run_id, alive, ready))
    history = [
        dataclasses.replace(run, folded_into=record.run_id, files=(), removed=(), parts=(), jobs={})
        for run in folded
    ]
    store.write(f"{ready}/history.json", history_text(history))
    steps = [
        *index,
        *_seen(store, record.run_id, folding, ready),
        *merged.steps,
        Step(7, f"{ready}/history.json", HISTORY, replaces=True),
        *(Step(8, None, run_directory(run.run_id), tree=True) for run in folding),
    ]
    counts = _counts(store, jobs, merged, ready, alive) | {"index_files": len(index)}
    return CommitPlan(tuple(steps), counts, (), {}, record.keep, jobs, tuple(merged.gone))


def _index(store: Store, run_id: str, alive: Mapping[str, InputIndex], ready: str) -> Iterator[Step]:
    """Write a file of the index for each job, as its footer says; large ones are divided."""
    number = 0
    for job, index in alive.items():
        for start in range(0, len(index), INDEX_ROWS):
            rows = np.arange(start, min(start + INDEX_ROWS, len(index)))
            name = f"part-{number:05d}.parquet"
            table = index.take(rows).to_table().replace_schema_metadata({JOB: job.encode()})
            size = write_parquet(store, f"{ready}/index-{name}", table, 1 << 40)
            yield Step(0, f"{ready}/index-{name}", f"{index_directory(run_id)}/{name}", size, replaces=True)
            number += 1


def _seen(store: Store, run_id: str, folding: Sequence[RunRecord], ready: str) -> Iterator[Step]:
    seen = Sightings.read(store, [run.run_id for run in folding])
    if len(seen):
        size = write_parquet(store, f"{ready}/seen.parquet", seen.to_table(), 1 << 40)
        target = f"{run_directory(run_id)}/{SEEN}/merged.parquet"
        yield Step(0, f"{ready}/seen.parquet", target, size, replaces=True)


def _counts(
    store: Store, jobs: Mapping[str, str], merged: Merged, ready: str, alive: Mapping[str, InputIndex]
) -> dict[str, int]:
    """The figures of all that the run answers for, as a commit counts them."""
    rows = {"predictions": 0, "masks": 0, "errors": 0}
    for path in jobs:
        with store.open(f"{ready}/{path}" if path in merged.jobs else path) as file:
            rows[path.partition("/")[0]] += pq.read_metadata(pa.PythonFile(file, mode="r")).num_rows
    errors = sum(int((index.error_codes >= 0).sum()) for index in alive.values())
    inputs = sum(map(len, alive.values()))
    return {
        "inputs": inputs,
        "predictions": inputs - errors,
        "errors": errors,
        "masks": rows["masks"],
        "prediction_rows": rows["predictions"],
    }
