"""Segments what a prompt points at: reads points and boxes in the API's two forms and finds the object they mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import Box, Region
from .regions import Segment, Segmentation, fitted

__all__ = ["NO_BOX", "Prompt", "check_return_type", "prompt_of_dict", "prompts_of_regions", "segment_prompt"]

Pixels = NDArray[Any]
Point = tuple[float, float]

CUT_SIDE = 320  #: pixels of the longer side at which GrabCut works: its time grows with the pixels
ROUNDS = 3
NO_BOX = (0, 0, 1, 1)  #: what GrabCut is given, and ignores, where a mask tells what is inside
LEAST_FILL = 0.1  #: share of its box that an object fills at least
REACH = 0.15  #: half the side of the square around a lone point where nothing else tells an object


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What names one object: points on it, points off it, a box around it.

    Attributes:
        inside: x, y, each 0 to 1.
        outside: likewise.
        box: x1, y1, x2, y2, each 0 to 1.
        track_id: the object's name, "" when it has none.
    """

    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: Box | None = None
    track_id: str = ""

    def __post_init__(self) -> None:
        if not self.inside and self.box is None:
            raise ValueError("a prompt needs a box or a point on the object (label 1, concept name '1')")
        numbers = [n for point in (*self.inside, *self.outside) for n in point] + list(self.box or ())
        if any(not 0 <= n <= 1 for n in numbers):
            raise ValueError(f"a prompt lies outside the picture: {numbers}; coordinates go from 0 to 1")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box {list(self.box)} is empty; write it as [x1, y1, x2, y2]")


def prompts_of_regions(regions: Sequence[Region]) -> list[Prompt]:
    """Regions as prompts: a box is an object of its own, all points together are one.

    A point with the concept name "0" is off the object, any other on it. Regions of one track_id are one.
    """
    names = list(dict.fromkeys(region.track_id for region in regions))
    found = []
    for name in names:
        mine = [region for region in regions if region.track_id == name]
        inside = tuple(r.point[:2] for r in mine if r.point is not None and not _is_off(r))
        outside = tuple(r.point[:2] for r in mine if r.point is not None and _is_off(r))
        boxes = [r.box for r in mine if r.box is not None and r.point is None]
        if len(boxes) <= 1:
            found.append(Prompt(inside, outside, boxes[0] if boxes else None, name))
            continue
        for box in boxes:
            found.append(Prompt(_within(box, inside), _within(box, outside), box, name))
    return found


def prompt_of_dict(given: Mapping[str, Any], size: tuple[int, int], track_id: str = "") -> Prompt:
    """A dict as prompt: `points` [[x, y], ...] with `labels` [1 or 0, ...], and `box` [x1, y1, x2, y2].

    Args:
        given: the dict; coordinates above 1 are pixels.
        size: width and height of the picture, in pixels.
        track_id: the object's name.
    """
    unknown = set(given) - {"points", "labels", "box", "frame_index", "track_id"}
    if unknown:
        raise ValueError(
            f"unknown key {', '.join(sorted(unknown))} in a prompt; it takes points, labels and box"
        )
    points = [tuple(map(float, point[:2])) for point in given.get("points") or ()]
    labels = [int(label) for label in given.get("labels") or [1] * len(points)]
    if len(labels) != len(points):
        raise ValueError(f"{len(points)} points and {len(labels)} labels; give each point a label, 1 or 0")
    box = [float(n) for n in given.get("box") or ()]
    if len(box) not in (0, 4):
        raise ValueError(f"box {box} has {len(box)} numbers; write it as [x1, y1, x2, y2]")
    pixels = any(n > 1 for point in points for n in point) or any(n > 1 for n in box)
    width, height = size if pixels else (1, 1)
    scaled = [(point[0] / width, point[1] / height) for point in points]
    return Prompt(
        inside=tuple(point for point, label in zip(scaled, labels, strict=True) if label != 0),
        outside=tuple(point for point, label in zip(scaled, labels, strict=True) if label == 0),
        box=(box[0] / width, box[1] / height, box[2] / width, box[3] / height) if box else None,
        track_id=track_id,
    )


def segment_prompt(segmentation: Segmentation, prompt: Prompt) -> list[Segment]:
    """The objects that a prompt may mean, the likeliest first; none when nothing is to be seen there."""
    around = segmentation.around(list(prompt.inside), list(prompt.outside)) if prompt.inside else []
    if prompt.box is not None:
        # Most objects fill the ellipse in their box better than its corners.
        ellipse = _ellipse(segmentation.picture.shape, prompt.box)
        found = segmentation.filling(ellipse)
        found += _grab_cut(segmentation.picture, prompt, found)
        allowed = [one for one in found if _holds(one.mask, prompt)]
        return sorted(allowed or found, key=lambda one: -_overlap(one.mask, ellipse))
    if around:
        return around
    # Nothing clear holds all points: an object is grown out of what surrounds them.
    xs, ys = [x for x, _ in prompt.inside], [y for _, y in prompt.inside]
    box_around = (
        max(0.0, min(xs) - REACH),
        max(0.0, min(ys) - REACH),
        min(1.0, max(xs) + REACH),
        min(1.0, max(ys) + REACH),
    )
    return _grab_cut(segmentation.picture, dataclasses.replace(prompt, box=box_around), [])


def check_return_type(return_type: str) -> str:
    """The return type as one of the three there are; ValueError for anything else."""
    if return_type in ("all", "box", "mask"):
        return return_type
    raise ValueError(f"return_type={return_type!r} is none of all, box, mask")


def _grab_cut(picture: Pixels, prompt: Prompt, likely: list[Segment]) -> list[Segment]:
    """Cut the object out of its box by its colours (GrabCut: Rother, Kolmogorov and Blake, 2004).

    Args:
        picture: shape (height, width, 3), BGR.
        prompt: has a box.
        likely: where the object may be, the likeliest first; without any it may be all over the box.
    """
    assert prompt.box is not None
    height, width = picture.shape[:2]
    size = fitted(picture, CUT_SIDE, least=8)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    box = _rectangle(small.shape, prompt.box)
    marks[box] = cv2.GC_PR_BGD if likely else cv2.GC_PR_FGD
    for segment in likely[:1]:
        guess = cv2.resize(segment.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        marks[guess & box] = cv2.GC_PR_FGD
    radius = max(2, round(0.01 * max(size)))
    for points, mark in ((prompt.inside, cv2.GC_FGD), (prompt.outside, cv2.GC_BGD)):
        for x, y in points:
            cv2.circle(marks, (int(x * (size[0] - 1)), int(y * (size[1] - 1))), radius, mark, -1)
    if not (marks == cv2.GC_BGD).any():
        marks[[0, -1]] = marks[:, [0, -1]] = (
            cv2.GC_BGD
        )  # a box of the whole picture leaves no background to learn
    if not np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
        return []
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, marks, NO_BOX, models[0], models[1], ROUNDS - 1, cv2.GC_INIT_WITH_MASK)
    earlier = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))
    cv2.grabCut(small, marks, NO_BOX, models[0], models[1], 1, cv2.GC_EVAL)
    mask = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if mask.sum() < LEAST_FILL * box.sum():
        return []  # colours do not tell this object from what is around it
    # How little the last round changed tells how sure the cut is.
    stable = float((mask & earlier).sum() / (mask | earlier).sum())
    large = cv2.resize(_tidy(mask).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return [Segment(large > 0.5, stable)]


def _tidy(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Without specks and pinholes."""
    kernel = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    return np.asarray(
        cv2.morphologyEx(opened if opened.any() else mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    )


def _rectangle(shape: tuple[int, ...], box: Box) -> NDArray[np.bool_]:
    height, width = shape[:2]
    inside = np.zeros((height, width), bool)
    x1, y1, x2, y2 = box
    inside[
        int(y1 * height) : max(int(y1 * height) + 1, round(y2 * height)), int(x1 * width) : round(x2 * width)
    ] = True
    return inside


def _ellipse(shape: tuple[int, ...], box: Box) -> NDArray[np.bool_]:
    height, width = shape[:2]
    x1, y1, x2, y2 = box
    rows, columns = np.ogrid[:height, :width]
    across = ((columns + 0.5) / width - (x1 + x2) / 2) / ((x2 - x1) / 2)
    down = ((rows + 0.5) / height - (y1 + y2) / 2) / ((y2 - y1) / 2)
    return np.asarray(across**2 + down**2 <= 1)


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(int((one | other).sum()), 1))


def _holds(mask: NDArray[np.bool_], prompt: Prompt) -> bool:
    height, width = mask.shape

    def at(point: Point) -> bool:
        return bool(mask[min(height - 1, int(point[1] * height)), min(width - 1, int(point[0] * width))])

    return all(map(at, prompt.inside)) and not any(map(at, prompt.outside))


def _is_off(region: Region) -> bool:
    return any(concept.name == "0" for concept in region.concepts)


def _within(box: Box, points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple((x, y) for x, y in points if box[0] <= x <= box[2] and box[1] <= y <= box[3])
