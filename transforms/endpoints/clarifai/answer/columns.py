"""Fills the columns of predictions from the typed values of an answer, each kind of value its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....rows.prediction_rows import PredictionRows
from .items import cluster_row, color_row, hit_row, picture, segment_row, track_row, whole_number
from .values import Leaf

__all__ = ["grouped", "put_leaf"]

_SCALARS = ("int_value", "float_value", "bool_value", "bytes_value")
_TABLES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "colors": color_row,
    "clusters": cluster_row,
    "hits": hit_row,
    "time_segments": segment_row,
    "tracks": track_row,
    "heatmaps": picture,
}


def put_leaf(rows: PredictionRows, name: str, values: list[Any]) -> None:
    """Set the column of one kind of value from all values of that kind in an answer.

    Several scalars of one kind have no column of their own; the JSON of the answer holds them.

    Raises:
        DecodeError: a number does not fit its column.
    """
    if name in _SCALARS:
        if len(values) == 1:
            rows.put(name, values[0])
            rows.nbytes += len(values[0]) if name == "bytes_value" else 0
    elif name in _TABLES:
        rows.put(name, [_TABLES[name](item) for items in values for item in items])
        rows.nbytes += sum(item.ByteSize() for items in values for item in items)
    elif name == "embeddings":
        vectors = [vector for items in values for vector in items]
        if len(vectors) == 1:
            rows.put("embedding", list(vectors[0].vector))
            rows.nbytes += 4 * len(vectors[0].vector)
    elif name == "image":
        _put_pictures(rows, values)
    elif name == "ndarray":
        _put_array(rows, values)
    elif name in ("audio", "video") and len(values) == 1 and values[0].base64:
        rows.put_text("bytes_value", values[0].base64)


def _put_pictures(rows: PredictionRows, images: list[Any]) -> None:
    if len(images) == 1:
        rows.put("image", picture(images[0]))
    else:
        rows.put("heatmaps", [picture(image) for image in images])
    rows.nbytes += sum(image.ByteSize() for image in images)


def _put_array(rows: PredictionRows, values: list[Any]) -> None:
    if len(values) == 1:
        array = values[0]
        shape = [whole_number("ndarray.shape", side) for side in array.shape]
        rows.put("ndarray", {"buffer": array.buffer, "shape": shape, "dtype": array.dtype})
        rows.nbytes += len(array.buffer)


def grouped(found: list[Leaf]) -> dict[str, list[Any]]:
    """The leaves of an answer by the name of their field."""
    groups: dict[str, list[Any]] = {}
    for name, value in found:
        groups.setdefault(name, []).append(value)
    return groups
