"""The tree behind segmentation: a picture's smallest pieces merge, the most alike first, until one is left."""

from __future__ import annotations

import dataclasses
import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MergeTree", "best_cut", "merge_tree"]

Pixels = NDArray[Any]

SMALL = 0.004  #: share of the picture below which a segment gives way to its neighbours
CALM = 12.0  #: spread of colour within a segment that halves what a difference to it counts


@dataclasses.dataclass
class MergeTree:
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

    def lasting(self, node: int, noise: float) -> float:
        """How long a node lasts: 0 when it is consumed as it forms, towards 1 when nothing is like it."""
        return (self.ended[node] - self.formed[node]) / (self.ended[node] + noise)

    def parents(self) -> list[int]:
        """The node that each node was merged into; -1 for the root."""
        found = [-1] * len(self.left)
        for node, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            if left >= 0:
                found[left] = found[right] = node
        return found

    def leaves(self, node: int) -> list[int]:
        """The superpixels in a node."""
        found, open_nodes = [], [node]
        while open_nodes:
            node = open_nodes.pop()
            if self.left[node] < 0:
                found.append(node)
            else:
                open_nodes += [self.left[node], self.right[node]]
        return found

    def membership(self, nodes: list[int]) -> NDArray[np.bool_]:
        """Which superpixels lie in which node: shape (nodes, superpixels)."""
        member = np.zeros((len(nodes), self.left.count(-1)), bool)
        for row, node in enumerate(nodes):
            member[row, self.leaves(node)] = True
        return member


def merge_tree(labels: Pixels, features: Pixels, edges: Pixels) -> MergeTree:
    """Merge neighbours, the cheapest first, until one node is left."""
    count = int(labels.max()) + 1
    area = np.bincount(labels.ravel(), minlength=count).astype(float)
    channels = [*np.moveaxis(features, 2, 0), edges, (features[:, :, :3] ** 2).sum(axis=2)]
    sums = np.stack([np.bincount(labels.ravel(), c.ravel(), count) for c in channels], axis=1)
    borders = _borders(labels, edges)
    neighbours: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), border in borders.items():
        neighbours[a][b] = neighbours[b][a] = border
    tree = MergeTree([-1] * count, [-1] * count, [0.0] * count, [0.0] * count, area.tolist(), list(sums))
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


def _cost(tree: MergeTree, a: int, b: int, border: tuple[float, float], unit: float) -> float:
    """How unlike two neighbours are, in CIELAB units, against how unlike each is in itself.

    An edge between them counts as far as it is stronger than the edges inside them; a difference in colour
    counts less between busy ones. Small ones merge sooner, so that specks do not outlast objects.
    """
    one, other = tree.sums[a] / tree.area[a], tree.sums[b] / tree.area[b]
    apart = one - other
    colour = math.sqrt(float((apart[:4] ** 2).sum()))
    within = math.sqrt(
        max(0.0, 0.5 * float(one[5] + other[5] - (one[:3] ** 2).sum() - (other[:3] ** 2).sum()))
    )
    edge = max(0.0, border[1] / border[0] - max(one[4], other[4]))
    small = min(tree.area[a], tree.area[b])
    scaled: float = (colour * CALM / (CALM + within) + 1.5 * edge) * math.sqrt(min(1.0, small / unit))
    return scaled


def _borders(labels: Pixels, edges: Pixels) -> dict[tuple[int, int], tuple[float, float]]:
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


def best_cut(tree: MergeTree, noise: float) -> list[int]:
    """The nodes that cover all leaves, each once, and last longest by area."""
    count = len(tree.left)
    best, keep = [0.0] * count, [True] * count
    for node in range(count):  # children come before their parents
        left, right = tree.left[node], tree.right[node]
        if node == count - 1 and left >= 0:
            keep[node] = False  # the whole picture is no object in it
        best[node] = tree.lasting(node, noise) * tree.area[node] if keep[node] else 0.0
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
