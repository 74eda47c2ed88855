"""Polygons out of outlines: holes cut by a bridge, corners left out within a tolerance, and what that cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from .outlines import Outlines, area_of

__all__ = ["Tolerance", "bridged", "largest"]

Point = tuple[float, float]
Ring = list[Point]


@dataclasses.dataclass
class Tolerance:
    """Leaves out corners of polygons, and keeps account of what that cost.

    Attributes:
        pixels: how far an outline may be moved; 0 leaves all corners.
        masks: that were looked at.
        total: of their IoU with the exact polygons.
        least: of their IoU.
    """

    pixels: float = 0.0
    masks: int = 0
    total: float = 0.0
    least: float = 1.0

    def simplified(self, rings: list[list[int]]) -> list[list[int]]:
        """Rings without the corners that lie within the tolerance of the line between those that stay."""
        return [_simplified(one, self.pixels) for one in rings] if self.pixels else rings

    def account(
        self, exact: Sequence[Sequence[float]], made: Sequence[Sequence[float]], height: int, width: int
    ) -> None:
        """Keep account of what simpler polygons of a mask of this size cost."""
        if self.pixels:
            one, other = (_mask(polygons, height, width) for polygons in (exact, made))
            iou = float(coco.iou([one], [other], [0])[0, 0])
            self.masks, self.total, self.least = self.masks + 1, self.total + iou, min(self.least, iou)

    @property
    def told(self) -> dict[str, Any]:
        """For the manifest."""
        mean = self.total / self.masks if self.masks else 1.0
        return {
            "pixels": self.pixels,
            "masks": self.masks,
            "iou_mean": round(mean, 6),
            "iou_least": round(self.least, 6),
        }


def largest(outlines: Outlines) -> tuple[list[int], list[list[int]]]:
    """The largest piece of a mask and the holes that lie in it."""
    outer = max(outlines.outer, key=area_of)
    if not outlines.holes or len(outlines.outer) == 1:
        return outer, outlines.holes
    return outer, [hole for hole in outlines.holes if _holds(outer, hole)]


def bridged(outer: Sequence[float], holes: Sequence[Sequence[float]]) -> list[float]:
    """One polygon with holes: from each hole a line of no width leads to the left, to the next ring, and back.

    Filled by either rule it is the mask, holes and all. A hole that a simplified outline leaves outside is left out.

    Args:
        outer: x and y of its corners in turn, clockwise.
        holes: the same, the other way round.
    """
    ring = _points(outer)
    # The hole farthest to the left comes first, so that a walk to the left only meets rings that are connected.
    for start, hole in sorted((min(_points(hole)), _points(hole)) for hole in holes):
        met = _left_of(ring, start)
        if met is not None:
            spot, point = met
            at = hole.index(start)
            ring = [*ring[: spot + 1], point, *hole[at:], *hole[: at + 1], point, *ring[spot + 1 :]]
    return [axis for point in ring for axis in point]


def _points(flat: Sequence[float]) -> Ring:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _left_of(ring: Ring, start: Point) -> tuple[int, Point] | None:
    """The side of a ring that a walk to the left meets first, by its first corner, and the point where."""
    here = np.array(ring, np.float64)
    there = np.roll(here, -1, axis=0)
    rise = there[:, 1] - here[:, 1]
    share = np.divide(start[1] - here[:, 1], rise, out=np.zeros(len(here)), where=rise != 0)
    at = here[:, 0] + share * (there[:, 0] - here[:, 0])
    crosses = (np.minimum(here[:, 1], there[:, 1]) <= start[1]) & (
        start[1] <= np.maximum(here[:, 1], there[:, 1])
    )
    at[~crosses | (at >= start[0])] = -np.inf
    spot = int(at.argmax())
    return (spot, (float(at[spot]), start[1])) if np.isfinite(at[spot]) else None


def _holds(outer: Sequence[int], hole: Sequence[int]) -> bool:
    """Whether the pixel at a hole's upper left corner lies in a ring."""
    x, y = min(_points(hole))
    corners = np.array(_points(outer))
    ends = np.roll(corners, -1, axis=0)
    low, high = np.minimum(corners[:, 1], ends[:, 1]), np.maximum(corners[:, 1], ends[:, 1])
    left = (corners[:, 0] == ends[:, 0]) & (corners[:, 0] <= x) & (low <= y) & (y < high)
    return bool(left.sum() % 2)


def _simplified(flat: list[int], tolerance: float) -> list[int]:
    """Douglas and Peucker's choice of corners, of both halves between the first corner and the one farthest from it."""
    points = np.array(flat, np.float64).reshape(-1, 2)
    far = int(((points - points[0]) ** 2).sum(axis=1).argmax())
    closed = np.vstack([points, points[:1]])
    keep = np.zeros(len(closed), bool)
    keep[[0, far]] = True
    open_ = [(0, far), (far, len(closed) - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        line = closed[last] - closed[first]
        between = closed[first + 1 : last] - closed[first]
        length = float(np.hypot(*line))
        away = (
            np.abs(line[0] * between[:, 1] - line[1] * between[:, 0]) / length
            if length
            else np.hypot(between[:, 0], between[:, 1])
        )
        worst = int(away.argmax())
        if away[worst] > tolerance:
            keep[first + 1 + worst] = True
            open_ += [(first, first + 1 + worst), (first + 1 + worst, last)]
    kept = points[keep[:-1]]
    if len(kept) < 3:  # of a line of pixels: a polygon has an area
        return flat
    return [int(axis) for axis in kept.ravel()]


def _mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> Any:
    return coco.merge(coco.frPyObjects([list(map(float, one)) for one in polygons], height, width))
