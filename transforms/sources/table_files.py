"""The files of a manifest or a table, each with its version, and the columns that a table's folders name."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ..errors import SourceError
from ..job.config import SourceConfig
from ..storage.faults import source_faults
from ..storage.filesystems import Filesystems, canonical, is_relative, split_chain
from ..storage.references import without_query
from .archives import list_files, whole
from .lakes.formats import refuse_formats
from .lakes.snapshot import Snapshot
from .manifests.files import Manifest, Row, as_text, version_now
from .manifests.formats import manifest_of
from .patterns import expanded, parse_pattern

__all__ = ["manifest_files", "partition_field", "relative_to", "snapshot_files"]


def manifest_files(
    source: SourceConfig, key: str, filesystems: Filesystems
) -> tuple[tuple[Manifest, ...], str]:
    """The files of `source.manifest` or `source.table`, sorted, and the folder that references are relative to.

    Raises:
        SourceError: there are none, they cannot be listed, or they are those of a table that has a format of its own.
    """
    text = source.manifest or source.table or ""
    with source_faults(f"{key}: cannot list {text}", source.storage):
        patterns = [parse_pattern(one, filesystems) for one in expanded(text)]
        found = [
            file
            for pattern in patterns
            for file in list_files(pattern, whole(pattern), filesystems, ordered=True)
        ]
    for one in patterns:
        root = one.prefix + one.root
        paths = [file.uri for file in found if file.uri.startswith(root)]
        refuse_formats(key, text, root, paths, filesystems, whole=one.parts[-1:] == ("**",))
    pattern = patterns[0]
    below = pattern.prefix + pattern.root
    versions = {file.uri: file.version for file in found}
    paths = sorted(versions)
    if source.table is not None:
        # `_metadata`, `_SUCCESS` and the like stand beside the data in every lake.
        paths = [
            path
            for path in paths
            if path.endswith((".parquet", ".pq"))
            and not any(part.startswith(("_", ".")) for part in path[len(below) :].split("/"))
        ]
    if not paths:
        what = "holds no .parquet file" if source.table is not None else "does not exist or matches no file"
        raise SourceError(f"{key}: {text} {what}; check the path")
    base = below if pattern.parts else without_query(below).rpartition("/")[0]
    partitioned = below if source.table is not None and pattern.parts else None
    manifests = tuple(
        manifest_of(path, partitioned, versions[path] or _version(path, filesystems)) for path in paths
    )
    return manifests, split_chain(base)[0]


def snapshot_files(snapshot: Snapshot) -> tuple[Manifest, ...]:
    """The files of a lake's table; each is written once and never changed, so that it needs no version."""
    return tuple(Manifest(file.path, "parquet", partitions=file.partitions) for file in snapshot.files)


def relative_to(source: SourceConfig, base: str, rows: Sequence[Row]) -> str:
    """The folder of a manifest whose relative references are its inputs' ids; an id that a job names is its own."""
    column = source.columns.uri
    if source.columns.id is not None or column is None:
        return ""
    named = (as_text(row.values[column]) for row in rows if row.values.get(column))
    return canonical(base, source.storage) if any(map(is_relative, named)) else ""


def _version(path: str, filesystems: Filesystems) -> str:
    """The version of a file whose listing tells none, as that of a URL."""
    try:
        return version_now(path, filesystems)
    except Exception:  # noqa: BLE001  (each driver has exceptions of its own; reading the file tells the fault)
        return ""


def partition_field(name: str, manifests: Sequence[Manifest]) -> pa.Field:
    """A column that a table's folders name: of whole numbers where all values are, else of texts."""
    values = [manifest.partitions.get(name) for manifest in manifests]
    whole = all(value is None or _is_whole(value) for value in values)
    return pa.field(name, pa.int64() if whole and any(values) else pa.string())


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and -(2**63) <= int(text) < 2**63
