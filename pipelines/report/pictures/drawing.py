"""Draws what a model found over a thumbnail: masks along their pixels, boxes, polygons, points and labels, as SVG."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from bulkinfer.transforms.errors import DecodeError
from bulkinfer.transforms.rows.masks import encode_mask
from numpy.typing import NDArray
from pycocotools import mask as coco

from ..markup import Element, clipped, element
from .outlines import outline, sampled
from .thumbnails import Size, Thumbnail

__all__ = ["COLOURS", "Drawing", "draw", "frame_size"]

COLOURS = 10
_MOST_REGIONS, _MOST_LABELS = 120, 12
_UNDER_MASKS = 2  #: pixels of a label's foot above its box
#: How people see a picture of a width and height: EXIF's turns as matrices of SVG.
_MATRICES = {
    2: "-1 0 0 1 {w} 0",
    3: "-1 0 0 -1 {w} {h}",
    4: "1 0 0 -1 0 {h}",
    5: "0 1 1 0 0 0",
    6: "0 1 -1 0 {h} 0",
    7: "0 -1 -1 0 {h} {w}",
    8: "0 -1 1 0 0 {w}",
}
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A picture with what was found in it.

    Attributes:
        svg: the picture and all that is drawn over it.
        regions: how many were drawn.
        left_out: regions that were not drawn, being too many or too small.
        unplaced: masks of which it is not known where in the picture they are.
    """

    svg: Element
    regions: int
    left_out: int
    unplaced: int


def frame_size(masks: Sequence[Row]) -> Size | None:
    """The size of the picture that masks are of, where their row does not tell it."""
    sizes = (mask["segmentation"]["size"] for mask in masks if mask.get("segmentation"))
    return next(((width, height) for height, width in sizes), None)


def draw(picture: Thumbnail, row: Row, masks: Sequence[Row], name: str) -> Drawing:
    """Draw the regions of a row over its picture.

    Args:
        picture: in the frame in which the regions are.
        row: of `predictions`.
        masks: the rows of `masks` that belong to it.
        name: what people who cannot see the picture are told.
    """
    by_region = {mask["region_index"]: mask for mask in masks}
    regions = [
        {**region, "mask": by_region.pop(region["region_index"], None)} for region in row["regions"] or ()
    ]
    regions += [{**mask, "mask": mask} for mask in by_region.values()]
    regions.sort(key=_size, reverse=True)  # the smaller ones lie above the larger ones
    kept = regions[:_MOST_REGIONS]
    drawn = [_Region(picture, region) for region in kept]
    shapes = [one for region in drawn for one in region.shapes()]
    labels = [one for region in drawn for one in region.label()][-_MOST_LABELS:]
    size = {"width": picture.width, "height": picture.height}
    image: dict[str, str | int | float | None] = {**size, "href": picture.uri, "class": "photo"}
    group = element("g", _turn(picture), element("image", image), shapes)
    width, height = picture.width, picture.height
    if picture.turn in (5, 6, 7, 8):
        width, height = height, width
    about = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": name, "class": "picture"}
    unplaced = sum(region.unplaced for region in drawn)
    return Drawing(element("svg", about, group, labels), len(kept), len(regions) - len(kept), unplaced)


class _Region:
    """One region, in pixels of the thumbnail."""

    def __init__(self, picture: Thumbnail, region: Row) -> None:
        self._picture, self._region, self._mask = picture, region, region["mask"]
        self._scale = picture.width / picture.size[0], picture.height / picture.size[1]
        named = region.get("track_id") or region.get("label")
        self._colour = zlib.crc32(named.encode()) if named else region["region_index"]
        self.unplaced = 0

    def shapes(self) -> Iterator[Element]:
        path = "".join(self._paths())
        title = element("title", None, self._title())
        colour = f"c{self._colour % COLOURS}"
        if path:
            yield element("path", {"d": path, "class": f"mask {colour}"}, title)
        box = self._box()
        if box is not None:
            x, y, width, height = (round(one, 1) for one in box)
            place: dict[str, Any] = {"x": x, "y": y, "width": width, "height": height}
            lone = "" if path else " lone"
            yield element("rect", {**place, "class": f"box {colour}{lone}"}, None if path else title)
        for x, y in self._points():
            yield element(
                "circle", {"cx": round(x, 1), "cy": round(y, 1), "r": 3, "class": f"point {colour}"}
            )

    def label(self) -> Iterator[Element]:
        said = self._region.get("label") or (self._mask or {}).get("text")
        box = self._box()
        if not said or box is None:
            return
        # Beside the turned picture, so that it stands upright: at the corner of the box that is up and left then.
        corners = [
            _seen_at(self._picture, box[0] + x * box[2], box[1] + y * box[3]) for x in (0, 1) for y in (0, 1)
        ]
        x, y = min(x for x, _ in corners), min(y for _, y in corners)
        place = {"x": round(x + 2, 1), "y": round(max(11.0, y - _UNDER_MASKS), 1)}
        yield element(
            "text", {**place, "class": "label"}, clipped(" ".join(said.split()), 24).split(" \u2026")[0]
        )

    def _paths(self) -> Iterator[str]:
        if self._mask is None:
            return
        pixels = self._pixels()
        if pixels is not None:
            yield outline(pixels)
        elif self._mask.get("polygon"):
            x_scale, y_scale = self._scale
            for points in self._mask["polygon"]:
                pairs = [
                    f"{x * x_scale:.1f} {y * y_scale:.1f}"
                    for x, y in zip(points[::2], points[1::2], strict=False)
                ]
                yield f"M{'L'.join(pairs)}z"

    def _pixels(self) -> NDArray[np.bool_] | None:
        """The mask on the thumbnail's own grid; None where there is none, or its place is not known."""
        mask, note = _decoded(self._mask), self._mask.get("note") or ""
        if mask is None:
            return None
        width, height = self._picture.width, self._picture.height
        if "crop" not in note and "other_size" not in note:
            return sampled(mask, height, width)
        box = self._box()
        if "crop" not in note or box is None:
            self.unplaced = 1
            return None
        left, top = round(box[0]), round(box[1])
        right, bottom = max(left + 1, round(box[0] + box[2])), max(top + 1, round(box[1] + box[3]))
        whole = np.zeros((height, width), bool)
        part = sampled(mask, bottom - top, right - left)
        whole[top:bottom, left:right] = part[: height - top, : width - left]
        return whole

    def _box(self) -> list[float] | None:
        relative = self._region.get("bbox_rel")
        if not relative or not np.isfinite(relative).all():
            return None
        width, height = self._picture.width, self._picture.height
        x, y, w, h = relative
        return [x * width, y * height, w * width, h * height]

    def _points(self) -> Iterator[tuple[float, float]]:
        """Keypoints that are seen, and the region's own point."""
        if self._mask is None:
            return
        flat = [*(self._mask.get("keypoints") or ()), *(self._mask.get("point") or ()), 1]
        for x, y, seen in zip(flat[::3], flat[1::3], flat[2::3], strict=False):
            if seen:
                yield x * self._scale[0], y * self._scale[1]

    def _title(self) -> str:
        region, mask = self._region, self._mask or {}
        score, area = region.get("score"), mask.get("area")
        parts = (
            region.get("label") or f"region {region['region_index']}",
            f"track {region['track_id']}" if region.get("track_id") else "",
            "" if score is None else f"{score:.3g}",
            "" if area is None else f"{area:,} px",
            clipped(mask.get("text") or "", 200),
            mask.get("note") or "",
        )
        return ", ".join(filter(None, parts))


def _decoded(mask: Row) -> NDArray[Any] | None:
    """The pixels of a mask in its own size; None where there is none that can be read."""
    coded = mask.get("segmentation")
    picture = (mask.get("mask") or {}).get("bytes")
    if not coded and picture:
        try:
            rle = encode_mask(picture)
        except DecodeError:
            return None
        coded = {"size": [rle.height, rle.width], "counts": rle.counts}
    if not coded:
        return None
    decoded: NDArray[Any] = coco.decode(coded)
    return decoded


def _size(region: Row) -> float:
    mask = region["mask"] or {}
    box = region.get("bbox_rel") or (0, 0, 0, 0)
    return float(mask.get("area") or 0) or float(box[2] * box[3])


def _seen_at(picture: Thumbnail, x: float, y: float) -> tuple[float, float]:
    """Where people see a point of a picture that is turned."""
    matrix = _MATRICES.get(picture.turn, "1 0 0 1 0 0").format(w=picture.width, h=picture.height)
    a, b, c, d, e, f = map(float, matrix.split())
    return a * x + c * y + e, b * x + d * y + f


def _turn(picture: Thumbnail) -> dict[str, Any] | None:
    matrix = _MATRICES.get(picture.turn)
    if matrix is None:
        return None
    return {"transform": f"matrix({matrix.format(w=picture.width, h=picture.height)})"}
