"""The rows of the predictions table, held by column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from ..endpoints.clarifai.answer.items import (
    cluster_row,
    color_row,
    hit_row,
    picture,
    segment_row,
    track_row,
    whole_number,
)
from ..endpoints.clarifai.answer.values import Leaf
from ..errors import DecodeError
from .columns import ConceptColumn, RegionColumn, SparseColumn

__all__ = ["DENSE", "PredictionRows"]

#: Columns that nearly every row has; the rest is null unless the answer holds it.
DENSE = (
    "input_id",
    "uri",
    "frame_index",
    "frame_number",
    "frame_time_ms",
    "output_index",
    "media_type",
    "width",
    "height",
    "output_id",
    "status_code",
    "created_at",
    "label",
    "score",
    "num_regions",
    "latency_ms",
    "attempts",
    "model_version",
)
_BUILT = {*DENSE, "run_id", "model_url", "concepts", "regions"}
_SCALARS = ("int_value", "float_value", "bool_value", "bytes_value")
_TABLES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "colors": color_row,
    "clusters": cluster_row,
    "hits": hit_row,
    "time_segments": segment_row,
    "tracks": track_row,
    "heatmaps": picture,
}


class PredictionRows:
    """The rows of the predictions table.

    Args:
        schema: of the table, kept columns included.
    """

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self._dense: list[Any] = []  # one row after the other: a tuple a row would be work for the collector
        self.inputs: list[int] = []
        self.concepts = ConceptColumn()
        self.regions = RegionColumn()
        self.sparse = {name: SparseColumn() for name in schema.names if name not in _BUILT}
        self.nbytes = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        del self._dense[count * len(DENSE) :], self.inputs[count:]
        self.concepts.cut(count)
        self.regions.cut(count)
        for column in self.sparse.values():
            column.cut(count)

    def put(self, name: str, value: Any) -> None:
        """Set a value of the row that is being filled."""
        column = self.sparse[name]
        row = len(self.inputs)
        if not column.has(row):
            column.put(row, value)
            self.nbytes += 8

    def put_text(self, name: str, value: str | bytes) -> None:
        """Set a value of any length of the row that is being filled."""
        self.put(name, value)
        self.nbytes += len(value)

    def put_leaf(self, name: str, values: list[Any]) -> None:
        """Set the column of one kind of value from all values of that kind in an answer.

        Several scalars of one kind have no column of their own; the JSON of the answer holds them.

        Raises:
            DecodeError: a number does not fit its column.
        """
        if name in _SCALARS:
            if len(values) == 1:
                self.put(name, values[0])
                self.nbytes += len(values[0]) if name == "bytes_value" else 0
        elif name in _TABLES:
            self.put(name, [_TABLES[name](item) for items in values for item in items])
            self.nbytes += sum(item.ByteSize() for items in values for item in items)
        elif name == "embeddings":
            vectors = [vector for items in values for vector in items]
            if len(vectors) == 1:
                self.put("embedding", list(vectors[0].vector))
                self.nbytes += 4 * len(vectors[0].vector)
        elif name == "image":
            self._put_pictures(values)
        elif name == "ndarray":
            self._put_array(values)
        elif name in ("audio", "video") and len(values) == 1 and values[0].base64:
            self.put_text("bytes_value", values[0].base64)

    def _put_pictures(self, images: list[Any]) -> None:
        if len(images) == 1:
            self.put("image", picture(images[0]))
        else:
            self.put("heatmaps", [picture(image) for image in images])
        self.nbytes += sum(image.ByteSize() for image in images)

    def _put_array(self, values: list[Any]) -> None:
        if len(values) == 1:
            array = values[0]
            shape = [whole_number("ndarray.shape", side) for side in array.shape]
            self.put("ndarray", {"buffer": array.buffer, "shape": shape, "dtype": array.dtype})
            self.nbytes += len(array.buffer)

    def put_kept(self, name: str, value: Any) -> None:
        """Set a kept column of the source.

        Raises:
            DecodeError: the value is not of the column's type.
        """
        if value is None:
            return
        kind = self.schema.field(name).type
        try:
            pa.array([value], kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise DecodeError(
                "keep",
                f"the kept column {name!r} is {kind} in the source, but this row holds a "
                f"{type(value).__name__} that does not fit; make the column one type in the source",
            ) from error
        self.put(name, value)
        self.nbytes += len(value) if isinstance(value, (str, bytes)) else 0

    def close(self, ordinal: int, dense: tuple[Any, ...]) -> None:
        """End the row that is being filled.

        Args:
            ordinal: of the input, in the order of adding.
            dense: the values of `DENSE`.
        """
        self._dense.extend(dense)
        self.inputs.append(ordinal)
        self.nbytes += 120 + len(dense[0]) + len(dense[1] or "")

    def build(self, run_id: str, model_url: str | None) -> Any:
        """The rows as an Arrow table."""
        count = len(self.inputs)
        arrays: dict[str, Any] = {
            name: pa.array(self._dense[at :: len(DENSE)], self.schema.field(name).type)
            for at, name in enumerate(DENSE)
        }
        for name, column in self.sparse.items():
            arrays[name] = column.build(count, self.schema.field(name).type)
        arrays["run_id"] = pa.repeat(pa.scalar(run_id, pa.string()), count)
        arrays["model_url"] = pa.repeat(pa.scalar(model_url, pa.string()), count)
        arrays["concepts"] = self.concepts.build()
        arrays["regions"] = self.regions.build()
        return pa.Table.from_arrays([arrays[name] for name in self.schema.names], schema=self.schema)


def grouped(found: list[Leaf]) -> dict[str, list[Any]]:
    """The leaves of an answer by the name of their field."""
    groups: dict[str, list[Any]] = {}
    for name, value in found:
        groups.setdefault(name, []).append(value)
    return groups
