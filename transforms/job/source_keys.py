"""The keys below `source`: what a job reads, and how."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .section import MediaType, Section
from .units import Duration, Size, Texts, size

__all__ = ["ColumnsConfig", "SourceConfig", "SourceImageConfig", "SourceTimeoutConfig"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)


class ColumnsConfig(Section):
    """Which columns of a manifest or table mean what."""

    uri: str | None = Field(None, description="Column with the reference, any fsspec URL or path.")
    content: str | None = Field(None, description="Column with the content itself: text or bytes.")
    id: str | None = Field(None, description="Column with the input's id; default: the uri.")
    version: str | None = Field(None, description="Column with the content's version, such as an etag.")
    keep: tuple[str, ...] | dict[str, str] = Field(
        (),
        description="Columns copied into the predictions table: a list, or {gold: label} to keep `label` as `gold`.",
    )

    @property
    def kept(self) -> dict[str, str]:
        """Each kept column's name in the predictions table, and the column that it is a copy of."""
        return self.keep if isinstance(self.keep, dict) else {name: name for name in self.keep}

    @model_validator(mode="after")
    def _one_content(self) -> ColumnsConfig:
        if self.uri and self.content:
            raise ValueError(
                f"uri={self.uri!r} and content={self.content!r} both say where the content is; keep one of them"
            )
        if self.content and not self.id:
            raise ValueError(
                f"content={self.content!r} needs an id column as well, because there is no uri to name an input by; "
                "add id: COLUMN"
            )
        return self


class SourceTimeoutConfig(Section):
    """How long a file of a remote store may keep the others waiting."""

    idle: Duration = Field(
        30.0, description="An HTTP server that sends no byte for so long is given up and asked again."
    )
    file: Duration = Field(
        300.0, description="A file that is not read by then, further attempts included, becomes an error row."
    )


class SourceImageConfig(Section):
    """What is asked of pictures, and done to them, before they are sent."""

    orientation: Literal["keep", "apply"] = Field(
        "keep",
        description="apply: pictures are turned upright by their EXIF orientation and sent so; boxes and masks are "
        "those of the upright picture.",
    )
    max_pixels: Size | None = Field(
        size("85M"), description="A larger picture becomes an error row; null for no limit."
    )
    max_side: int | None = Field(
        None,
        ge=1,
        description="Pictures whose longer side has more pixels are made smaller before they are sent; boxes and "
        "masks are those of the smaller picture.",
    )


class SourceConfig(Section):
    """What the job reads: exactly one of files, manifest, table."""

    files: Texts | None = Field(None, description="A pattern or a list of patterns, any fsspec URL.")
    manifest: str | None = Field(
        None, description="A CSV, TSV, JSONL or Parquet file, or a pattern; one row an input."
    )
    table: str | None = Field(
        None, description="A Parquet dataset (Hive partitions are understood), a Delta or an Iceberg table."
    )
    format: Literal["parquet", "delta", "iceberg"] | None = Field(
        None, description="Of the table; by default told from what lies there."
    )
    snapshot: int | None = Field(
        None,
        ge=0,
        description="Version of a Delta table, or snapshot id of an Iceberg table; the latest by default.",
    )
    media: MediaType | None = Field(None, description="What the content is; by default told from the suffix.")
    columns: ColumnsConfig = Field(ColumnsConfig(), description="Columns of a manifest or table.")
    max_bytes: Size = Field(
        size("128MB"), description="A larger content becomes an error row and is not fetched."
    )
    image: SourceImageConfig = Field(
        SourceImageConfig(), description="What is asked of pictures, and done to them, before they are sent."
    )
    timeout: SourceTimeoutConfig = Field(
        SourceTimeoutConfig(), description="How long reading a remote file may take."
    )
    deduplicate: Literal["none", "content"] = Field(
        "none",
        description="content: inputs with identical content are sent and paid once; each gets its rows.",
    )
    revalidate: bool = Field(
        True,
        description="Ask the store for the version of finished inputs again, to find those that changed, and compare "
        "the content of those whose version is another.",
    )
    allow: tuple[str, ...] | None = Field(
        None,
        description="Schemes that a manifest's references may have, e.g. [https, s3]; `loopback` adds addresses of "
        "this machine. By default a manifest that came over the network may name neither files of this machine nor "
        "such addresses.",
    )
    vanished: Literal["keep", "drop"] = Field(
        "keep",
        description="drop: rows of inputs that the source names no more leave the tables with the next whole run, "
        "which lists the source once more for it; more than half of them at once only by run --allow-vanish.",
    )
    storage: dict[str, Any] = Field(
        {},
        description="fsspec options of the source's store. {env: NAME} or {file: PATH} in place of a value is read by "
        "each worker for itself.",
    )

    @field_validator("allow")
    @classmethod
    def _schemes(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for word in value or ():
            if not _SCHEME.fullmatch(word):
                raise ValueError(
                    f"{word!r} is no scheme; write the word before `://`, such as https, s3 or file"
                )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> SourceConfig:
        named = [key for key in ("files", "manifest", "table") if getattr(self, key)]
        if len(named) != 1:
            given = " and ".join(named) or "none of them"
            raise ValueError(f"exactly one of files, manifest, table must be given, found {given}")
        if self.files and self.columns != ColumnsConfig():
            raise ValueError(
                "columns belong to a manifest or a table, but this source is files; remove columns"
            )
        if not self.table and (self.format or self.snapshot is not None):
            raise ValueError("format and snapshot are of a table; add source.table, or remove them")
        if self.format == "parquet" and self.snapshot is not None:
            raise ValueError(
                "a folder of Parquet has no snapshots; remove snapshot, or write format: delta or iceberg"
            )
        if self.files and self.allow is not None:
            raise ValueError(
                "allow is about what a manifest or a table names, but this source is files; remove allow"
            )
        if not self.files and not (self.columns.uri or self.columns.content):
            raise ValueError(
                "a manifest or table needs columns: {uri: COLUMN} or columns: {content: COLUMN, id: COLUMN}"
            )
        return self
