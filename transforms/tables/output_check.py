"""Checks an output directory before a job sends anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ConfigError, StoreError
from ..kept.types import source_of
from ..rows.schemas import masks_schema
from ..runs.parts import RUNS, OutputSpec, run_id_of
from ..runs.record import RunRecord, list_runs
from ..storage.filesystems import canonical
from ..storage.store import Store
from .commit.replace import visible_files

__all__ = ["check_output", "names_as_written"]

#: The longest path of a file that a run writes, partitions aside.
_OWN_BYTES = 160
#: So many of the latest files have their footers read, by so many threads: 1,000 on S3 take two seconds.
_FOOTERS, _READERS = 1000, 32


def check_output(store: Store, spec: OutputSpec, *, write: bool) -> None:
    """Check that this job's rows can be added to the tables in the output.

    Args:
        store: of the output.
        spec: of the run to start.
        write: also test that the output is writable, by a small file that is deleted again.

    Raises:
        ConfigError: the tables there have another layout, or were not written by this tool's runs; or the values of
            a partition's column name no folders.
        StoreError: the output or one of its files cannot be read, it cannot be written, or a newer version wrote a
            record there.
    """
    _check_partitions(spec)
    if store.is_local and Path(store.full_path("")).is_file():
        raise ConfigError(
            f"output.uri: {store.uri} is a file; name a folder, which is made if it is not there"
        )
    if store.path_bytes < _OWN_BYTES:
        raise ConfigError(
            f"output.uri: {store.uri} is too long: files below it have names of up to {_OWN_BYTES} bytes, and its "
            f"store leaves {max(0, store.path_bytes)} for them; set a shorter one"
        )
    runs = list_runs(store)
    known = {run.run_id for run in runs}
    files: list[str] = []
    for table, entries in visible_files(store).items():
        for entry in entries:
            if run_id_of(entry.path) not in known:
                raise ConfigError(
                    f"output.uri: {store.url(entry.path)} was written by no run that {store.url(RUNS)} "
                    f"knows, so its rows could neither be kept apart from the job's {table} nor be skipped; "
                    "move it away, or set another output.uri"
                )
            files.append(entry.path)
    _check_readable(store, files)
    latest = next((run for run in reversed(runs) if run.committed and run.counts.get("inputs")), None)
    mine = spec.layout()
    if latest is not None and latest.layout:
        for key, what, fix in (
            ("schema_version", "tables of schema version", "use the version of bulkinfer that wrote them"),
            ("partition_by", "tables partitioned by", "set output.partition_by to the same"),
            ("keep", "kept columns", "keep these too"),
        ):
            theirs = latest.layout.get(key)
            if key == "keep" and {name for name, _ in theirs or ()} <= {name for name, _ in mine[key]}:
                continue  # further columns and wider types are brought by the commit
            if theirs != mine[key]:
                raise ConfigError(
                    f"output.uri: {store.uri} holds {what} {_words(theirs)} from run {latest.run_id}, but "
                    f"this job writes {_words(mine[key])}; {fix}, or set another output.uri"
                )
    _check_names(store, spec, runs)
    if write:
        probe = f"{RUNS}/probe-{os.urandom(4).hex()}"
        store.write(probe, b"can this be written?")
        store.remove(probe)


def names_as_written(runs: Sequence[RunRecord]) -> bool:
    """Whether the inputs at an output are named as their jobs spelt them, as before paths were made canonical.

    Another name would be another input, which is paid again, so an output keeps the names that its first run gave.
    """
    first = next((run for run in runs if _has_inputs(run)), None)
    if first is None:
        return False
    if "ids" in first.layout:
        return bool(first.layout["ids"] == "written")
    source = first.job.get("source") or {}
    files = source.get("files") or [source.get("manifest") or source.get("table") or ""]
    spelt = [files] if isinstance(files, str) else files
    return any("${" in text or canonical(text, source.get("storage") or {}) != text for text in spelt)


def _check_names(store: Store, spec: OutputSpec, runs: Sequence[RunRecord]) -> None:
    """Refuse inputs that are named relative to another folder than those there: equal names would be other files."""
    for run in runs:
        theirs = run.layout.get("relative_to")
        if theirs and spec.relative_to and theirs != spec.relative_to and _has_inputs(run):
            raise ConfigError(
                f"output.uri: {store.uri} holds inputs of run {run.run_id} whose ids are relative to {theirs}, and "
                f"this job's are relative to {spec.relative_to}, so that equal ids would be different files; set "
                "another output.uri, or name the rows by source.columns.id (the reference's own column, where equal "
                "references are the same input wherever the manifest lies)"
            )


def _check_readable(store: Store, files: Sequence[str]) -> None:
    """Refuse an output of which a file is damaged: a commit that replaces rows there would fail after they are paid."""
    latest = sorted(files, key=lambda path: path.rpartition("/")[2])[-_FOOTERS:]
    with ThreadPoolExecutor(_READERS) as pool:
        for path, fault in zip(latest, pool.map(lambda path: _fault(store, path), latest), strict=True):
            if fault:
                raise StoreError(
                    f"output.uri: {store.url(path)}, which an earlier run wrote, cannot be read: {fault}; restore the "
                    "file, or delete it, and its inputs are done again"
                )


def _fault(store: Store, path: str) -> str:
    try:
        with store.open(path) as file:
            pq.read_metadata(pa.PythonFile(file, mode="r"))
    except FileNotFoundError:
        return ""  # another run has just replaced it
    except (pa.ArrowException, OSError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    return ""


def _has_inputs(run: RunRecord) -> bool:
    return not run.committed or bool(run.counts.get("inputs"))


def _check_partitions(spec: OutputSpec) -> None:
    for field in spec.keep_schema or ():
        if field.name not in spec.partition_by:
            continue
        if field.name in masks_schema().names:
            raise ConfigError(
                f"output.partition_by names {field.name!r}, which is a column of the masks table itself; keep the "
                f"column under another name, as in source.columns.keep: {{my_{field.name}: {source_of(field)}}}"
            )
        if pa.types.is_nested(field.type) or pa.types.is_float16(field.type):
            raise ConfigError(
                f"output.partition_by names {field.name!r}, which holds {field.type}, and no value of it "
                "names a folder; partition by another column"
            )


def _words(value: object) -> str:
    if isinstance(value, list):
        if not value:
            return "[]"
        return ", ".join(" ".join(map(str, one)) if isinstance(one, list) else str(one) for one in value)
    return str(value)
