"""Matches the masks of two outputs, and the boxes where there are no masks: the pair that overlaps most first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from ..report.pictures.outlines import sampled

__all__ = ["LEAST_IOU", "Matched", "match", "overlaps"]

LEAST_IOU = 0.5
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Matched:
    """The shapes of one row in both outputs.

    Attributes:
        in_a: how many one output has.
        in_b: how many the other one has.
        ious: of the pairs that were matched.
        equal_labels: of the pairs, those of one label.
        labelled: of the pairs, those in which both have a label.
    """

    in_a: int
    in_b: int
    ious: tuple[float, ...]
    equal_labels: int = 0
    labelled: int = 0

    @property
    def agreement(self) -> float:
        """The share of all shapes that are in a pair; 1 where there are none."""
        shapes = self.in_a + self.in_b
        return 2 * len(self.ious) / shapes if shapes else 1.0


def match(a: Sequence[Row], b: Sequence[Row]) -> Matched:
    """Match the regions of a row greedily: of all pairs of at least 0.5 that with the greatest IoU, then the next.

    Args:
        a: regions of one output, with `segmentation` or `bbox_rel`.
        b: those of the other.
    """
    ious = overlaps(a, b)
    order = np.argsort(-ious, axis=None, kind="stable")
    free_a, free_b, found, equal, labelled = [True] * len(a), [True] * len(b), [], 0, 0
    for place in order.tolist():
        one, other = divmod(place, len(b))
        if ious[one, other] < LEAST_IOU:
            break
        if free_a[one] and free_b[other]:
            free_a[one] = free_b[other] = False
            found.append(float(ious[one, other]))
            labels = a[one].get("label"), b[other].get("label")
            labelled += None not in labels
            equal += None not in labels and labels[0] == labels[1]
    return Matched(len(a), len(b), tuple(found), equal, labelled)


def overlaps(a: Sequence[Row], b: Sequence[Row]) -> NDArray[np.float64]:
    """The IoU of each region of one output with each of the other; shape (a, b).

    Masks are compared where both outputs have them, else boxes.
    """
    if not a or not b:
        return np.zeros((len(a), len(b)))
    if all(row.get("segmentation") for row in (*a, *b)):
        size = a[0]["segmentation"]["size"]
        codes = [[_in_size(row["segmentation"], size) for row in side] for side in (a, b)]
        return np.asarray(coco.iou(*codes, [0] * len(b)), np.float64)
    boxes = [np.array([row.get("bbox_rel") or (0, 0, 0, 0) for row in side], np.float64) for side in (a, b)]
    return np.nan_to_num(np.asarray(coco.iou(*boxes, [0] * len(b)), np.float64))


def _in_size(code: Mapping[str, Any], size: Sequence[int]) -> dict[str, Any]:
    """A mask in the size of another one of the same picture."""
    if list(code["size"]) == list(size):
        return dict(code)
    pixels = sampled(coco.decode(code), size[0], size[1])
    return dict(coco.encode(np.asfortranarray(pixels, np.uint8)))
