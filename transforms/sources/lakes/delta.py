"""Reads which files hold the rows of one version of a Delta table, https://github.com/delta-io/delta/blob/master/PROTOCOL.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import deltalake
import pyarrow as pa

from ...errors import SourceError
from ...storage.faults import source_faults
from ...storage.filesystems import Filesystems
from .snapshot import DataFile, Snapshot, s3_options

__all__ = ["read_snapshot"]

_AWS = {
    "endpoint": "AWS_ENDPOINT_URL",
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "region": "AWS_REGION",
}
_FIX = "check source.snapshot, the address, source.storage and the permissions"


def read_snapshot(
    table: str, version: int | None, filesystems: Filesystems, storage: Mapping[str, Any]
) -> Snapshot:
    """The files of a version, by default the latest.

    Raises:
        SourceError: there is no such version, it cannot be read, or its rows are not those that its files hold.
    """
    asked = "" if version is None else f"version {version} of "
    with source_faults(f"source.table: cannot read {asked}the Delta table {table}", storage, _FIX):
        found = deltalake.DeltaTable(table, version=version, storage_options=_options(storage))
        actions = pa.table(found.get_add_actions(flatten=True)).to_pylist()
    _check(found, actions, table)
    root = table.rstrip("/")
    files = [DataFile(_path(root, action["path"]), _partitions(action)) for action in actions]
    return Snapshot("delta", found.version(), tuple(sorted(files, key=lambda file: file.path)))


def _check(table: Any, actions: list[dict[str, Any]], name: str) -> None:
    """Refuse what a reader of plain files would read wrongly."""
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise SourceError(
            f"source.table: {name} maps its columns by {mapping}, so its files have them under other names, which "
            "is not read; write the current rows to a table without delta.columnMapping"
        )
    if any(value for action in actions for key, value in action.items() if key.startswith("deletionVector")):
        raise SourceError(
            f"source.table: {name} has deletion vectors, which are not read: deleted rows would be sent; run REORG "
            "TABLE ... APPLY (PURGE), or OPTIMIZE, on it"
        )


def _path(root: str, path: str) -> str:
    return unquote(path) if "://" in path else f"{root}/{unquote(path)}"


def _partitions(action: Mapping[str, Any]) -> dict[str, str | None]:
    prefix = "partition."
    return {
        key.removeprefix(prefix): None if value is None else _text(value)
        for key, value in action.items()
        if key.startswith(prefix)
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(storage: Mapping[str, Any]) -> dict[str, str]:
    told = s3_options(storage)
    options = {_AWS[name]: value for name, value in told.items()}
    if told.get("endpoint", "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options
