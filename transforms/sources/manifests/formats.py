"""Manifests and tables: which columns they have, how they are cut, and the rows of each piece.

A manifest is never held whole. `scan` goes once through its id column, cuts it into pieces (byte ranges of
whole records, or row groups) and notes which ids come again; `read_split` gives the rows of one piece to
whichever worker has it.
"""

from __future__ import annotations

import csv
import gzip
import io
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError
from ...kept.types import kept_field, plain_type
from ...storage.filesystems import Filesystems, local_path, split_chain
from ...storage.references import shown, without_query
from .files import FileScan, Manifest, Row, Split, check_unchanged, hash_id, open_manifest
from .parquet import open_parquet, parquet_rows, read_parquet, scan_parquet
from .text import DELIMITERS, Record, header_of, json_records, split_delimited
from .types import RowTypes

__all__ = ["columns_of", "manifest_of", "read_split", "scan"]

_KINDS = {
    "csv": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "pq": "parquet",
}
_SPLIT_BYTES = 8 << 20
_SPREAD = 32  # pieces that even a short manifest is cut into
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def manifest_of(path: str, partitioned_below: str | None = None, version: str = "") -> Manifest:
    """Tell a manifest's kind from its name, and a table file's partitions from its path.

    Raises:
        SourceError: the name says no kind that is known.
    """
    name = without_query(split_chain(path)[0]).rpartition("/")[2].lower()
    gz = name.endswith(".gz")
    kind = _KINDS.get(name.removesuffix(".gz").rpartition(".")[2])
    if kind is None or (gz and kind == "parquet"):
        raise SourceError(
            f"{shown(path)}: the name does not say what kind of manifest it is; it must end in .csv, .tsv, .jsonl "
            "(each also with .gz) or .parquet"
        )
    partitions: dict[str, str | None] = {}
    if partitioned_below is not None:
        for part in path[len(partitioned_below) :].split("/")[:-1]:
            key, sep, value = part.partition("=")
            if sep and key:
                partitions[unquote(key)] = None if value == _NULL_PARTITION else unquote(value)
    return Manifest(path, kind, gz, partitions, version)


def columns_of(
    manifest: Manifest, filesystems: Filesystems, sample: int = 1000, needed: Collection[str] | None = None
) -> tuple[pa.Schema, list[Row]]:
    """The columns of a manifest and their types, and its first rows.

    Parquet has its own types; CSV has none, so every column is text; JSON Lines have those of the first rows, and
    are JSON text where those have none in common.

    Args:
        sample: rows to read, at most.
        needed: columns whose values matter; of Parquet only these are read.

    Raises:
        SourceError: the file is no manifest of its kind.
        OSError: it cannot be read.
    """
    if manifest.kind == "parquet":
        with open_parquet(manifest, filesystems) as file:
            schema = pa.schema([(field.name, plain_type(field.type)) for field in file.schema_arrow])
            read = [name for name in schema.names if needed is None or name in needed]
            return schema, list(_first_rows(file, read, sample))
    with _open_text(manifest, filesystems) as stream:
        if manifest.kind in DELIMITERS:
            names = _header(manifest, stream)
            schema = pa.schema([(name, pa.string()) for name in names])
            return schema, list(_limited(_delimited_rows(manifest, stream, names, 2), sample))
        rows = list(_limited(_json_rows(stream, 1), sample))
    return _inferred(manifest, rows), rows


def _first_rows(file: pq.ParquetFile, names: Sequence[str], most: int) -> Iterator[Row]:
    for group in range(file.num_row_groups):  # the first may be empty
        if file.metadata.row_group(group).num_rows:
            yield from parquet_rows(file, Split(0, group, 0, 1, most), names)
            return


def scan(
    manifest: Manifest,
    file: int,
    key: str,
    filesystems: Filesystems,
    *,
    kept: Sequence[str] = (),
    limit: int | None,
    rows_per_split: int,
) -> FileScan:
    """Go once through the column that names the inputs, and cut the file.

    Args:
        file: index to give the splits.
        key: the column; a partition column makes every row alike, and is refused before.
        kept: columns whose types are told from all rows.
        limit: read no more rows than these.
        rows_per_split: most rows in one piece.
    """
    if manifest.kind == "parquet":
        return scan_parquet(
            manifest, file, key, filesystems, kept=kept, limit=limit, rows_per_split=rows_per_split
        )
    result = FileScan([], array("q"), array("q"))
    with _open_text(manifest, filesystems) as stream:
        if manifest.kind in DELIMITERS:
            header = stream.readline()
            names = header_of(header, DELIMITERS[manifest.kind])
            result.kept = pa.schema([(name, pa.string()) for name in kept if name in names])
            start, at = len(header), names.index(key)
            records = split_delimited(stream, DELIMITERS[manifest.kind], len(names), 2)
        else:
            start, at = 0, cast(Any, key)
            types = RowTypes(kept)
            records = _typed(json_records(stream, 1), types) if kept else json_records(stream, 1)
        _cut(
            result,
            _limited(records, limit),
            file,
            start=start,
            first=2 if start else 1,
            at=at,
            rows_per_split=rows_per_split,
        )
    if manifest.kind == "jsonl":
        result.kept = types.schema()
    check_unchanged(manifest, filesystems)
    if manifest.gz and result.splits:
        first = result.splits[0]
        result.splits = [Split(file, first.start, -1, first.line, len(result.lines))]
    return result


def read_split(
    manifest: Manifest, split: Split, columns: Sequence[str], filesystems: Filesystems
) -> Iterator[Row]:
    """The rows of one piece, with the values of the named columns; a column that a row lacks is None.

    Raises:
        OSError: the file cannot be read.
    """
    if manifest.kind == "parquet":
        own = [name for name in columns if name not in manifest.partitions]
        for row in read_parquet(manifest, split, own, filesystems):
            yield row._replace(values={**row.values, **manifest.partitions}) if manifest.partitions else row
        return
    if manifest.gz:
        stream = _open_text(manifest, filesystems)
        names = _header(manifest, stream) if manifest.kind in DELIMITERS else []
    else:
        names = header_names(manifest, filesystems) if manifest.kind in DELIMITERS else []
        stream = io.BytesIO(read_range(manifest, split, filesystems))
    check_unchanged(manifest, filesystems)
    with stream:
        if manifest.kind in DELIMITERS:
            yield from _limited(_delimited_rows(manifest, stream, names, split.line), split.rows)
        else:
            yield from _limited(_json_rows(stream, split.line), split.rows)


def _typed(records: Iterator[Record], types: RowTypes) -> Iterator[Record]:
    for record in records:
        if record.values is not None:
            types.add(record.values)
        yield record


def _cut(
    result: FileScan,
    records: Iterator[Record],
    file: int,
    *,
    start: int,
    first: int,
    at: Any,
    rows_per_split: int,
) -> None:
    stop, line, rows, end_line = start, 0, 0, first
    for record in records:
        # Small at first, so that a short manifest spreads over all workers as well as a long one.
        most = max(1, min(rows_per_split, (rows_per_split + len(result.lines)) // _SPREAD))
        if rows and (rows >= most or stop - start + record.nbytes > _SPLIT_BYTES):
            result.splits.append(Split(file, start, stop, line, rows))
            start, rows = stop, 0
        if not rows:
            # Blank lines before the record belong to the piece, and count.
            line = end_line
        stop, rows, end_line = stop + record.nbytes, rows + 1, record.line + record.lines
        value = None
        if record.values is not None:
            value = record.values.get(at) if type(at) is str else record.values[at]
        result.hashes.append(hash_id(value, record.line, file))
        result.lines.append(record.line)
    if rows:
        result.splits.append(Split(file, start, stop, line, rows))


def _limited(items: Iterator[Any], limit: int | None) -> Iterator[Any]:
    if limit is None:
        yield from items
        return
    for index, item in enumerate(items, 1):
        if index > limit:
            return
        yield item
        if index == limit:
            return


def _delimited_rows(manifest: Manifest, stream: IO[bytes], names: Sequence[str], first: int) -> Iterator[Row]:
    for record in split_delimited(stream, DELIMITERS[manifest.kind], len(names), first):
        yield Row(
            record.line, {} if record.fault else dict(zip(names, record.values, strict=True)), record.fault
        )


def _json_rows(stream: IO[bytes], first: int) -> Iterator[Row]:
    for record in json_records(stream, first):
        yield Row(record.line, record.values or {}, record.fault)


def header_names(manifest: Manifest, filesystems: Filesystems) -> list[str]:
    """The names in the header of a CSV or TSV file.

    Raises:
        SourceError: its first line is no header.
        OSError: it cannot be read.
    """
    with _open_text(manifest, filesystems) as head:
        return _header(manifest, head)


def _header(manifest: Manifest, stream: IO[bytes]) -> list[str]:
    try:
        names = header_of(stream.readline(), DELIMITERS[manifest.kind])
    except (ValueError, csv.Error) as error:
        raise SourceError(f"{manifest.path}: the first line is no header: {error}") from None
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated:
        fault = f"names {', '.join(map(repr, repeated))} twice" if repeated else "is empty"
        raise SourceError(f"{manifest.path}: the header {fault}; the first line must name each column once")
    return names


def _inferred(manifest: Manifest, rows: Sequence[Row]) -> pa.Schema:
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    fields = []
    for name in names:
        try:
            kind = pa.array([_encodable(row.values.get(name)) for row in rows]).type
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            fields.append(kept_field(name, pa.string(), json=True))
        else:
            fields.append(kept_field(name, kind))
    return pa.schema(fields)


def _encodable(value: Any) -> Any:
    """A value of the same type; half a surrogate pair, which becomes an errors row later, has no Arrow type."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    return (
        {_encodable(key): _encodable(one) for key, one in value.items()} if isinstance(value, dict) else value
    )


def _open_text(manifest: Manifest, filesystems: Filesystems) -> IO[bytes]:
    stream = open_manifest(manifest, filesystems)
    return cast(IO[bytes], _Gunzipped(stream)) if manifest.gz else stream


class _Gunzipped(gzip.GzipFile):
    """A compressed stream that closes the one it reads from."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(fileobj=stream)
        self._stream = stream

    def close(self) -> None:
        super().close()
        self._stream.close()


def read_range(manifest: Manifest, split: Split, filesystems: Filesystems) -> bytes:
    """The bytes of one piece of a text that is not compressed.

    Raises:
        OSError: they cannot be read.
    """
    path = local_path(manifest.path)
    if path is None:
        filesystem, path = filesystems.open(manifest.path)
        return cast(bytes, filesystem.cat_file(path, start=split.start, end=split.stop))
    with Path(path).open("rb") as stream:
        stream.seek(split.start)
        return stream.read(split.stop - split.start)
