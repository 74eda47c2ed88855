"""Merges the small files of the tables into large ones that hold the same rows, and prepares their way into sight."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import StoreError
from ...runs.parts import TABLES, final_name, run_id_of
from ...storage.files import Entry
from ...storage.store import Store
from ..commit.steps import Step
from ..files import RollingWriter, read_batches

__all__ = ["Merged", "merge_small", "owned_by", "small_files"]

#: As in a commit: rows of an input leave before they come, and masks come before their prediction.
_GOING = {"errors": 1, "predictions": 2, "masks": 3}
_COMING = {"masks": 4, "predictions": 5, "errors": 6}


class Merged(NamedTuple):
    """Small files that became fewer.

    Attributes:
        steps: that bring the new ones in place of the old ones.
        gone: paths of the old ones.
        jobs: paths of the new ones, each with the fingerprint of its job.
    """

    steps: list[Step]
    gone: list[str]
    jobs: dict[str, str]


def small_files(files: Mapping[str, Sequence[Entry]], limit: float) -> list[Entry]:
    """The files with rows that are smaller than `limit` bytes."""
    return [
        entry
        for entries in files.values()
        for entry in entries
        if entry.size < limit and not entry.path.endswith("-empty.parquet")
    ]


def merge_small(
    store: Store,
    run_id: str,
    ready: str,
    files: Sequence[Entry],
    jobs: Mapping[str, str],
    *,
    target: int,
) -> Merged:
    """Write merged files out of readers' sight; files of several jobs, partitions or schemas do not mix.

    Args:
        ready: directory for prepared files.
        files: that may be merged, in the order of their rows.
        jobs: the fingerprint of each file's job.
        target: bytes that a file aims for.

    Raises:
        StoreError: a file cannot be read or written.
    """
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in files:
        key = (entry.path.rpartition("/")[0], jobs[entry.path], _form(store, entry.path))
        groups.setdefault(key, []).append(entry)
    gone: list[str] = []
    made: dict[str, tuple[str, str, int]] = {}  # path: (prepared, job, bytes)
    numbers = itertools.count()
    for (directory, job, _), entries in groups.items():
        if len(entries) < 2:
            continue
        targets: list[str] = []

        def name(targets: list[str] = targets, directory: str = directory) -> str:
            targets.append(f"{directory}/{final_name(run_id, next(numbers))}")
            return f"{ready}/{targets[-1]}"

        written = _merged(store, run_id, entries, name, target)
        made |= {
            path: (f"{ready}/{path}", job, size) for path, (_, _, size) in zip(targets, written, strict=True)
        }
        gone += [entry.path for entry in entries]
    jobs_made = {path: job for path, (_, job, _) in made.items()}
    steps = list(_swaps(store, ready, gone, list(made)) or _moves(gone, made))
    return Merged(steps, gone, jobs_made)


def _form(store: Store, path: str) -> str:
    """What two files must share to be one: the names and types of their columns."""
    with store.telling("read", path), store.open(path) as file:
        return str(
            pq.read_schema(pa.PythonFile(file, mode="r")).to_string(
                show_field_metadata=True, show_schema_metadata=False
            )
        )


def _merged(
    store: Store, run_id: str, entries: Sequence[Entry], name: Any, target: int
) -> list[tuple[str, int, int]]:
    writer: RollingWriter | None = None
    total = float(sum(entry.size for entry in entries))
    for entry in entries:
        with _telling(store, entry.path):
            for number, batch in enumerate(read_batches(store, entry.path)):
                if writer is None:
                    metadata = {**(batch.schema.metadata or {}), b"bulkinfer.run_id": run_id.encode()}
                    schema = batch.schema.with_metadata(metadata)
                    writer = RollingWriter(store, name, schema, total_bytes=total, file_bytes=target)
                writer.add(batch.replace_schema_metadata(schema.metadata), 0.0 if number else entry.size)
    if writer is None:
        return []
    writer.close()
    return writer.files


@contextlib.contextmanager
def _telling(store: Store, path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise StoreError(
            f"cannot read {store.url(path)}: {' '.join(str(error).split())[:200]}; restore the file, or delete it and "
            "run the job again"
        ) from error


def _swaps(store: Store, ready: str, gone: Sequence[str], made: Sequence[str]) -> list[Step]:
    """On a local disk a whole table changes by two renames: its other files stand in the new directory as hard links.

    Empty where the disk knows no hard links.
    """
    if not store.is_local:
        return []
    changed = [table for table in TABLES if any(path.startswith(f"{table}/") for path in gone)]
    away = set(gone)
    try:
        for table in changed:
            for entry in store.find(table):
                if entry.path not in away:
                    link = Path(store.full_path(f"{ready}/{entry.path}"))
                    link.parent.mkdir(parents=True, exist_ok=True)
                    os.link(store.full_path(entry.path), link)
    except OSError:
        return []
    return [
        Step(_GOING[table], f"{ready}/{table}", table, replaces=True, tree=True)
        for table in sorted(changed, key=_GOING.__getitem__)
    ]


def _moves(gone: Sequence[str], made: Mapping[str, tuple[str, str, int]]) -> Iterator[Step]:
    """Elsewhere the old files go, and then the new ones come: no row is seen twice."""

    def table(path: str) -> str:
        return path.partition("/")[0]

    for path in sorted(gone, key=lambda path: _GOING[table(path)]):
        yield Step(_GOING[table(path)], None, path)
    for path in sorted(made, key=lambda path: _COMING[table(path)]):
        source, _, size = made[path]
        yield Step(_COMING[table(path)], source, path, size)


def owned_by(files: Mapping[str, Sequence[Entry]], runs: set[str]) -> list[Entry]:
    """The files with rows that one of these runs wrote."""
    found = (entry for entries in files.values() for entry in entries if run_id_of(entry.path) in runs)
    return [entry for entry in found if not entry.path.endswith("-empty.parquet")]
