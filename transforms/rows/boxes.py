"""Boxes of regions: in 0..1 of the picture as models answer them, in pixels as COCO has them, and those of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .masks import MaskRle

__all__ = [
    "Box",
    "Size",
    "in_picture",
    "mask_box",
    "pixels",
    "pixels_of_many",
    "relative",
    "same_frame",
    "size_note",
]

Size = tuple[int, int]  # width, height in pixels
Box = Sequence[float]  # x, y, width, height; empty for none
_ROUNDING = 1e-3  #: how far beyond the picture a box may reach: models round, and often to pixels


def size_note(mask: Size, picture: Size, bbox: Box) -> str:
    """What a mask of another size than the picture shows.

    Args:
        bbox: the model's own box in pixels; empty for none.
    """
    told = f"the mask is {mask[0]} x {mask[1]} pixels, the picture {picture[0]} x {picture[1]}"
    if bbox and abs(bbox[2] - mask[0]) <= 1 and abs(bbox[3] - mask[1]) <= 1:
        return f"crop: {told}; the mask is as large as its box"
    if same_frame(mask, picture):
        return f"resized: {told}; it shows the whole picture in another resolution"
    return f"other_size: {told}; what of the picture it shows is not known"


def same_frame(mask: Size, picture: Size) -> bool:
    """True for two sizes of one shape, but for what rounding a side to whole pixels changes."""
    return abs(mask[0] * picture[1] - mask[1] * picture[0]) <= max(picture)


def mask_box(rle: MaskRle, size: Size | None) -> Box:
    """The mask's box in pixels of the picture, or of the mask where the picture's size is unknown."""
    if size is None or size == (rle.width, rle.height):
        return rle.bbox
    return pixels(relative(rle), size) if same_frame((rle.width, rle.height), size) else ()


def relative(rle: MaskRle) -> Box:
    """The box of a mask in 0..1."""
    x, y, width, height = rle.bbox
    return x / rle.width, y / rle.height, width / rle.width, height / rle.height


def in_picture(box_rel: Box) -> bool:
    """Whether a box lies in the picture, but for rounding, and is not turned round."""
    x, y, width, height = box_rel
    # Comparisons with NaN are false.
    return (
        x >= -_ROUNDING
        and y >= -_ROUNDING
        and width >= 0
        and height >= 0
        and x + width <= 1 + _ROUNDING
        and y + height <= 1 + _ROUNDING
    )


def pixels(box_rel: Box, size: Size | None) -> Box:
    """A box in pixels; none where the size is unknown, or where it is no box in the picture."""
    if size is None or not box_rel or not in_picture(box_rel):
        return ()
    width, height = size
    x, y, box_width, box_height = box_rel
    return x * width, y * height, box_width * width, box_height * height


def pixels_of_many(
    boxes: NDArray[np.float64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Boxes in pixels, and which of them are such; see `pixels`.

    Args:
        boxes: in 0..1; shape (boxes, 4).
        sizes: width and height of each one's picture, 0 where unknown; shape (boxes, 2).
    """
    x, y, width, height = boxes.T
    with np.errstate(invalid="ignore", over="ignore"):
        inside = (x >= -_ROUNDING) & (y >= -_ROUNDING) & (width >= 0) & (height >= 0)
        inside &= (x + width <= 1 + _ROUNDING) & (y + height <= 1 + _ROUNDING) & (sizes > 0).all(axis=1)
        return boxes * np.tile(sizes, 2), inside
