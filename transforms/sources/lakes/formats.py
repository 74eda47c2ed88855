"""Tells a folder of Parquet from a table of Delta Lake, Apache Iceberg, Hudi or Paimon."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...errors import SourceError
from ...storage.filesystems import Filesystems, local_path, protocol_of

__all__ = ["format_of", "refuse_formats"]

#: What lies in a table's own folder.
_FOLDERS = {"_delta_log": "a Delta", ".hoodie": "a Hudi"}
#: Files of a table, seen from somewhere above them.
_FILES = {
    r"(?:.*/)?_delta_log/.*": "a Delta",
    r"(?:.*/)?metadata/[^/]*\.metadata\.json": "an Iceberg",
    r"(?:.*/)?snapshot/(?:LATEST|EARLIEST|snapshot-\d+)": "a Paimon",
    # A listing passes over `.hoodie`, but names of data files say who wrote them: group, token and time.
    r"(?:.*/)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d+_\d+-\d+-\d+_\d{14,17}\.parquet": "a Hudi",
}
_HIGHEST = 8  #: folders that are looked at, from a pattern's own upwards
_MOST_BETWEEN = 32  #: and between it and the files, where the listing did not show all that lies there


def refuse_formats(
    key: str, text: str, below: str, paths: Sequence[str], filesystems: Filesystems, *, whole: bool
) -> None:
    """Refuse Parquet files that are a table's of a format of its own.

    Such a table also holds files of deleted rows and of older versions: as a folder it tells lies.

    Args:
        key: source.manifest or source.table.
        text: what it names.
        below: the folder that all files lie in, or the only file.
        paths: of the files.
        whole: the paths are all that lies below.

    Raises:
        SourceError: they are, in whole or in part, a table of Delta Lake, Iceberg, Hudi or Paimon, or lie in one.
    """
    for path in paths:
        inside = path[len(below) :].lstrip("/")
        for pattern, kind in _FILES.items():
            if re.fullmatch(pattern, inside or path.rpartition("/")[2]):
                raise _refusal(key, text, f"holds {kind} table ({inside or path})")
    if not any(path.endswith((".parquet", ".pq")) for path in paths):
        return
    with ThreadPoolExecutor(_HIGHEST) as pool:
        between = () if whole else itertools.islice(_between(below, paths), _MOST_BETWEEN)
        folders = [*_folders(below), *between]
        for folder, kind in zip(
            folders, pool.map(lambda one: _format_of(one, filesystems), folders), strict=True
        ):
            if kind:
                raise _refusal(key, text, f"is, or lies in, {kind} table ({folder})")


def _refusal(key: str, text: str, what: str) -> SourceError:
    return SourceError(
        f"{key}: {text} {what}, whose folder also holds deleted rows and old versions; name a Delta or an Iceberg "
        "table by its own folder in source.table, and of any other write the current rows to a folder of Parquet"
    )


def format_of(table: str, filesystems: Filesystems) -> str:
    """delta | iceberg | "": what the folder of a table, or its metadata file, says that it is."""
    if table.endswith(".metadata.json"):
        return "iceberg"
    return {"a Delta": "delta", "an Iceberg": "iceberg"}.get(_format_of(table, filesystems), "")


def _folders(below: str) -> Iterator[str]:
    """The folder and those above it, of which one may be the table's own."""
    if "::" in below or protocol_of(below) in ("http", "https"):
        return
    local = local_path(below)
    scheme, sep, path = ("", "", os.path.abspath(local)) if local is not None else below.partition("://")
    parts = path.split("/")
    for count in range(len(parts), max(0, len(parts) - _HIGHEST), -1):
        if parts[count - 1]:
            yield scheme + sep + "/".join(parts[:count])


def _between(below: str, paths: Sequence[str]) -> Iterator[str]:
    """The folders between the pattern's own and the files, those next to it first."""
    inside = {path[len(below) :].strip("/").rpartition("/")[0] for path in paths}
    found = {
        "/".join(parts[:n])
        for parts in (one.split("/") for one in inside if one)
        for n in range(1, len(parts) + 1)
    }
    for name in sorted(found, key=lambda one: (one.count("/"), one)):
        yield f"{below.rstrip('/')}/{name}"


def _format_of(folder: str, filesystems: Filesystems) -> str:
    try:
        filesystem, path = filesystems.open(folder)
        for marker, kind in _FOLDERS.items():
            if filesystem.isdir(f"{path}/{marker}"):
                return kind
        if filesystem.isdir(f"{path}/metadata"):
            names = filesystem.ls(f"{path}/metadata", detail=False)
            if any(name.endswith(".metadata.json") for name in names):
                return "an Iceberg"
    except Exception:  # noqa: BLE001  (folders above may be closed to this job; each driver says so in its own way)
        return ""
    return ""
