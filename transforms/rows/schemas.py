"""The Arrow schemas of the three tables: the public contract of what a job writes.

Every column stands in every file, whatever the model: adding one later breaks Polars and Hugging Face
`datasets` and is dropped silently by PyArrow and pandas, so it asks for a new version, which `tables.output_check`
keeps apart from older ones. Boxes are `list<float>`, because fixed-size lists
with nulls fail to read back in PyArrow 25. `docs/` holds the meaning of each column; here are only names,
types and nullability.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ConfigError
from ..kept.types import source_of
from .footers import footer_metadata
from .types import (
    CLUSTERS,
    COLORS,
    CONCEPTS,
    FLOATS,
    HITS,
    IMAGE,
    NDARRAY,
    REGIONS,
    SCHEMA_VERSION,
    SEGMENTATION,
    TIME_SEGMENTS,
    TRACKS,
)

__all__ = [
    "SCHEMA_VERSION",
    "errors_schema",
    "footer_metadata",
    "keep_columns",
    "masks_schema",
    "parquet_options",
    "predictions_schema",
]

Schema = Any  # pyarrow carries no types

_UTC_US = pa.timestamp("us", tz="UTC")


def _field(name: str, kind: Any) -> Any:
    """A field named as in TABLES: a trailing `!` says that it is never null."""
    return pa.field(name.rstrip("!"), kind, nullable=not name.endswith("!"))


_KEY = [
    ("input_id!", pa.string()),
    ("uri", pa.string()),
    ("frame_index", pa.int32()),
    ("frame_number", pa.int32()),
    ("frame_time_ms", pa.int64()),
]

_PREDICTIONS = [
    *_KEY,
    ("output_index!", pa.int32()),
    ("run_id!", pa.string()),
    ("media_type", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("orientation", pa.int32()),
    ("output_id", pa.string()),
    ("status_code!", pa.int32()),
    ("created_at", _UTC_US),
    ("label", pa.string()),
    ("score", pa.float32()),
    ("concepts", CONCEPTS),
    ("num_regions!", pa.int32()),
    ("text", pa.string()),
    ("tool_calls", pa.string()),
    ("finish_reason", pa.string()),
    ("reasoning", pa.string()),
    ("embedding", FLOATS),
    ("json", pa.string()),
    ("int_value", pa.int64()),
    ("float_value", pa.float64()),
    ("bool_value", pa.bool_()),
    ("string_value", pa.string()),
    ("bytes_value", pa.binary()),
    ("ndarray", NDARRAY),
    ("regions", REGIONS),
    ("colors", COLORS),
    ("clusters", CLUSTERS),
    ("hits", HITS),
    ("heatmaps", pa.list_(IMAGE)),
    ("image", IMAGE),
    ("time_segments", TIME_SEGMENTS),
    ("tracks", TRACKS),
    ("prompt_tokens", pa.int32()),
    ("completion_tokens", pa.int32()),
    ("cached_tokens", pa.int32()),
    ("latency_ms", pa.float32()),
    ("attempts", pa.int32()),
    ("model_url", pa.string()),
    ("model_version", pa.string()),
    ("raw", pa.binary()),
]

_MASKS = [
    *_KEY,
    ("output_index!", pa.int32()),
    ("run_id!", pa.string()),
    ("region_index!", pa.int32()),
    ("region_id", pa.string()),
    ("track_id", pa.string()),
    ("label_id", pa.string()),
    ("label", pa.string()),
    ("score", pa.float32()),
    ("concepts", CONCEPTS),
    ("bbox", FLOATS),
    ("bbox_rel", FLOATS),
    ("bbox_source", pa.string()),
    ("area", pa.int32()),
    ("segmentation", SEGMENTATION),
    ("mask", IMAGE),
    ("polygon", pa.list_(FLOATS)),
    ("keypoints", FLOATS),
    ("point", FLOATS),
    ("text", pa.string()),
    ("note", pa.string()),
]

_ERRORS = [
    *_KEY,
    ("run_id!", pa.string()),
    ("stage!", pa.string()),
    ("error_type!", pa.string()),
    ("message!", pa.string()),
    ("status_code", pa.int32()),
    ("grpc_code", pa.string()),
    ("retryable!", pa.bool_()),
    ("attempts!", pa.int32()),
    ("request_id", pa.string()),
    ("failed_at!", _UTC_US),
]


def keep_columns(keep: Schema | None) -> list[Any]:
    """The fields that `keep` adds to the predictions table, all nullable.

    Raises:
        ConfigError: a kept column has the name of a column of the schema.
    """
    taken = {name.rstrip("!") for name, _ in _PREDICTIONS}
    for field in keep or ():
        if field.name in taken:
            raise ConfigError(
                f"source.columns.keep names {field.name!r}, which is a column of the predictions table "
                f"itself; keep it under another name, as in keep: {{my_{field.name}: {source_of(field)}}}"
            )
    return [field.with_nullable(True) for field in keep or ()]


def predictions_schema(keep: Schema | None = None, *, without: Collection[str] = ()) -> Schema:
    """The schema of `predictions`: one row an input; for a stream or a video one row an output item.

    Args:
        keep: the kept columns of the source; they follow the columns of the schema.
        without: partition keys, which the path holds and the files must not repeat.

    Raises:
        ConfigError: a kept column has the name of a column of the schema.
    """
    fields = [_field(*column) for column in _PREDICTIONS] + keep_columns(keep)
    return pa.schema([field for field in fields if field.name not in without])


def masks_schema(*, without: Collection[str] = ()) -> Schema:
    """The schema of `masks`: one row a region that has a mask, a polygon, keypoints or a point."""
    return pa.schema([_field(*column) for column in _MASKS if column[0].rstrip("!") not in without])


def errors_schema(*, without: Collection[str] = ()) -> Schema:
    """The schema of `errors`: one row an input that did not succeed."""
    return pa.schema([_field(*column) for column in _ERRORS if column[0].rstrip("!") not in without])


# Columns whose values repeat; on masks, texts and other unique values a dictionary would be built in vain.
_DICTIONARY = (
    "input_id",
    "uri",
    "run_id",
    "media_type",
    "label",
    "label_id",
    "bbox_source",
    "note",
    "model_url",
    "model_version",
    "stage",
    "error_type",
    "grpc_code",
    "concepts.list.element.id",
    "concepts.list.element.name",
    "regions.list.element.label",
    "region_index",
    "output_index",
    "frame_index",
    "frame_number",
    "status_code",
    "num_regions",
    "attempts",
    "width",
    "height",
    "orientation",
    "segmentation.size.list.element",
)


def parquet_options(schema: Schema, *, sorted_by_input: bool = False) -> dict[str, Any]:
    """The options of `ParquetWriter` for each of our tables: the one place that says how they are written.

    zstd 3 is 4 % smaller than 1 at 2 us more a mask; 9 costs four times as much for another 6 %. The page
    index lets readers skip pages by `input_id`.

    Args:
        schema: of the table that is written, kept columns included.
        sorted_by_input: the rows are in the order of `input_id`.
    """
    top = {field.name for field in schema}
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [path for path in _DICTIONARY if path.split(".")[0] in top],
        "write_page_index": True,
        "write_statistics": True,
        "version": "2.6",
    }
    if sorted_by_input and "input_id" in top:
        options["sorting_columns"] = [pq.SortingColumn(schema.get_field_index("input_id"))]
    return options
