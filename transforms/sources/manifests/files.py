"""The words of manifests: a file, a piece of it, a row, and what one pass over its ids finds."""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from ...content.versions import GIVEN, hashed_version, local_version, version_of
from ...errors import SourceError
from ...storage.filesystems import Filesystems, local_path
from ...storage.references import identity

__all__ = [
    "BrokenFile",
    "FileScan",
    "Manifest",
    "Row",
    "Split",
    "as_text",
    "check_unchanged",
    "hash_id",
    "open_manifest",
    "version_now",
    "version_of_row",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """One file of a manifest or a table.

    Attributes:
        path: as the pattern gave it.
        kind: csv | tsv | jsonl | parquet.
        gz: whether the text is compressed.
        partitions: values of a table's Hive partitions, by column.
        version: of the file, as the listing knew it; "" when its store tells none.
    """

    path: str
    kind: str
    gz: bool = False
    partitions: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """A piece of a manifest that one worker reads.

    Attributes:
        file: index of the manifest's file.
        start: first byte of a text, or index of a row group.
        stop: end of the bytes; -1 for a compressed text, which is read from its beginning.
        line: number of the first line, or of the first row, from 1.
        skip: rows of the row group before the first.
        rows: how many records it holds, broken ones included.
    """

    file: int
    start: int
    stop: int
    line: int
    rows: int
    skip: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class BrokenFile:
    """A file of a table that cannot be read, and why: one row in `errors`."""

    file: int
    reason: str


class Row(NamedTuple):
    """A row of a manifest: its line (in Parquet: its row, from 1), its values, or what is wrong with it."""

    line: int
    values: Mapping[str, Any]
    fault: str = ""


@dataclasses.dataclass(slots=True)
class FileScan:
    """What one pass over a file's id column found: pieces, and a hash and a line for each row.

    Attributes:
        kept: those of the kept columns that the file has, with their types.
        fault: why the file cannot be read; no piece of it is read then.
    """

    splits: list[Split]
    hashes: array[int]
    lines: array[int]
    kept: Any = None
    fault: str = ""


def version_of_row(given: Any, content: bytes | str | None) -> str:
    """The version that a row tells: its column's, else a hash of the content in it, else ""."""
    if given is not None and given != "":
        return f"{GIVEN}{as_text(given)}"
    return "" if content is None else hashed_version(content)


def hash_id(value: Any, line: int, file: int) -> int:
    """Equal for equal ids; a row without one is like no other."""
    if value is None or value == "":
        return hash((line, file, "no id"))
    return hash(identity(value if type(value) is str else as_text(value)))


def as_text(value: Any) -> str:
    """An id or a reference as text."""
    if isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def open_manifest(manifest: Manifest, filesystems: Filesystems) -> IO[bytes]:
    path = local_path(manifest.path)
    if path is not None:
        return Path(path).open("rb", buffering=1 << 20)
    filesystem, path = filesystems.open(manifest.path)
    return cast(IO[bytes], filesystem.open(path, "rb"))


def version_now(path: str, filesystems: Filesystems) -> str:
    """The version that the store tells of a file now; "" when it tells none."""
    local = local_path(path)
    if local is not None:
        return local_version(Path(local).stat())
    filesystem, inner = filesystems.open(path)
    return version_of(filesystem.info(inner))


def check_unchanged(manifest: Manifest, filesystems: Filesystems) -> None:
    """Check that a manifest is the one that was looked at when the job began; to be called after each read of it.

    Raises:
        SourceError: it was replaced or written to since, so that its pieces would cut other rows.
    """
    if not manifest.version:
        return
    try:
        now = version_now(manifest.path, filesystems)
    except FileNotFoundError:
        now = "gone"
    if now != manifest.version:
        raise SourceError(
            f"{manifest.path} was changed while it was read ({manifest.version}, now {now}), so nothing more of it is "
            "sent; leave a manifest alone while a job reads it, and start the same command again: what is done is kept"
        )
