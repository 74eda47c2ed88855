"""Segments of a picture: superpixels, merged to a tree, of which the most lasting nodes are the objects.

1. A mean-shift filter evens out texture and keeps edges.
2. A watershed from a grid of seeds cuts the picture into some hundred superpixels that follow its edges.
3. Neighbours merge, the most alike first, by colour, texture and the edge between them, to a binary tree.
4. A node that many merges leave untouched is an object: it formed early and merged late. Of all ways to cut
   the tree, the one whose nodes last longest, weighted by area, is taken (as HDBSCAN takes its clusters);
   a second, finer cut adds clear parts of objects, so that masks may lie within one another.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Segment", "segments"]

Pixels = NDArray[Any]
Labels = NDArray[Any]

WORK_SIDE = 480  #: pixels of the longer side at which the picture is segmented
SEED_STEP = 13  #: pixels between the seeds of superpixels
SMALL = 0.004  #: share of the picture below which a segment gives way to its neighbours
CLEAR = 0.22  #: how long a node has to last to be an object
CHROMA = 1.6  #: weight of hue and saturation against lightness, which shadows change too
CALM = 12.0  #: spread of colour within a segment that halves what a difference to it counts
NOISE = 14.0  #: differences in CIELAB below which a border says little


@dataclasses.dataclass(frozen=True)
class Segment:
    """One object: its mask over the whole picture and how clearly it stands out, 0 to 1."""

    mask: NDArray[np.bool_]
    score: float


@dataclasses.dataclass
class _Tree:
    """The merge tree, a list a property: leaves are superpixels and come first, the root comes last."""

    left: list[int]  # -1 for a leaf
    right: list[int]
    formed: list[float]  # cost of the merge that made the node
    ended: list[float]  # cost of the merge that consumed it; 0 as long as none has
    area: list[float]
    sums: list[Any]  # of its pixels: L, a, b, busyness, edge, squared length of L, a, b

    def join(self, a: int, b: int, cost: float) -> int:
        """Merge two nodes to a new one and return it."""
        self.left.append(a)
        self.right.append(b)
        self.formed.append(cost)
        self.ended[a] = self.ended[b] = cost
        self.ended.append(0.0)
        self.area.append(self.area[a] + self.area[b])
        self.sums.append(self.sums[a] + self.sums[b])
        return len(self.left) - 1


def segments(picture: Pixels, *, smallest: float = 0.002, most: int = 32) -> list[Segment]:
    """Find the objects of a picture, and clear parts of them.

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
    chosen = _objects(tree, smallest * labels.size)
    atoms, atom_of = np.unique(_membership(tree, chosen), axis=1, return_inverse=True)
    cut = _refined(picture, atom_of.reshape(-1)[labels])
    found = []
    for node, holds in zip(chosen, atoms, strict=True):
        mask = np.concatenate([[False], holds])[cut]
        if mask.mean() >= smallest:
            found.append(Segment(mask, _lasting(tree, node, NOISE)))
    return sorted(found, key=lambda segment: -int(segment.mask.sum()))[:most]


def _objects(tree: _Tree, smallest: float) -> list[int]:
    """The nodes worth showing: of a coarse and a fine cut, those that stand out, and no two almost the same."""
    chosen: list[int] = []
    # What is found only by the fine cut is a part of something: it has to be clearer than that.
    for noise, least in ((NOISE, CLEAR), (NOISE / 4, 1.5 * CLEAR)):
        for node in _cut(tree, noise):
            clear = _lasting(tree, node, NOISE) >= least and tree.area[node] >= smallest
            if clear and node not in chosen:
                chosen.append(node)
    return chosen


def _membership(tree: _Tree, nodes: list[int]) -> NDArray[np.bool_]:
    """Which superpixels lie in which node: shape (nodes, superpixels)."""
    member = np.zeros((len(nodes), tree.left.count(-1)), bool)
    for row, node in enumerate(nodes):
        member[row, _leaves(tree, node)] = True
    return member


def _superpixels(flat: Pixels) -> Labels:
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


def _watershed(picture: Pixels, markers: Labels) -> Labels:
    """Grow the markers over the whole picture; the lines that OpenCV leaves between them are closed."""
    grown: Labels = cv2.watershed(picture, markers.copy())
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
    return np.sqrt((across**2 + down**2).sum(axis=2)).astype(np.float32)


def _features(work: Pixels, flat: Pixels) -> NDArray[Any]:
    """Each pixel's colour in CIELAB and the busyness around it, as a fourth channel on a like scale."""
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)
    light = cv2.cvtColor(work.astype(np.float32) / 255, cv2.COLOR_BGR2Lab)[:, :, 0]
    mean = cv2.blur(light, (9, 9))
    busy = np.sqrt(np.maximum(cv2.blur(light * light, (9, 9)) - mean * mean, 0))
    lab[:, :, 1:] *= CHROMA
    return np.dstack([lab, busy])


def _merge(labels: Labels, features: NDArray[Any], edges: NDArray[Any]) -> _Tree:
    """Merge neighbours, the cheapest first, until one node is left."""
    count = int(labels.max()) + 1
    area = np.bincount(labels.ravel(), minlength=count).astype(float)
    channels = [*np.moveaxis(features, 2, 0), edges, (features[:, :, :3] ** 2).sum(axis=2)]
    sums = np.stack([np.bincount(labels.ravel(), c.ravel(), count) for c in channels], axis=1)
    borders = _borders(labels, edges)
    neighbours: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), border in borders.items():
        neighbours[a][b] = neighbours[b][a] = border
    tree = _Tree([-1] * count, [-1] * count, [0.0] * count, [0.0] * count, area.tolist(), list(sums))
    unit = SMALL * labels.size
    queue = [(_cost(tree, a, b, border, unit), a, b) for (a, b), border in borders.items()]
    heapq.heapify(queue)
    height = 0.0
    while queue:
        cost, a, b = heapq.heappop(queue)
        if tree.ended[a] or tree.ended[b]:
            continue
        height = max(height, cost, 1e-6)  # so that the tree's heights never fall on the way up
        node = tree.join(a, b, height)
        joined: dict[int, tuple[float, float]] = {}
        for side in (a, b):
            for other, (length, weight) in neighbours[side].items():
                if not tree.ended[other]:
                    known = joined.get(other, (0.0, 0.0))
                    joined[other] = (known[0] + length, known[1] + weight)
        neighbours.append(joined)
        for other, border in joined.items():
            neighbours[other][node] = border
            heapq.heappush(queue, (_cost(tree, node, other, border, unit), node, other))
    tree.ended[-1] = 2 * height  # nothing consumes the whole picture
    return tree


def _cost(tree: _Tree, a: int, b: int, border: tuple[float, float], unit: float) -> float:
    """How unlike two neighbours are, in CIELAB units, against how unlike each is in itself.

    An edge between them counts as far as it is stronger than the edges inside them, and a difference in colour
    less between busy ones. Small ones merge sooner, so that specks do not outlast objects.
    """
    one, other = tree.sums[a] / tree.area[a], tree.sums[b] / tree.area[b]
    apart = one - other
    colour = math.sqrt(float((apart[:4] ** 2).sum()))
    within = math.sqrt(
        max(0.0, 0.5 * float(one[5] + other[5] - (one[:3] ** 2).sum() - (other[:3] ** 2).sum()))
    )
    edge = max(0.0, border[1] / border[0] - max(one[4], other[4]))
    small = min(tree.area[a], tree.area[b])
    return (colour * CALM / (CALM + within) + 1.5 * edge) * min(1.0, small / unit) ** 0.5


def _borders(labels: Labels, edges: NDArray[Any]) -> dict[tuple[int, int], tuple[float, float]]:
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


def _lasting(tree: _Tree, node: int, noise: float) -> float:
    """How long a node lasts: 0 when it is consumed as soon as it forms, towards 1 when nothing is like it."""
    return (tree.ended[node] - tree.formed[node]) / (tree.ended[node] + noise)


def _cut(tree: _Tree, noise: float) -> list[int]:
    """The nodes that cover all leaves, each once, and last longest by area."""
    count = len(tree.left)
    best, keep = [0.0] * count, [True] * count
    for node in range(count):  # children come before their parents
        left, right = tree.left[node], tree.right[node]
        if node == count - 1 and left >= 0:
            keep[node] = False  # the whole picture is no object in it
        best[node] = _lasting(tree, node, noise) * tree.area[node] if keep[node] else 0.0
        below = best[left] + best[right] if left >= 0 else 0.0
        if left >= 0 and below > best[node]:
            keep[node], best[node] = False, below
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


def _refined(picture: Pixels, labels: Labels) -> Labels:
    """The segments at the picture's own size, from 1, their borders drawn to its edges."""
    height, width = picture.shape[:2]
    large = cv2.resize(labels.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    reach = 2 * max(1, round(max(height, width) / WORK_SIDE)) + 1
    kernel = np.ones((reach, reach), np.uint8)
    # Where dilation and erosion agree a pixel is inside its segment; the rest is decided by the picture.
    inside = cv2.dilate(large, kernel) == cv2.erode(large, kernel)
    markers = np.where(inside, large + 1, 0).astype(np.int32)
    return _watershed(cv2.GaussianBlur(picture, (3, 3), 0), markers)
