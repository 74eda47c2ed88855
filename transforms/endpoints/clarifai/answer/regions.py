"""Writes the `Region` messages of an answer to rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ....rows.columns import NO_CONCEPTS, Concepts
from ....rows.region_rows import RegionRows, Shape
from .items import best_of

__all__ = ["concepts_of", "read_regions"]

# Point.Visibility VISIBLE, NOT_VISIBLE, NOT_PRESENT; any other counts as visible.
_COCO_VISIBILITY = {1: 2.0, 2: 1.0, 3: 0.0}


def read_regions(regions: Iterable[Any], rows: RegionRows) -> None:
    """Add the regions of one row."""
    if rows.may_turn:
        rows.turn_by(region.region_info.mask.image.base64 for region in regions)
    add, has_shapes = rows.add, rows.has_shapes
    for region in regions:
        info = region.region_info
        concepts = region.data.concepts
        label, score = best_of(concepts, region.value)
        box_rel: Sequence[float] = ()
        if info.HasField("bounding_box"):
            box = info.bounding_box
            left, top = box.left_col, box.top_row
            box_rel = (left, top, box.right_col - left, box.bottom_row - top)
        shape = _shape(region, info, concepts) if has_shapes and _has_shape(info) else None
        add(label, score, box_rel, region.id or None, region.track_id or None, shape)


def concepts_of(concepts: Sequence[Any]) -> Concepts:
    """`Concept` messages as columns."""
    if not concepts:
        return NO_CONCEPTS
    concepts = list(concepts)  # a repeated field makes its items anew each time it is walked
    return (
        [concept.id for concept in concepts],
        [concept.name for concept in concepts],
        [concept.value for concept in concepts],
    )


def _shape(region: Any, info: Any, concepts: Sequence[Any]) -> Shape:
    image = info.mask.image
    picture = image.base64 or image.decoded_bytes
    return Shape(
        picture if picture or (info.HasField("mask") and not image.url) else None,
        image.url,
        [axis for point in info.polygon.points for axis in (point.col, point.row)],
        [
            axis
            for point in info.keypoint_locations
            for axis in (point.col, point.row, _COCO_VISIBILITY.get(point.visibility, 2.0))
        ],
        (info.point.col, info.point.row) if info.HasField("point") else (),
        region.data.text.raw or region.data.string_value,
        concepts_of(concepts),
    )


def _has_shape(info: Any) -> bool:
    return (
        info.HasField("mask")
        or info.HasField("polygon")
        or info.HasField("point")
        or len(info.keypoint_locations) > 0
    )
