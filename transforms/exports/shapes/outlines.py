"""Masks to polygons that follow the edges of pixels, so that a polygon's mask is the mask with its holes filled.

Tracing the centres of pixels, as `cv2.findContours` does, loses half a pixel all around: over the quickstart's 653
masks an IoU of 0.910 in the mean, where edges give 1.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

__all__ = ["Outlines", "area_of", "outlines_of"]

Point = tuple[int, int]


class Outlines(NamedTuple):
    """The outlines of a mask.

    Attributes:
        outer: of each piece, x and y of its corners in turn; a piece is what hangs together by sides of pixels.
        holes: the same of each hole.
    """

    outer: list[list[int]]
    holes: list[list[int]]


def outlines_of(rle: dict[str, Any]) -> Outlines:
    """The outlines of a mask.

    Args:
        rle: `size` (height, width) and `counts`, COCO's compressed run lengths.
    """
    packed = {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
    left, top, width, height = map(int, coco.toBbox(packed))
    pixels = coco.decode(packed)[top : top + height, left : left + width]
    outer: list[list[int]] = []
    holes: list[list[int]] = []
    for loop in _loops(np.pad(pixels, 1).astype(np.int8)):
        corners = [axis for x, y in loop for axis in (x + left, y + top)]
        (outer if area_of(corners) > 0 else holes).append(corners)
    return Outlines(outer, holes)


def area_of(corners: list[int]) -> int:
    """Pixels that a walk goes around clockwise, as it looks in a picture; below 0 the other way round, as of holes.

    Args:
        corners: x and y in turn.
    """
    xs, ys = corners[::2], corners[1::2]
    sides = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return sum(x * other_y - other_x * y for x, y, other_x, other_y in sides) // 2


def _loops(padded: NDArray[np.int8]) -> list[list[Point]]:
    """Closed walks along the edges with the object on the right: horizontal and vertical sides in turn."""
    across = _sides(
        np.diff(padded, axis=0)[:, 1:-1]
    )  # (y, x from, x to, sign): +1 where the object begins below
    down = _sides(np.diff(padded, axis=1)[1:-1].T)  # (x, y from, y to, sign): +1 where it begins to the right
    going: dict[Point, list[Point]] = defaultdict(
        list
    )  # from a corner along a vertical side to its other end
    for x, first, last, sign in down:
        start, end = ((x, last), (x, first)) if sign > 0 else ((x, first), (x, last))
        going[start].append(end)
    sides: dict[Point, list[Point]] = defaultdict(list)
    for y, first, last, sign in across:
        start, end = ((first, y), (last, y)) if sign > 0 else ((last, y), (first, y))
        sides[start].append(end)
    loops = []
    while sides:
        start = next(iter(sides))
        loop: list[Point] = []
        at, came_down = start, False
        while True:
            loop.append(at)
            # Where two pixels touch at a corner alone, turning right goes around the one and leaves the other out.
            end = _taken(sides, at, 0, grows=not came_down)
            loop.append(end)
            went_right = end[0] > at[0]
            at = _taken(going, end, 1, grows=went_right)
            came_down = at[1] > end[1]
            if at == start and (len(sides.get(start, ())) == 0 or came_down == (loop[1][0] < start[0])):
                break
        loops.append(loop)
    return loops


def _taken(sides: dict[Point, list[Point]], start: Point, axis: int, *, grows: bool) -> Point:
    """Take a side that begins here: of two, which a corner has where two pixels touch there, the one that grows or not.

    Args:
        axis: along which the sides go: 0 for x, 1 for y.
    """
    ends = sides[start]
    wanted = len(ends) == 1 or (ends[0][axis] > start[axis]) == grows
    end = ends.pop(0 if wanted else 1)
    if not ends:
        del sides[start]
    return end


def _sides(steps: NDArray[np.int8]) -> list[tuple[int, int, int, int]]:
    """Runs of one sign along the rows of an array: row, first column, the column behind the last, and the sign."""
    edge = np.diff(np.pad(steps, ((0, 0), (1, 1))), axis=1)
    padded = np.pad(steps, ((0, 0), (1, 1)))
    begins = (edge != 0) & (padded[:, 1:] != 0)
    ends = (edge != 0) & (padded[:, :-1] != 0)
    rows, first = np.nonzero(begins)
    _, last = np.nonzero(ends)
    signs = steps[rows, first]
    return list(zip(rows.tolist(), first.tolist(), last.tolist(), signs.tolist(), strict=True))
