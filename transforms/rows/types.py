"""The Arrow types of nested columns, used by schemas, footers and the builders of columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = [
    "CLUSTERS",
    "COLORS",
    "CONCEPTS",
    "FLOATS",
    "HITS",
    "IMAGE",
    "NDARRAY",
    "REGIONS",
    "SCHEMA_VERSION",
    "SEGMENTATION",
    "TIME_SEGMENTS",
    "TRACKS",
]

SCHEMA_VERSION = 3


def struct_list(*fields: tuple[str, Any]) -> Any:
    return pa.list_(pa.struct([pa.field(name, kind) for name, kind in fields]))


FLOATS = pa.list_(pa.float32())
TIMES = (("begin_time", pa.float32()), ("end_time", pa.float32()), ("num_frames", pa.int32()))

CONCEPTS = struct_list(("id", pa.string()), ("name", pa.string()), ("value", pa.float32()))
IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])  # as Hugging Face's Image
REGIONS = struct_list(
    ("region_index", pa.int32()),
    ("region_id", pa.string()),
    ("track_id", pa.string()),
    ("label", pa.string()),
    ("score", pa.float32()),
    ("bbox", FLOATS),
    ("bbox_rel", FLOATS),
)
NDARRAY = pa.struct(
    [
        pa.field("buffer", pa.binary()),
        pa.field("shape", pa.list_(pa.int32())),
        pa.field("dtype", pa.string()),
    ]
)
COLORS = struct_list(
    ("raw_hex", pa.string()), ("w3c_hex", pa.string()), ("w3c_name", pa.string()), ("value", pa.float32())
)
HITS = struct_list(
    ("score", pa.float32()), ("input_id", pa.string()), ("annotation_id", pa.string()), ("uri", pa.string())
)
CLUSTERS = struct_list(
    ("id", pa.string()),
    ("count", pa.int32()),
    ("score", pa.float32()),
    ("projection", FLOATS),
    ("hits", HITS),
)
TIME_SEGMENTS = struct_list(
    ("id", pa.string()),
    *TIMES,
    ("concepts", CONCEPTS),
    ("text", pa.string()),
    ("track_ids", pa.list_(pa.string())),
)
TRACK_FRAMES = struct_list(
    ("frame_index", pa.int32()),
    ("frame_number", pa.int32()),
    ("frame_time_ms", pa.int64()),
    ("concepts", CONCEPTS),
    ("regions", REGIONS),
)
TRACKS = struct_list(
    ("id", pa.string()),
    *TIMES,
    ("quality", pa.float32()),
    ("concepts", CONCEPTS),
    ("frames", TRACK_FRAMES),
)
SEGMENTATION = pa.struct([pa.field("size", pa.list_(pa.int32())), pa.field("counts", pa.string())])
