"""Collects the rows of the masks table, and builds the table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from .columns import ConceptColumn, FloatListColumn, SparseColumn
from .masks import MaskRle
from .types import SEGMENTATION

__all__ = ["UNREADABLE", "MaskRows"]

UNREADABLE = "unreadable"  #: how the note of a mask begins that cannot be read


class MaskRows:
    """The rows of the masks table."""

    _DENSE = ("input_id", "uri", "frame_index", "frame_number", "frame_time_ms", "output_index")
    _REGION = ("region_index", "region_id", "track_id", "label_id", "label", "score", "bbox_source", "area")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.inputs: list[int] = []
        self.rles: list[MaskRle | None] = []
        self.concepts = ConceptColumn()
        self.bbox = FloatListColumn()
        self.bbox_rel = FloatListColumn()
        self.sparse = {
            name: SparseColumn() for name in ("mask", "polygon", "keypoints", "point", "text", "note")
        }
        self.nbytes = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        del self.rows[count:], self.inputs[count:], self.rles[count:]
        self.concepts.cut(count)
        self.bbox.cut(count)
        self.bbox_rel.cut(count)
        for column in self.sparse.values():
            column.cut(count)

    @property
    def unreadable(self) -> int:
        """Rows whose mask cannot be read."""
        return sum(note.startswith(UNREADABLE) for note in self.sparse["note"].values)

    def build(self, schema: Any, run_id: str) -> Any:
        """The rows as an Arrow table."""
        count = len(self.rows)
        arrays: dict[str, Any] = {
            name: pa.array([row[at] for row in self.rows], schema.field(name).type)
            for at, name in enumerate((*self._DENSE, *self._REGION))
        }
        for name, column in self.sparse.items():
            arrays[name] = column.build(count, schema.field(name).type)
        arrays["run_id"] = pa.repeat(pa.scalar(run_id, pa.string()), count)
        arrays["concepts"] = self.concepts.build()
        arrays["bbox"], arrays["bbox_rel"] = self.bbox.build(), self.bbox_rel.build()
        arrays["segmentation"] = self._segmentations()
        return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)

    def _segmentations(self) -> Any:
        known = np.array([rle is not None for rle in self.rles], bool)
        sizes = [side for rle in self.rles if rle is not None for side in (rle.height, rle.width)]
        offsets = np.concatenate(([0], np.cumsum(known) * 2)).astype(np.int32)
        size = pa.ListArray.from_arrays(pa.array(offsets), pa.array(sizes, pa.int32()), mask=pa.array(~known))
        counts = pa.array([rle and rle.counts for rle in self.rles], pa.string())
        return pa.StructArray.from_arrays(
            [size.cast(SEGMENTATION[0].type), counts], fields=list(SEGMENTATION), mask=pa.array(~known)
        )

    def put_points(
        self,
        row: int,
        size: tuple[int, int] | None,
        polygon: Sequence[float],
        keypoints: Sequence[float],
        point: Sequence[float],
    ) -> list[str]:
        """Set the points of a row: they are given in 0..1 and stored in pixels.

        Args:
            size: width and height of the picture; None when it is unknown.
            polygon: x and y in turn.
            keypoints: x, y and visibility in turn.
            point: x and y.

        Returns:
            Why some of them are not stored.
        """
        if size is None:
            return ["points: they come in 0 to 1, and the picture's size is unknown; output.raw keeps them"]
        odd = []
        for name, values, factors in (
            ("polygon", polygon, size),
            ("keypoints", _placed(keypoints), (*size, 1)),
            ("point", point, size),
        ):
            scaled = _scaled(values, factors)
            if not all(map(math.isfinite, scaled)):
                odd.append(f"points: {name} holds what is no number")
            elif scaled:
                self.sparse[name].put(row, [scaled] if name == "polygon" else scaled)
                self.nbytes += 4 * len(scaled)
        return odd


def _placed(keypoints: Sequence[float]) -> Sequence[float]:
    """Keypoints of which those without a place are COCO's absent ones: zeros."""
    if all(map(math.isfinite, keypoints)):
        return keypoints
    points = zip(*(iter(keypoints),) * 3, strict=True)
    return [
        axis for point in points for axis in (point if all(map(math.isfinite, point)) else (0.0, 0.0, 0.0))
    ]


def _scaled(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [value * factor for value, factor in zip(values, itertools.cycle(factors), strict=False)]
