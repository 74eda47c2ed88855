"""Rows of a manifest -> references, or the failures that say what is wrong with them."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from ..content.media import media_of
from ..kept.folders import MOST_BYTES, folder_of
from ..kept.types import is_json, source_of
from ..kept.values import fitting, is_utf8, python_values
from ..records import CONTENT_LIST, Failure, Reference
from ..storage.filesystems import Filesystems, canonical, resolve
from ..storage.references import identity, shown
from .manifests.blocks import read_block
from .manifests.files import BrokenFile, Manifest, Row, Split, as_text, check_unchanged, version_of_row
from .manifests.formats import read_split
from .source import SourceSpec

__all__ = ["RowReader"]

#: Types of values that need no look into them.
_SIMPLE = {str, int, float, bool, type(None)}


class RowReader:
    """Turns pieces of a source's manifests into references.

    Args:
        spec: a manifest or a table.
    """

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._filesystems = Filesystems(spec.source.storage)
        self._allowed = spec.allowed
        columns = spec.source.columns
        wanted = (columns.uri, columns.content, columns.id, columns.version, *spec.columns)
        self._read = list(dict.fromkeys(name for name in wanted if name))
        self._kept = [(source_of(field), field) for field in spec.keep_schema if not is_json(field)]
        self._folders = [(spec.keep_schema.field(name), _folder_bytes()) for name in spec.folders]
        self._casts = {name: int for name, kind in spec.partitions.items() if pa.types.is_integer(kind)}

    def read_plain(self, split: Split) -> list[Reference] | None:
        """The references of a piece that holds texts, many at once; None where a row wants a look of its own.

        Raises:
            SourceError: the manifest was changed since the job began.
        """
        spec, named = self._spec, self._spec.source.columns
        if not self._is_plain or split.file in spec.scan.repeats:
            return None
        manifest = spec.manifests[split.file]
        try:
            block = read_block(manifest, split, self._read, self._filesystems)
        except OSError:  # which `read` tells
            return None
        if block is None:
            return None
        found = dict(zip(self._read, block, strict=True))
        if manifest.partitions or not self._are_plain(found):
            return None
        ids, contents = found[spec.id_column], found[named.content or ""]
        versions = map(version_of_row, found.get(named.version or "", itertools.repeat(None)), contents)
        rows: Any = (
            zip(*(found[name] for name in spec.columns), strict=True)
            if spec.columns
            else itertools.repeat(())
        )
        place = identity(manifest.path)
        return [
            Reference(
                identity(key),
                None,
                spec.media_type,
                version,
                None,
                content,
                dict(zip(spec.columns, row, strict=True)),
                f"{place}:{line}",
            )
            for key, content, version, row, line in zip(
                ids, contents, versions, rows, range(split.line, split.line + split.rows), strict=False
            )
        ]

    @property
    def _is_plain(self) -> bool:
        """Whether rows hold texts, and nothing of them becomes a type or a folder's name that it may not fit."""
        named = self._spec.source.columns
        strings = all(pa.types.is_string(field.type) for _, field in self._kept)
        return bool(
            named.content
            and not named.uri
            and self._spec.media_type == "text"
            and strings
            and not (self._casts or self._folders)
        )

    def _are_plain(self, found: Mapping[str, list[Any]]) -> bool:
        """Whether all values are texts that UTF-8 can hold, and all rows have ids."""
        named = self._spec.source.columns
        if not all(found[self._spec.id_column]):
            return False
        kept = [name for name, _ in self._kept]
        for name, values in found.items():
            kinds = set(map(type, values))
            filled = name in (self._spec.id_column, named.content)
            if not kinds <= ({str} if filled else {str, type(None)} if name in kept else _SIMPLE):
                return False
            if str in kinds and not is_utf8("".join([one for one in values if type(one) is str])):
                return False
        return True

    def read(self, split: Split) -> Iterator[Reference | Failure]:
        """The references of one piece, in order; a row that is none becomes a Failure.

        Raises:
            OSError: the manifest cannot be read.
        """
        manifest = self._spec.manifests[split.file]
        named = identity(manifest.path)  # it names the rows that have no id
        repeats = {
            line: (file, first)
            for line, file, first in self._spec.scan.repeats.get(split.file, [])
            if split.line <= line
        }
        for row in self._rows(manifest, split):
            place = f"{named}:{row.line}"
            repeated = repeats.get(row.line) if repeats else None
            if row.fault:
                yield self._broken(place, "broken_line", f"{place} {row.fault}; correct or remove the line")
            elif repeated is not None:
                yield self._repeated(row, place, *repeated)
            else:
                yield self._reference(row.values, place)

    def _rows(self, manifest: Manifest, split: Split) -> Iterator[Row]:
        """The rows of a piece; from where the file is damaged on, each says so."""
        following = split.line
        try:
            for row in read_split(manifest, split, self._read, self._filesystems):
                yield row
                following = row.line + 1
        except (pa.ArrowException, OSError) as error:
            check_unchanged(manifest, self._filesystems)
            # Arrow's own errors are about the file, and so are those that bear no number; others are the store's.
            if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
                raise
            fault = f"cannot be read: {' '.join(str(error).split())[:200]}"
            for line in range(following, split.line + split.rows):
                yield Row(line, {}, fault)

    def broken(self, file: BrokenFile) -> Failure:
        """The failure of a file that names no inputs, because it cannot be read."""
        path = identity(self._spec.manifests[file.file].path)
        return self._broken(
            path, "broken_file", f"{path} cannot be read: {file.reason}; write it anew, or move it away"
        )

    def _reference(self, values: Mapping[str, Any], place: str) -> Reference | Failure:
        spec, named = self._spec, self._spec.source.columns
        uri, content = values.get(named.uri or ""), values.get(named.content or "")
        key = values.get(spec.id_column)
        if key is None or key == "":
            null = "null_uri" if named.uri == spec.id_column else "null_id"
            return self._broken(
                place, null, f"{place} has no value in the column {spec.id_column!r}; fill it in"
            )
        texts = {spec.id_column: key, named.uri: uri, named.content: content}
        for name, value in (*texts.items(), *((name, values.get(name)) for name in spec.columns)):
            if not is_utf8(value):
                return self._broken(
                    place,
                    "not_text",
                    f"{place} has half of a surrogate pair in the column {name!r}, which UTF-8 cannot hold; write the "
                    "whole character, or remove it",
                )
        if isinstance(content, Mapping):  # Hugging Face's Image feature: {bytes, path}
            content = content.get("bytes")
        input_id = identity(as_text(key))
        uri = as_text(uri) if uri is not None else None
        columns = {name: values.get(name) for name in spec.columns}
        for name, cast in self._casts.items():
            if columns.get(name) is not None:
                columns[name] = cast(columns[name] or 0)
        listed: Any = content.tolist() if content is not None and hasattr(content, "tolist") else content
        if isinstance(listed, list | tuple) and spec.media_type != "image":
            columns[CONTENT_LIST] = list(listed)
            content = json.dumps(columns[CONTENT_LIST], ensure_ascii=False, default=_shown)
        fault = self._fault(uri, content, columns, place)
        if fault is not None:
            kind, message = fault
            kept = columns if kind != "broken_line" else {}
            return Failure(
                Reference(input_id, uri, spec.media_type, columns=kept, place=place), "list", kind, message
            )
        media = spec.media_type
        if uri is not None:
            uri = resolve(uri, spec.base)
            refused = self._allowed.fault(uri)
            if refused is not None:
                reference = Reference(input_id, uri, media, columns=columns, place=place)
                return Failure(reference, "list", "not_allowed", f"{place}: {refused}")
        version = version_of_row(values.get(named.version or ""), content)
        return Reference(
            input_id,
            uri,
            media,
            version=version,
            inline=content,
            columns=columns,
            place=place,
        )

    def _fault(
        self, uri: str | None, content: Any, columns: Mapping[str, Any], place: str
    ) -> tuple[str, str] | None:
        spec, named = self._spec, self._spec.source.columns
        if named.uri is not None and not uri:
            return "null_uri", f"{place} has no value in the column {named.uri!r}; fill it in"
        if named.content is not None and not isinstance(content, str | bytes):
            what = "no value" if content is None else f"a {type(content).__name__}, not text or bytes,"
            return "null_content", f"{place} has {what} in the column {named.content!r}; fill it in"
        for name, field in self._kept:
            try:
                fitting(columns[name], field)
            except ValueError as error:
                return (
                    "broken_line",
                    f"{place}: the kept column {name!r} has {error}; give the column one type",
                )
        fault = self._folder_fault(columns, place)
        if fault is not None:
            return "long_partition", fault
        if uri is not None and spec.source.media is None:
            media = media_of(uri)
            if media is not None and media != spec.media_type:
                return (
                    "other_media",
                    f"{place} names a {media} ({shown(uri)}) where the source holds {spec.media_type}; set "
                    "source.media to send it",
                )
        return None

    def _folder_fault(self, columns: Mapping[str, Any], place: str) -> str | None:
        """Why the values that name folders of the output make no path that its store takes."""
        most, total = self._spec.folder_bytes, len(self._folders) - 1
        for field, length_of in self._folders:
            name = source_of(field)
            length = length_of(field, columns[name])
            total += length
            if length > MOST_BYTES:
                return (
                    f"{place} has a value in the column {name!r} that makes a folder's name {length} bytes long, and "
                    f"stores take {MOST_BYTES}; shorten it, or take the column out of output.partition_by"
                )
        if self._folders and total > most:
            return (
                f"{place} has values in the columns of output.partition_by that make a path {total} bytes long, and "
                f"the store of output.uri leaves {most} for it; shorten them or output.uri, or take a column out of "
                "output.partition_by"
            )
        return None

    def _repeated(self, row: Row, place: str, file: int, first: int) -> Failure:
        spec = self._spec
        column = spec.id_column
        return self._broken(
            place,
            "duplicate_id",
            f"{place} has the id {identity(as_text(row.values.get(column)))!r} in the column {column!r}, as "
            f"{identity(spec.manifests[file].path)}:{first} had before; only the first is sent. Give each row an "
            "id of its own",
        )

    def _broken(self, place: str, kind: str, message: str) -> Failure:
        spec = self._spec
        # As for files: however a job spells the manifest, its line is one input.
        name = place if spec.as_written else canonical(place, spec.source.storage)
        return Failure(Reference(name, None, spec.media_type, place=place), "list", kind, message)


def _folder_bytes() -> Callable[[pa.Field, Any], int]:
    """What tells how long a value makes its partition's folder; most values come again and again."""

    @functools.lru_cache(1024, typed=True)
    def known(field: pa.Field, value: Any) -> int:
        kept = value
        if value is not None and (is_json(field) or not pa.types.is_string(field.type)):
            (kept,) = python_values(pa.array([fitting(value, field)], field.type))  # as the table holds it
        return len(folder_of(field.name, kept).encode("utf-8", "backslashreplace"))

    def length(field: pa.Field, value: Any) -> int:
        try:
            return known(field, value)
        except TypeError:  # a list or a mapping, which the table holds as JSON
            return known.__wrapped__(field, value)

    return length


def _shown(value: Any) -> str:
    """A value that JSON does not have, in the text by which a list of content is told from another."""
    return value.hex() if isinstance(value, bytes) else str(value)
