"""Cuts a picture into its objects: superpixels, merged to a tree, of which the most lasting nodes are the objects.

1. A mean-shift filter evens out texture and keeps edges.
2. A watershed from a grid of seeds cuts the picture into some hundred superpixels that follow its edges.
3. Neighbours merge, the most alike first, by colour, texture and the edge between them, to a binary tree.
4. A node that many merges leave untouched is an object: it formed early and merged late. Of all ways to cut
   the tree, the one whose nodes last longest, weighted by area, is taken (as HDBSCAN takes its clusters);
   a second, finer cut adds clear parts of objects, so that masks may lie within one another.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .tree import best_cut, merge_tree

__all__ = ["Segment", "Segmentation", "fitted"]

Pixels = NDArray[Any]

WORK_SIDE = 480  #: pixels of the longer side at which the picture is segmented
SEED_STEP = 13  #: pixels between the seeds of superpixels
CHROMA = 1.6  #: weight of hue and saturation against lightness, which shadows change too
NOISE = 14.0  #: differences in CIELAB below which a border says little
CLEAR = 0.22  #: how long a node has to last to be an object
SMALLEST = 0.002  #: share of the picture below which a segment is dropped
LEAST_SIDE = 16  #: pixels; a smaller picture shows no objects


@dataclasses.dataclass(frozen=True)
class Segment:
    """One object: its mask over the whole picture and how clearly it stands out, 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


class Segmentation:
    """The segments of one picture.

    Args:
        picture: shape (height, width, 3), BGR.
    """

    def __init__(self, picture: Pixels) -> None:
        self.picture = picture
        size = fitted(picture, WORK_SIDE, least=LEAST_SIDE)
        work: Pixels = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        flat: Pixels = cv2.pyrMeanShiftFiltering(work, 8, 14, maxLevel=1)
        self._labels = _superpixels(flat)
        self._tree = merge_tree(self._labels, _features(work, flat), _edges(flat))

    def objects(self, most: int = 32) -> list[Segment]:
        """The picture's objects and clear parts of them, the largest first."""
        if min(self.picture.shape[:2]) < LEAST_SIDE:
            return []
        chosen: list[int] = []
        # What is found only by the fine cut is a part of something: it has to be clearer than that.
        for noise, least in ((NOISE, CLEAR), (NOISE / 4, 1.5 * CLEAR)):
            for node in best_cut(self._tree, noise):
                if self._score(node) >= least and self._share(node) >= SMALLEST and node not in chosen:
                    chosen.append(node)
        found = [segment for segment in self._segments(chosen) if segment.mask.mean() >= SMALLEST]
        return sorted(found, key=lambda segment: -int(segment.mask.sum()))[:most]

    def around(self, inside: list[tuple[float, float]], outside: list[tuple[float, float]]) -> list[Segment]:
        """The objects that hold all points of one list and none of the other, the clearest first.

        Args:
            inside: x, y, each 0 to 1.
            outside: likewise.
        """
        member = [set(self._ancestors(self._leaf(x, y))) for x, y in inside]
        apart = {node for x, y in outside for node in self._ancestors(self._leaf(x, y))}
        shared = set.intersection(*member) - apart if member else set()
        nodes = sorted(shared, key=self._score, reverse=True)
        return self._segments([node for node in nodes if SMALLEST / 4 <= self._share(node) <= 0.9][:12])

    def filling(self, shape: NDArray[np.bool_]) -> list[Segment]:
        """The objects that fill a shape of the picture's size best, the best first."""
        height, width = self._labels.shape
        wanted = cv2.resize(shape.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        shared = np.bincount(self._labels.ravel(), wanted.ravel(), self._tree.left.count(-1)).tolist()
        for left, right in zip(self._tree.left, self._tree.right, strict=True):
            if left >= 0:
                shared.append(shared[left] + shared[right])
        area = np.array(self._tree.area)
        overlap = np.array(shared) / (area + float(wanted.sum()) - shared)
        best = np.argsort(-overlap, kind="stable")[:3].tolist()
        return self._segments([node for node in best if overlap[node] > 0.3])

    def _segments(self, nodes: list[int]) -> list[Segment]:
        if not nodes:
            return []
        # Atoms are the smallest pieces that the nodes share: their borders are refined all at once.
        atoms, atom_of = np.unique(self._tree.membership(nodes), axis=1, return_inverse=True)
        cut = _refined(self.picture, atom_of.reshape(-1)[self._labels])
        return [
            Segment(np.concatenate([[False], holds])[cut], self._score(node))
            for node, holds in zip(nodes, atoms, strict=True)
        ]

    def _score(self, node: int) -> float:
        return self._tree.lasting(node, NOISE)

    def _share(self, node: int) -> float:
        return self._tree.area[node] / self._labels.size

    def _leaf(self, x: float, y: float) -> int:
        height, width = self._labels.shape
        row, column = min(height - 1, int(y * height)), min(width - 1, int(x * width))
        return int(self._labels[max(0, row), max(0, column)])

    def _ancestors(self, node: int) -> list[int]:
        parents, found = self._tree.parents(), []
        while node >= 0:
            found.append(node)
            node = parents[node]
        return found


def fitted(picture: Pixels, side: int, least: int = 1) -> tuple[int, int]:
    """Width and height of a picture scaled down to a longer side; a smaller one keeps its size.

    Args:
        picture: shape (height, width, ...).
        side: pixels of the longer side.
        least: pixels that either side has at least.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(least, round(width * scale)), max(least, round(height * scale))


def _superpixels(flat: Pixels) -> Pixels:
    """Pixels from 0, one a superpixel; every pixel has one."""
    height, width = flat.shape[:2]
    gradient = _edges(flat)
    markers = np.zeros((height, width), np.int32)
    label = 0
    for y in range(SEED_STEP // 2, height, SEED_STEP):
        for x in range(SEED_STEP // 2, width, SEED_STEP):
            y0, x0 = max(0, y - 3), max(0, x - 3)
            window = gradient[y0 : y + 4, x0 : x + 4]
            dy, dx = divmod(int(window.argmin()), window.shape[1])
            label += 1
            markers[y0 + dy, x0 + dx] = label
    return _watershed(flat, markers) - 1


def _watershed(picture: Pixels, markers: Pixels) -> Pixels:
    """Grow the markers over the whole picture; the lines that OpenCV leaves between them are closed."""
    grown: Pixels = cv2.watershed(picture, markers.copy())
    grown[0], grown[-1] = grown[1], grown[-2]  # OpenCV leaves the frame open
    grown[:, 0], grown[:, -1] = grown[:, 1], grown[:, -2]
    kernel = np.ones((3, 3), np.uint8)
    while (lines := grown <= 0).any():
        spread = cv2.dilate(np.maximum(grown, 0).astype(np.float32), kernel).astype(np.int32)
        grown[lines] = spread[lines]
    return grown


def _edges(flat: Pixels) -> NDArray[Any]:
    """How much the colour changes at each pixel, in CIELAB units a pixel."""
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    across = cv2.Sobel(lab, cv2.CV_32F, 1, 0, scale=0.25)
    down = cv2.Sobel(lab, cv2.CV_32F, 0, 1, scale=0.25)
    return np.asarray(np.sqrt((across**2 + down**2).sum(axis=2)), np.float32)


def _features(work: Pixels, flat: Pixels) -> NDArray[Any]:
    """Each pixel's colour in CIELAB and the busyness around it, as a fourth channel on a like scale."""
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    light = cv2.cvtColor(work.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)[:, :, 0]
    mean = cv2.blur(light, (9, 9))
    busy = np.sqrt(np.maximum(cv2.blur(light * light, (9, 9)) - mean * mean, 0))
    return np.dstack([lab * np.array([1, CHROMA, CHROMA], np.float32), busy])


def _refined(picture: Pixels, labels: Pixels) -> Pixels:
    """The segments at the picture's own size, from 1, their borders drawn to its edges."""
    height, width = picture.shape[:2]
    large = cv2.resize(labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    reach = 2 * max(1, round(max(height, width) / WORK_SIDE)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    # Where dilation and erosion agree a pixel is inside its segment; the rest is decided by the picture.
    inside = cv2.dilate(large, kernel) == cv2.erode(large, kernel)
    markers = np.where(inside, large + 1, 0).astype(np.int32)
    return _watershed(cv2.GaussianBlur(picture, (3, 3), 0), markers)
