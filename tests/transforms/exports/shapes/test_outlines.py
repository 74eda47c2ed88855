"""Outlines follow the edges of pixels: the mask of the polygons is the mask with its holes filled, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bulkinfer.transforms.exports.shapes.outlines import outlines_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

MASKS = st.integers(1, 9).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=1, max_size=9
    )
)


def rle_of(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(pixels))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def mask_of(polygons: list[list[int]], height: int, width: int) -> NDArray[np.uint8]:
    if not polygons:
        return np.zeros((height, width), np.uint8)
    rles = coco.frPyObjects([[float(axis) for axis in polygon] for polygon in polygons], height, width)
    pixels: NDArray[np.uint8] = coco.decode(coco.merge(rles))
    return pixels


def filled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without what no way leads to from outside, corners included: an object hangs together by sides."""
    padded = np.pad(pixels, 1)
    outside, reached = {(0, 0)}, [(0, 0)]
    while reached:
        y, x = reached.pop()
        for at in [(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]:
            inside = 0 <= at[0] < padded.shape[0] and 0 <= at[1] < padded.shape[1]
            if inside and at not in outside and not padded[at]:
                outside.add(at)
                reached.append(at)
    whole = np.ones_like(padded)
    for at in outside:
        whole[at] = 0
    return whole[1:-1, 1:-1]


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_polygons_are_the_mask_with_its_holes_filled(rows: list[list[int]]) -> None:
    pixels = np.array(rows, np.uint8)
    outlines = outlines_of(rle_of(pixels))
    assert (mask_of(outlines.outer, *pixels.shape) == filled(pixels)).all()
    assert (mask_of(outlines.holes, *pixels.shape) == (filled(pixels) & (1 - pixels))).all()


def test_a_rectangle_has_four_corners() -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1:4, 2:7] = 1
    assert outlines_of(rle_of(pixels)).outer == [[2, 1, 7, 1, 7, 4, 2, 4]]


@pytest.mark.parametrize(
    ("pixels", "pieces"), [([[1, 0], [0, 1]], 2), ([[0, 1], [1, 0]], 2), ([[1, 1], [0, 1]], 1)]
)
def test_pixels_that_touch_at_a_corner_are_pieces_of_their_own(pixels: list[list[int]], pieces: int) -> None:
    assert len(outlines_of(rle_of(np.array(pixels, np.uint8))).outer) == pieces
