"""Segments of a picture: superpixels, merged to a tree, of which the most lasting nodes are the objects.

1. A mean-shift filter evens out texture and keeps edges.
2. A watershed from a grid of seeds cuts the picture into some hundred superpixels that follow its edges.
3. Neighbours merge, the most alike first, by colour, texture and the edge between them, to a binary tree.
4. A node that many merges leave untouched is an object: it formed early and merged late. Of all ways to cut the
   tree, the one whose nodes last longest, weighted by area, is taken (as HDBSCAN takes clusters from its tree).
"""

from __future__ import annotations

import dataclasses
import heapq
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Segment", "segments"]

WORK_SIDE = 480  #: pixels of the longer side at which the picture is segmented
SEED_STEP = 13  #: pixels between the seeds of superpixels
NOISE = 9.0  #: differences in CIELAB below which a border says little


@dataclasses.dataclass(frozen=True)
class Segment:
    """One object: its mask over the whole picture and how clearly it stands out, 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


@dataclasses.dataclass
class _Tree:
    """The merge tree: leaves are superpixels; `left` and `right` are -1 for them."""

    left: list[int]
    right: list[int]
    formed: list[float]  # cost of the merge that made the node
    ended: list[float]  # cost of the merge that consumed it
    area: list[float]


def segments(picture: NDArray[np.uint8], *, smallest: float = 0.002, most: int = 40) -> list[Segment]:
    """Find the objects of a picture; they do not overlap and together cover most of it.

    Args:
        picture: shape (height, width, 3), BGR.
        smallest: share of the picture below which a segment is dropped.
        most: segments to return, the largest first.

    Returns:
        Largest first.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, WORK_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    work = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else cv2.resize(picture, size)
    flat = cv2.pyrMeanShiftFiltering(work, 8, 14, maxLevel=1)
    labels = _superpixels(flat)
    tree = _merge(labels, _features(work, flat), _edges(flat))
    chosen = _cut(tree)
    scores = {node: _lasting(tree, node) for node in chosen}
    node_of = np.zeros(int(labels.max()) + 1, np.int32)
    for place, node in enumerate(chosen):
        node_of[_leaves(tree, node)] = place
    cut = _refined(picture, node_of[labels])
    found = []
    for place, node in enumerate(chosen):
        mask = cut == place + 1
        if mask.mean() >= smallest:
            found.append(Segment(mask, scores[node]))
    return sorted(found, key=lambda segment: -int(segment.mask.sum()))[:most]


def _superpixels(flat: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Labels from 0, one a superpixel; every pixel has one."""
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


def _watershed(picture: NDArray[np.uint8], markers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Grow the markers over the whole picture; the lines that OpenCV leaves between them are closed."""
    grown: NDArray[np.int32] = cv2.watershed(picture, markers.copy())
    grown[0], grown[-1] = grown[1], grown[-2]  # OpenCV leaves the frame open
    grown[:, 0], grown[:, -1] = grown[:, 1], grown[:, -2]
    kernel = np.ones((3, 3), np.uint8)
    while (lines := grown <= 0).any():
        spread = cv2.dilate(np.maximum(grown, 0).astype(np.float32), kernel).astype(np.int32)
        grown[lines] = spread[lines]
    return grown


def _edges(flat: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much the colour changes at each pixel, in CIELAB units a pixel."""
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    across = cv2.Sobel(lab, cv2.CV_32F, 1, 0, scale=0.25)
    down = cv2.Sobel(lab, cv2.CV_32F, 0, 1, scale=0.25)
    return np.sqrt((across**2 + down**2).sum(axis=2)).astype(np.float32)


def _features(work: NDArray[np.uint8], flat: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each pixel's colour in CIELAB and the busyness around it, as a fourth channel on a like scale."""
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    light = cv2.cvtColor(work.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)[:, :, 0]
    mean = cv2.blur(light, (9, 9))
    busy = np.sqrt(np.maximum(cv2.blur(light * light, (9, 9)) - mean * mean, 0))
    return np.dstack([lab, busy]).astype(np.float32)


def _merge(labels: NDArray[np.int32], features: NDArray[np.float32], edges: NDArray[np.float32]) -> _Tree:
    """Merge neighbours, the cheapest first, until one node is left."""
    count = int(labels.max()) + 1
    area = np.bincount(labels.ravel(), minlength=count).astype(float)
    sums = np.stack(
        [np.bincount(labels.ravel(), features[:, :, c].ravel(), count) for c in range(features.shape[2])],
        axis=1,
    )
    borders = _borders(labels, edges)
    neighbours: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), strength in borders.items():
        neighbours[a][b] = neighbours[b][a] = strength
    tree = _Tree([-1] * count, [-1] * count, [0.0] * count, [0.0] * count, area.tolist())
    means = [row / max(n, 1.0) for row, n in zip(sums, area, strict=True)]
    unit = 0.004 * labels.size
    queue = [(_cost(tree, means, a, b, s, unit), a, b) for (a, b), s in borders.items()]
    heapq.heapify(queue)
    alive = [True] * count
    height = 0.0
    while queue:
        cost, a, b = heapq.heappop(queue)
        if not (alive[a] and alive[b]):
            continue
        height = max(height, cost)  # so that the tree's heights never fall on the way up
        node = len(tree.left)
        alive[a] = alive[b] = False
        alive.append(True)
        total = tree.area[a] + tree.area[b]
        means.append((means[a] * tree.area[a] + means[b] * tree.area[b]) / total)
        tree.left.append(a)
        tree.right.append(b)
        tree.formed.append(height)
        tree.ended.append(height)
        tree.area.append(total)
        tree.ended[a] = tree.ended[b] = height
        joined: dict[int, tuple[float, float]] = {}
        for side in (a, b):
            for other, (length, weight) in neighbours[side].items():
                if alive[other]:
                    known = joined.get(other, (0.0, 0.0))
                    joined[other] = (known[0] + length, known[1] + weight)
        neighbours.append(joined)
        for other, strength in joined.items():
            neighbours[other][node] = strength
            heapq.heappush(queue, (_cost(tree, means, node, other, strength, unit), node, other))
    return tree


def _cost(tree: _Tree, means: list[Any], a: int, b: int, border: tuple[float, float], unit: float) -> float:
    """How unlike two neighbours are; small ones merge sooner, so that specks do not outlast objects."""
    difference = float(np.sqrt(((means[a] - means[b]) ** 2).sum()))
    edge = border[1] / border[0]
    small = min(tree.area[a], tree.area[b])
    return (0.6 * difference + 1.2 * edge) * min(1.0, (small / unit)) ** 0.5


def _borders(
    labels: NDArray[np.int32], edges: NDArray[np.float32]
) -> dict[tuple[int, int], tuple[float, float]]:
    """Of each pair of neighbours: the length of their border, and the sum of the edges along it."""
    count = int(labels.max()) + 1
    keys, weights = [], []
    for one, other, here, there in (
        (labels[:, :-1], labels[:, 1:], edges[:, :-1], edges[:, 1:]),
        (labels[:-1], labels[1:], edges[:-1], edges[1:]),
    ):
        differs = one != other
        low, high = np.minimum(one, other)[differs], np.maximum(one, other)[differs]
        keys.append(low.astype(np.int64) * count + high)
        weights.append(np.maximum(here, there)[differs])
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    lengths = np.bincount(place)
    sums = np.bincount(place, np.concatenate(weights))
    return {
        (int(key) // count, int(key) % count): (float(n), float(s))
        for key, n, s in zip(pairs, lengths, sums, strict=True)
    }


def _lasting(tree: _Tree, node: int) -> float:
    """How long a node lasts: 0 when it is consumed as soon as it forms, towards 1 when nothing is like it."""
    return (tree.ended[node] - tree.formed[node]) / (tree.ended[node] + NOISE)


def _cut(tree: _Tree) -> list[int]:
    """The nodes that cover all leaves, each once, and last longest by area."""
    count = len(tree.left)
    best, keep = [0.0] * count, [True] * count
    for node in range(count):  # children come before their parents
        own = _lasting(tree, node) * tree.area[node]
        left, right = tree.left[node], tree.right[node]
        below = best[left] + best[right] if left >= 0 else 0.0
        root = node == count - 1 and left >= 0
        keep[node] = left < 0 or (own >= below and not root)
        best[node] = own if keep[node] else below
    chosen, open_nodes = [], [count - 1]
    while open_nodes:
        node = open_nodes.pop()
        if keep[node]:
            chosen.append(node)
        else:
            open_nodes += [tree.left[node], tree.right[node]]
    return chosen


def _leaves(tree: _Tree, node: int) -> list[int]:
    found, open_nodes = [], [node]
    while open_nodes:
        node = open_nodes.pop()
        if tree.left[node] < 0:
            found.append(node)
        else:
            open_nodes += [tree.left[node], tree.right[node]]
    return found


def _refined(picture: NDArray[np.uint8], labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """The segments at the picture's own size, from 1, their borders drawn to its edges."""
    height, width = picture.shape[:2]
    large = cv2.resize(labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    reach = 2 * max(1, round(max(height, width) / WORK_SIDE)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    # Where dilation and erosion agree a pixel is inside its segment; the rest is decided by the picture.
    inside = cv2.dilate(large, kernel) == cv2.erode(large, kernel)
    markers = np.where(inside, large + 1, 0).astype(np.int32)
    return _watershed(cv2.GaussianBlur(picture, (3, 3), 0), markers)
