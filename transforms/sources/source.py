"""What a job reads, checked before anything is read: patterns, manifests, columns, media type, ids.

`inspect_source` answers at once, whatever the size of the source. The one pass through a manifest's ids
(`SourceSpec.scan`) is made when the inputs are counted or the pipeline is built, and only once.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..content.media import media_of
from ..errors import EmptySourceError, SourceError
from ..job.config import SourceConfig
from ..kept.types import is_json, kept_field, values_of
from ..storage.allowed import EVERYTHING, Allowed
from ..storage.faults import source_faults
from ..storage.filesystems import Filesystems, canonical, check_address, is_relative, resolve
from ..storage.references import shown
from .archives import Spoilt, list_files, look_inside, whole
from .columns import check_columns
from .lakes.snapshot import snapshot_of
from .listing import Found, list_folder
from .manifests.files import Manifest, as_text
from .manifests.formats import columns_of
from .manifests.parquet import FOOTERS, common_schema
from .manifests.scan import SourceScan, scan_manifests
from .media_type import manifest_media, one_media
from .patterns import Pattern, expanded, parse_pattern
from .table_files import manifest_files, partition_field, relative_to, snapshot_files

__all__ = ["SourceSpec", "inspect_source"]

#: References looked at to tell the media type; a later one of another type becomes an error row.
_SAMPLE = 1000
_SAMPLE_OF_ARCHIVES = 100  # their content is passed over, which a remote or compressed one has to be read for


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """A source that passed its check, as plain data that pickles.

    Attributes:
        source: the job's `source` section.
        media_type: image | text | video | audio.
        columns: columns that each reference carries: those that arguments name and those to keep.
        arguments: those of them that arguments name.
        folders: kept columns whose values name folders of the output.
        folder_bytes: that these folders' names may have together.
        limit: read only the first so many inputs.
        patterns: of files; empty for a manifest or table.
        manifests: files of a manifest or table; empty for files.
        base: the folder that relative references of a manifest are relative to; "" is the working directory.
        schema: all columns of the manifest with their types.
        as_written: inputs are named as the job spells them, which is how an output's earlier runs named them.
        relative_to: the folder that the inputs' ids are relative to; "" where they mean the same from everywhere.
        snapshot: what of a lake's table is read; "" of all else.
        first_uris: the references of a manifest's first rows.
    """

    source: SourceConfig
    media_type: str
    columns: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    folder_bytes: int = 1 << 16
    limit: int | None = None
    patterns: tuple[Pattern, ...] = ()
    manifests: tuple[Manifest, ...] = ()
    base: str = ""
    schema: pa.Schema = dataclasses.field(default_factory=lambda: pa.schema([]))
    as_written: bool = False
    relative_to: str = ""
    snapshot: str = ""
    first_uris: tuple[str, ...] = ()

    @property
    def id_column(self) -> str:
        """The column that names an input."""
        columns = self.source.columns
        return columns.id or columns.uri or ""

    @property
    def inline(self) -> bool:
        """Whether the source holds the content itself."""
        return self.source.columns.content is not None

    @property
    def allowed(self) -> Allowed:
        """What references may name; those that the job file holds itself are all meant."""
        return _allowed(self.source)

    @functools.cached_property
    def partitions(self) -> dict[str, pa.DataType]:
        """The columns that a table's own folders name, with their types."""
        names = dict.fromkeys(name for manifest in self.manifests for name in manifest.partitions)
        return {name: self.schema.field(name).type for name in names}

    @functools.cached_property
    def keep_schema(self) -> pa.Schema:
        """The kept columns with the types that hold the values of all files, found by the pass through them.

        Raises:
            SourceError: a file of the manifest cannot be read.
        """
        kept = self.source.columns.kept
        if not kept:
            return pa.schema([])
        found = {name: pa.field(name, kind) for name, kind in self.partitions.items()}
        found = {**{field.name: field for field in self.scan.kept}, **found}
        fields = [
            (name, column, found.get(column, pa.field(column, pa.null()))) for name, column in kept.items()
        ]
        return pa.schema(
            [
                kept_field(name, field.type, source=column, json=is_json(field), values=values_of(field))
                for name, column, field in fields
            ]
        )

    @functools.cached_property
    def scan(self) -> SourceScan:
        """The pass through the ids of a manifest, made when first asked for and kept.

        Raises:
            SourceError: a file of the manifest cannot be read.
        """
        kept = dict.fromkeys(self.source.columns.kept.values())
        return scan_manifests(
            self.manifests,
            self.id_column,
            self.source.storage,
            kept=[name for name in kept if name not in self.partitions],
            limit=self.limit,
            inline=self.inline,
            forgiving=self.source.table is not None and len(self.manifests) > FOOTERS,
        )


def inspect_source(
    source: SourceConfig,
    needed_columns: Collection[str] = (),
    limit: int | None = None,
    *,
    as_written: bool = False,
) -> SourceSpec:
    """Check that a source exists, has the columns that the job names and holds one media type.

    Args:
        source: the job's `source` section.
        needed_columns: columns that the model's arguments name.
        limit: read only the first so many inputs.
        as_written: name files as the job spells them, and not by their one canonical spelling.

    Raises:
        SourceError: a pattern matches nothing or cannot be listed, a manifest is missing or lacks a column,
            the media type cannot be told. The message names the place and the fix.
    """
    filesystems = Filesystems(source.storage)
    if source.files is not None:
        if needed_columns:
            raise SourceError(
                f"the model's arguments name the columns {', '.join(map(repr, sorted(needed_columns)))}, but "
                "source.files has no columns; use source.manifest or source.table"
            )
        spec = _inspect_files(source, limit, filesystems, as_written=as_written)
    else:
        spec = _inspect_manifest(source, needed_columns, limit, filesystems)
    return dataclasses.replace(spec, as_written=as_written)


def _inspect_files(
    source: SourceConfig, limit: int | None, filesystems: Filesystems, *, as_written: bool
) -> SourceSpec:
    patterns: list[Pattern] = []
    seen: dict[str | None, str] = {}
    for text in source.files or ():
        group: list[Pattern] = []
        sample: list[Found] = []
        with source_faults(f"source.files: cannot list {text}", source.storage):
            for one in expanded(text):
                check_address(one, source.storage)
                named = one if as_written else canonical(one, source.storage)
                pattern = parse_pattern(named, filesystems)
                group.append(pattern)
                sample += _sample(pattern, filesystems)
        if not sample:
            raise _no_file(text, group)
        for found in sample:
            seen.setdefault(media_of(found.uri), found.uri)
        patterns += group
    return SourceSpec(
        source,
        source.media or one_media(seen, "source.files"),
        limit=limit,
        patterns=tuple(patterns),
        relative_to=str(Path.cwd()) if any(is_relative(pattern.first) for pattern in patterns) else "",
    )


def _sample(pattern: Pattern, filesystems: Filesystems) -> list[Found]:
    """The first files that a pattern matches; archives that cannot be read are passed over while another can.

    Raises:
        SourceError: it matches none, and some archive cannot be read.
    """
    if pattern.archives is None:
        return list(itertools.islice(list_folder(pattern, whole(pattern), filesystems), _SAMPLE))
    found, spoilt = list[Found](), list[Spoilt]()
    for archive in list_files(pattern.archives, whole(pattern), filesystems):
        for one in look_inside([pattern], 0, archive, filesystems):
            if isinstance(one, Spoilt):
                spoilt.append(one)
                continue
            found.append(one.found)
            if len(found) == _SAMPLE_OF_ARCHIVES:
                return found
    fault = next((one for one in spoilt if one.error is not None), None)
    if fault is not None and not found:
        raise SourceError(
            f"source.files: {shown(fault.uri)} cannot be read: {fault.error}; check the archive, source.storage and "
            "the permissions"
        )
    return found


def _no_file(text: str, group: Sequence[Pattern]) -> SourceError:
    magic = any(pattern.parts or pattern.archives for pattern in group)
    what = "matches no file" if magic else "does not exist"
    if len(group) > 1:
        what = f"stands for {', '.join(expanded(text))}, which match no file"
    kind = EmptySourceError if magic else SourceError
    return kind(
        f"source.files: {shown(text)} {what}; check the path, and that `**` is used to look into folders"
    )


def _inspect_manifest(
    source: SourceConfig, needed: Collection[str], limit: int | None, filesystems: Filesystems
) -> SourceSpec:
    key = "source.manifest" if source.manifest is not None else "source.table"
    snapshot = snapshot_of(source, filesystems)
    if snapshot is not None:
        manifests, base = snapshot_files(snapshot), source.table or ""
    else:
        manifests, base = manifest_files(source, key, filesystems)
    if not manifests:
        raise EmptySourceError(f"{key}: {snapshot} {source.table} has no rows; nothing to do")
    for manifest in manifests:  # engines leave empty files beside full ones
        with source_faults(f"{key}: cannot read {manifest.path}", source.storage):
            schema, rows = columns_of(
                manifest, filesystems, needed=[source.columns.uri or source.columns.id or ""]
            )
        if rows:
            break
    else:
        raise EmptySourceError(f"{key}: {manifests[0].path} has no rows; nothing to do")
    columns = source.columns
    _check_allowed(source, key, base, [row.values.get(columns.uri or "") for row in rows])
    if manifest.kind == "parquet":
        required = {name for name in (columns.uri, columns.content, columns.id) if name}
        with source_faults(
            f"{key}: cannot read the footers of {source.table or source.manifest}", source.storage
        ):
            schema = common_schema(manifests, filesystems, required)
    partitions = dict.fromkeys(name for one in manifests for name in one.partitions)
    own = [field for field in schema if field.name not in partitions]
    schema = pa.schema([*own, *(partition_field(name, manifests) for name in partitions)])
    check_columns(columns, needed, manifest, schema, partitions)
    return SourceSpec(
        source,
        source.media or manifest_media(source, key, schema, rows),
        columns=tuple(dict.fromkeys([*columns.kept.values(), *sorted(needed)])),
        arguments=tuple(sorted(needed)),
        limit=limit,
        manifests=manifests,
        base=base,
        schema=schema,
        snapshot="" if snapshot is None else str(snapshot),
        relative_to=relative_to(source, base, rows),
        first_uris=tuple(
            resolve(as_text(uri), base) for row in rows if (uri := row.values.get(columns.uri or ""))
        ),
    )


def _allowed(source: SourceConfig) -> Allowed:
    manifest = source.manifest or source.table
    return Allowed.of(source.allow, manifest) if manifest else EVERYTHING


def _check_allowed(source: SourceConfig, key: str, base: str, uris: Sequence[Any]) -> None:
    """Refuse a manifest of which no reference may be read; of others each becomes an error row."""
    allowed = _allowed(source)
    if allowed.everything:
        return
    faults = [allowed.fault(resolve(as_text(uri), base)) for uri in uris if uri]
    if faults and all(faults):
        raise SourceError(f"{key}: none of its first references may be read: {faults[0]}")
