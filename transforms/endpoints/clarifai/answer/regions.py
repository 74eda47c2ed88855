"""Regions of an answer: light rows inside `predictions`, and one row of `masks` for each that has a shape.

A region has a shape when it carries a mask, a polygon, keypoints or a point. Places come in 0..1 from the
upper left corner and leave as COCO's pixels where the picture's size is known, by the content or by the mask
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ....errors import DecodeError
from ....rows.columns import ConceptColumn, FloatListColumn, RegionColumn, SparseColumn
from ....rows.masks import MaskRle, encode_mask, png_size
from ....rows.types import SEGMENTATION

__all__ = ["MaskRows", "RegionReader", "RowKey", "Size"]

Size = tuple[int, int]  # width, height in pixels
RowKey = tuple[str, str | None, int | None, int | None, int | None, int]  # of one row: KEY and output_index

_COCO_VISIBILITY = {
    1: 2.0,
    2: 1.0,
    3: 0.0,
}  # Point.Visibility VISIBLE, NOT_VISIBLE, NOT_PRESENT; others: visible


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
        self.sparse = {name: SparseColumn() for name in ("mask", "polygon", "keypoints", "point", "text")}
        self.nbytes = 0

    def cut(self, count: int) -> None:
        """Keep the first `count` rows."""
        del self.rows[count:], self.inputs[count:], self.rles[count:]
        self.concepts.cut(count)
        self.bbox.cut(count)
        self.bbox_rel.cut(count)
        for column in self.sparse.values():
            column.cut(count)

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


class RegionReader:
    """Reads `Region` messages into the light column and the masks table.

    Args:
        masks: how masks are stored: rle | png | both | none.
        light: the `regions` column of predictions.
        rows: the masks table.
    """

    def __init__(self, masks: str, light: RegionColumn, rows: MaskRows) -> None:
        self._rle = masks in ("rle", "both")
        self._png = masks in ("png", "both")
        self._shapes = masks != "none"
        self._light = light
        self._rows = rows
        self._coded: dict[bytes, MaskRle] | None = None
        self.ordinal = 0
        self.size: Size | None = None

    def start(self, ordinal: int, size: Size | None, *, remember: dict[bytes, MaskRle] | None = None) -> None:
        """Begin an input.

        Args:
            ordinal: of the input, in the order of adding.
            size: of the input's picture.
            remember: masks that were coded already, for an answer that is read once more for another
                reference.
        """
        self.ordinal, self.size, self._coded = ordinal, size, remember

    def read(self, regions: Iterable[Any], key: RowKey, first_index: int) -> int:
        """Add the regions of one row; returns the index after the last.

        Raises:
            DecodeError: a mask cannot be decoded.
        """
        light, shapes = self._light, self._shapes
        add_index, add_id, add_track = light.indexes.append, light.ids.append, light.track_ids.append
        add_label, add_score = light.labels.append, light.scores.append
        add_bbox, add_bbox_rel = light.bbox.append, light.bbox_rel.append
        index = first_index
        for region in regions:
            info = region.region_info
            concepts = region.data.concepts
            label, score = _best(concepts, region.value)
            bbox_rel: Sequence[float] = ()
            bbox: Sequence[float] = ()
            if info.HasField("bounding_box"):
                box = info.bounding_box
                left, top = box.left_col, box.top_row
                bbox_rel = (left, top, box.right_col - left, box.bottom_row - top)
                if self.size is not None:
                    width, height = self.size
                    bbox = (left * width, top * height, bbox_rel[2] * width, bbox_rel[3] * height)
            if shapes and _has_shape(info):
                bbox, bbox_rel = self._add_shape(region, info, key, (index, label, score, bbox, bbox_rel))
            add_index(index)
            add_id(region.id or None)
            add_track(region.track_id or None)
            add_label(label)
            add_score(score)
            add_bbox(bbox)
            add_bbox_rel(bbox_rel)
            index += 1
        return index

    def _add_shape(
        self,
        region: Any,
        info: Any,
        key: RowKey,
        seen: tuple[int, str | None, float | None, Sequence[float], Sequence[float]],
    ) -> tuple[Sequence[float], Sequence[float]]:
        index, label, score, bbox, bbox_rel = seen
        rows = self._rows
        at = len(rows.rows)
        image = info.mask.image
        picture = image.base64 or image.decoded_bytes
        rle, mask_size = self._code(picture, index, boxed=bool(bbox_rel)) if picture else (None, None)
        size = self.size or mask_size
        self.size = size
        source = "model" if bbox_rel else None
        if not bbox_rel and rle is not None:
            source = "mask"
            bbox_rel = _relative(rle)
            bbox = rle.bbox if size == (rle.width, rle.height) else _pixels(bbox_rel, size)
        elif not bbox and bbox_rel:
            bbox = _pixels(bbox_rel, size)
        stored = rle if self._rle else None
        rows.rles.append(stored)
        rows.inputs.append(self.ordinal)
        best_id, _, _ = rows.concepts.append(region.data.concepts)
        rows.bbox.append(bbox)
        rows.bbox_rel.append(bbox_rel)
        rows.rows.append(
            (
                *key,
                index,
                region.id or None,
                region.track_id or None,
                best_id,
                label,
                score,
                source,
                rle.area if rle is not None else None,
            )
        )
        rows.nbytes += 160 + (len(stored.counts) if stored else 0) + 40 * len(region.data.concepts)
        if self._png and picture:
            rows.sparse["mask"].put(at, {"bytes": picture, "path": None})
            rows.nbytes += len(picture)
        elif image.url and not picture:
            rows.sparse["mask"].put(at, {"bytes": None, "path": image.url})
        self._add_points(info, at, size)
        text = region.data.text.raw or region.data.string_value
        if text:
            rows.sparse["text"].put(at, text)
            rows.nbytes += len(text)
        return bbox, bbox_rel

    def _code(self, picture: bytes, index: int, *, boxed: bool) -> tuple[MaskRle | None, Size]:
        if not self._rle and boxed:
            size = png_size(picture)
            if size is not None:  # stored as received, so its size is all that is needed
                return None, size
        rle = self._coded.get(picture) if self._coded is not None else None
        if rle is None:
            try:
                rle = encode_mask(picture)
            except DecodeError as error:
                raise DecodeError(error.error_type, f"region {index}: {error.message}") from error
            if self._coded is not None:
                self._coded[picture] = rle
        return rle, (rle.width, rle.height)

    def _add_points(self, info: Any, at: int, size: Size | None) -> None:
        if size is None:
            return
        width, height = size
        sparse = self._rows.sparse
        if len(info.polygon.points):
            sparse["polygon"].put(
                at,
                [
                    [
                        place
                        for point in info.polygon.points
                        for place in (point.col * width, point.row * height)
                    ]
                ],
            )
        if len(info.keypoint_locations):
            sparse["keypoints"].put(
                at,
                [
                    place
                    for point in info.keypoint_locations
                    for place in (
                        point.col * width,
                        point.row * height,
                        _COCO_VISIBILITY.get(point.visibility, 2.0),
                    )
                ],
            )
        if info.HasField("point"):
            sparse["point"].put(at, [info.point.col * width, info.point.row * height])


def _best(concepts: Any, value: float) -> tuple[str | None, float | None]:
    """Label and score of a region: of its best concept, or the region's own value where no concept scores."""
    count = len(concepts)
    if not count:
        return None, value or None
    best = concepts[0] if count == 1 else max(concepts, key=_value)
    return best.name or best.id or None, best.value or value


def _value(concept: Any) -> float:
    score: float = concept.value
    return score


def _has_shape(info: Any) -> bool:
    return (
        info.HasField("mask")
        or info.HasField("polygon")
        or info.HasField("point")
        or len(info.keypoint_locations) > 0
    )


def _relative(rle: MaskRle) -> tuple[float, float, float, float]:
    x, y, width, height = rle.bbox
    return x / rle.width, y / rle.height, width / rle.width, height / rle.height


def _pixels(bbox_rel: Sequence[float], size: Size | None) -> Sequence[float]:
    if size is None:
        return ()
    width, height = size
    x, y, box_width, box_height = bbox_rel
    return x * width, y * height, box_width * width, box_height * height
