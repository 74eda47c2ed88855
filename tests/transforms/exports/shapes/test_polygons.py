"""A polygon with bridges is the largest piece of a mask, holes and all; a simpler one says what that cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.exports.shapes.outlines import outlines_of
from bulkinfer.transforms.exports.shapes.polygons import Tolerance, bridged, largest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

MASKS = st.integers(1, 9).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from((0, 1, 1)), min_size=width, max_size=width), min_size=1, max_size=9
    )
)


def rle_of(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(pixels))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def pixels_of(polygon: list[float], height: int, width: int) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = coco.decode(coco.frPyObjects([list(map(float, polygon))], height, width))
    return pixels[:, :, 0]


def pieces_of(pixels: NDArray[np.uint8]) -> list[set[tuple[int, int]]]:
    """Pixels that hang together by sides."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(pixels), strict=True)}
    pieces = []
    while left:
        reached = [left.pop()]
        piece = set(reached)
        while reached:
            y, x = reached.pop()
            for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if at in left:
                    left.remove(at)
                    piece.add(at)
                    reached.append(at)
        pieces.append(piece)
    return pieces


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_the_bridged_polygon_is_a_piece_with_its_holes(rows: list[list[int]]) -> None:
    pixels = np.array(rows, np.uint8)
    outlines = outlines_of(rle_of(pixels))
    if not outlines.outer:
        return
    made = pixels_of(bridged(*largest(outlines)), *pixels.shape)
    found = {(int(y), int(x)) for y, x in zip(*np.nonzero(made), strict=True)}
    # Another piece may lie inside of a hole, which is a piece of its own.
    assert found in pieces_of(pixels)


def test_many_holes_beside_and_below_each_other() -> None:
    pixels = np.ones((40, 60), np.uint8)
    rng = np.random.default_rng(5)
    for y, x in rng.integers(1, (36, 56), (60, 2)):
        pixels[y : y + 3, x : x + 3] = 0
    outer, holes = largest(outlines_of(rle_of(pixels)))
    assert len(holes) > 10
    inside = pixels_of(bridged(outer, holes), 40, 60)
    (piece,) = [one for one in pieces_of(pixels) if len(one) == max(map(len, pieces_of(pixels)))]
    assert {(int(y), int(x)) for y, x in zip(*np.nonzero(inside), strict=True)} == piece


def disc(side: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side]
    return ((y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 2.5) ** 2).astype(np.uint8)


@pytest.mark.parametrize(("pixels", "least"), [(0.75, 0.98), (2.0, 0.9)])
def test_fewer_corners_and_what_that_cost(pixels: float, least: float) -> None:
    tolerance, mask = Tolerance(pixels), disc(200)
    exact = outlines_of(rle_of(mask)).outer
    made = tolerance.simplified(exact)
    tolerance.account(exact, made, 200, 200)
    assert len(made[0]) < len(exact[0]) / 2
    inside = pixels_of([float(axis) for axis in made[0]], 200, 200)
    iou = (inside & mask).sum() / (inside | mask).sum()
    assert least < tolerance.least < 1
    assert tolerance.told == {
        "pixels": pixels,
        "masks": 1,
        "iou_mean": pytest.approx(iou, abs=1e-6),
        "iou_least": pytest.approx(iou, abs=1e-6),
    }


def test_without_a_tolerance_all_corners_stay() -> None:
    exact = outlines_of(rle_of(disc(20))).outer
    assert Tolerance().simplified(exact) == exact


def test_a_line_of_pixels_keeps_its_area() -> None:
    line = np.zeros((4, 9), np.uint8)
    line[1, 2:8] = 1
    (made,) = Tolerance(3.0).simplified(outlines_of(rle_of(line)).outer)
    assert pixels_of([float(axis) for axis in made], 4, 9).sum() == 6
