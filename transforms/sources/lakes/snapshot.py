"""One snapshot of a lake's table: which data files hold its rows, found once by the launcher and then fixed."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from ...errors import SourceError
from ...job.config import SourceConfig
from ...storage.filesystems import Filesystems
from ...storage.options import filled_in
from .formats import format_of

__all__ = ["DataFile", "Snapshot", "s3_options", "snapshot_of"]

_READERS = {"delta": ".delta", "iceberg": ".iceberg"}
_NAMES = {"delta": "Delta", "iceberg": "Iceberg"}


@dataclasses.dataclass(frozen=True)
class DataFile:
    """A Parquet file with rows of the table.

    Attributes:
        path: any fsspec URL or path.
        partitions: values that the file itself lacks, by column.
    """

    path: str
    partitions: Mapping[str, str | None]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A table as of one moment.

    Attributes:
        format: delta | iceberg.
        id: its version or snapshot id.
        files: in the order of their paths.
    """

    format: str
    id: int
    files: tuple[DataFile, ...]

    def __str__(self) -> str:
        return f"{'version' if self.format == 'delta' else 'snapshot'} {self.id} of {_NAMES[self.format]}"


def snapshot_of(source: SourceConfig, filesystems: Filesystems) -> Snapshot | None:
    """The snapshot that a job reads of `source.table`: the one it names, else the latest; None for plain Parquet.

    Raises:
        SourceError: the table has no such snapshot, cannot be read, or asks for what this reader does not do; or the
            package that reads its format is not installed.
    """
    table = source.table
    if table is None or source.format == "parquet" or any(sign in table for sign in "*?["):
        return None
    kind = source.format or format_of(table, filesystems)
    if kind not in _READERS:
        return None
    try:
        reader = importlib.import_module(_READERS[kind], __package__)
    except ImportError:
        raise SourceError(
            f"source.table: {table} is a table of {_NAMES[kind]}, whose reader is not installed; "
            f"pip install 'bulkinfer[{kind}]'"
        ) from None
    found: Snapshot = reader.read_snapshot(table, source.snapshot, filesystems, filled_in(source.storage))
    return found


def s3_options(storage: Mapping[str, Any]) -> dict[str, str]:
    """What fsspec's options of S3 say, by plain names: endpoint, key, secret, token, region."""
    client = storage.get("client_kwargs") or {}
    found = {
        "endpoint": storage.get("endpoint_url") or client.get("endpoint_url"),
        "key": storage.get("key"),
        "secret": storage.get("secret"),
        "token": storage.get("token"),
        "region": client.get("region_name"),
    }
    return {name: str(value) for name, value in found.items() if value}
