"""From the pixels of a mask to an SVG path along their edges, which encloses these pixels and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["outline", "sampled"]


def outline(pixels: NDArray[np.bool_]) -> str:
    """The path around the pixels of a mask, to be filled by the rule `evenodd`; "" where there are none.

    Corners of the edges lie in pairs along each row, which the horizontal edges join, and in pairs along each column,
    which the vertical ones join; going from one to the other leads round each piece and each hole.

    Args:
        pixels: shape (height, width).

    >>> outline(np.array([[False, True], [False, True]]))
    'M1 0h1v2h-1z'
    """
    padded = np.pad(pixels, 1).astype(np.int8)
    around = padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]
    crossing = (around == 2) & (padded[:-1, :-1] == padded[1:, 1:])
    corners = ((around == 1) | (around == 3)).astype(np.int8) + 2 * crossing
    ys, xs = np.nonzero(corners)
    twice = corners[ys, xs]  # where two pixels touch by a corner, two corners lie on each other
    ys, xs = np.repeat(ys, twice), np.repeat(xs, twice)
    along_rows, along_columns = _partners(np.lexsort((xs, ys))), _partners(np.lexsort((ys, xs)))
    return _path(xs.tolist(), ys.tolist(), along_rows.tolist(), along_columns.tolist())


def sampled(mask: NDArray[Any], height: int, width: int) -> NDArray[np.bool_]:
    """A mask at another size: each pixel is the one of the mask that lies under its middle; none is lost altogether.

    Args:
        mask: shape (rows, columns), not zero on the object.
    """
    rows, columns = mask.shape
    if (rows, columns) == (height, width):
        return mask.astype(bool)
    ys = ((np.arange(height) + 0.5) * rows / height).astype(int)
    xs = ((np.arange(width) + 0.5) * columns / width).astype(int)
    pixels: NDArray[np.bool_] = mask[ys][:, xs].astype(bool)
    if not pixels.any() and mask.any():
        y, x = np.argwhere(mask)[0]
        pixels[y * height // rows, x * width // columns] = True
    return pixels


def _partners(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each corner the one that it is joined with: neighbours in an order, two by two."""
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _path(xs: list[int], ys: list[int], along_rows: list[int], along_columns: list[int]) -> str:
    left = [True] * len(xs)
    pieces = []
    for start in range(len(xs)):
        if not left[start]:
            continue
        pieces.append(f"M{xs[start]} {ys[start]}")
        here = start
        while True:
            across = along_rows[here]
            down = along_columns[across]
            left[here] = left[across] = False
            pieces.append(f"h{xs[across] - xs[here]}")
            if down == start:
                pieces.append("z")
                break
            pieces.append(f"v{ys[down] - ys[across]}")
            here = down
    return "".join(pieces)
