"""Reads which files hold the rows of one snapshot of an Iceberg table, https://iceberg.apache.org/spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pyiceberg.table import StaticTable

from ...errors import SourceError
from ...storage.faults import source_faults
from ...storage.filesystems import Filesystems, local_path
from .snapshot import DataFile, Snapshot, s3_options

__all__ = ["read_snapshot"]

_S3 = {
    "endpoint": "s3.endpoint",
    "key": "s3.access-key-id",
    "secret": "s3.secret-access-key",
    "token": "s3.session-token",
    "region": "s3.region",
}
_NUMBER = re.compile(r"(?:^|/)v?(\d+)[^/]*\.metadata\.json$")


def read_snapshot(
    table: str, number: int | None, filesystems: Filesystems, storage: Mapping[str, Any]
) -> Snapshot:
    """The files of a snapshot, by default the current one; `table` is its folder, or one of its metadata files.

    Raises:
        SourceError: there is no such snapshot, it cannot be read, or its rows are not those that its files hold.
    """
    options = {_S3[name]: value for name, value in s3_options(storage).items()}
    with source_faults(f"source.table: cannot read the Iceberg table {table}", storage):
        found = StaticTable.from_metadata(_metadata(table, filesystems), options)
        snapshot = found.current_snapshot() if number is None else found.snapshot_by_id(number)
        tasks = list(found.scan(snapshot_id=number).plan_files()) if snapshot is not None else []
    if snapshot is None:
        known = ", ".join(str(one.snapshot_id) for one in found.snapshots()[-5:]) or "none yet"
        raise SourceError(f"source.snapshot: {table} has no snapshot {number or ''}; the latest are: {known}")
    _check(found, tasks, table)
    files = [DataFile(_path(task.file.file_path), {}) for task in tasks]
    return Snapshot("iceberg", snapshot.snapshot_id, tuple(sorted(files, key=lambda file: file.path)))


def _metadata(table: str, filesystems: Filesystems) -> str:
    """The newest metadata file of a table's folder."""
    if table.endswith(".metadata.json"):
        return table
    filesystem, root = filesystems.open(table)
    names = [
        name for name in filesystem.ls(f"{root}/metadata", detail=False) if name.endswith(".metadata.json")
    ]
    numbered = [(int(match[1]), name) for name in names if (match := _NUMBER.search(name))]
    if not numbered:
        raise SourceError(f"source.table: {table} has no metadata/*.metadata.json; check the path")
    newest = max(numbered)[1].rpartition("/")[2]
    folder = local_path(table)
    return f"{folder if folder is not None else table.rstrip('/')}/metadata/{newest}"


def _check(table: Any, tasks: list[Any], name: str) -> None:
    """Refuse what a reader of plain files would read wrongly."""
    if any(task.delete_files for task in tasks):
        raise SourceError(
            f"source.table: {name} has rows that delete files take out, which is not read: they would be sent; rewrite "
            "its data files (rewrite_data_files) and run again"
        )
    names: dict[int, set[str]] = {}
    for schema in table.metadata.schemas:
        for field in schema.fields:
            names.setdefault(field.field_id, set()).add(field.name)
    renamed = sorted(name for found in names.values() if len(found) > 1 for name in found)
    if renamed:
        raise SourceError(
            f"source.table: {name} has renamed columns ({', '.join(renamed)}), which older files hold under their old "
            "names; rewrite its data files into a table of their own"
        )


def _path(path: str) -> str:
    local = local_path(path)
    return path if local is None else local
