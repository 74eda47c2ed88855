"""Masks as runs along their rows, as CVAT and Label Studio count them: first what is outside, then what is inside."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

__all__ = ["Cropped", "cropped", "pixels_of", "row_runs"]


class Cropped(NamedTuple):
    """A mask within its box.

    Attributes:
        left: column of its first pixel.
        top: row of its first pixel.
        pixels: shape (height, width).
    """

    left: int
    top: int
    pixels: NDArray[np.bool_]


def pixels_of(rle: dict[str, Any]) -> NDArray[np.bool_]:
    """The pixels of COCO's compressed run lengths; shape (height, width)."""
    found: NDArray[np.uint8] = coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")})
    return found.astype(bool)


def cropped(rle: dict[str, Any]) -> Cropped:
    """The pixels of COCO's compressed run lengths within their box."""
    packed = {"size": rle["size"], "counts": rle["counts"].encode("ascii")}
    left, top, width, height = map(int, coco.toBbox(packed))
    found: NDArray[np.uint8] = coco.decode(packed)[top : top + height, left : left + width]
    return Cropped(left, top, found.astype(bool))


def row_runs(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of runs along the rows, one row after the other, the first one outside of the mask; shape (runs,)."""
    flat = np.concatenate([[False], pixels.ravel(), [not pixels[-1, -1]]] if pixels.size else [[False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    runs: NDArray[np.int64] = np.diff(changes, prepend=0)
    return runs
