"""Regions and concepts as a callable answers them: plain dicts, or dataclasses with the same fields.

A concept is `{"label": "cat", "score": 0.9}`, with an `id` where the model has one. A region has one of `box`,
`box_rel`, `mask`, `polygon`, `keypoints` and `point`, and what it likes of `label`, `score`, `id`, `track_id`, `text`
and `concepts`. Positions are in pixels of the picture as it was given; `box_rel` is in fractions of its sides.

    box, box_rel    [left, top, right, bottom], or {"xmin", "ymin", "xmax", "ymax"}
    mask            array of height x width, or a PIL picture; what is not zero belongs to the object
    polygon         [[x, y], ...] or [x, y, x, y, ...]
    keypoints       [[x, y], ...] or [[x, y, visibility], ...]
    point           [x, y]
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ...rows.columns import NO_CONCEPTS, Concepts
from ...rows.masks import MaskRle, encode_pixels

__all__ = [
    "AnswerError",
    "Region",
    "concepts",
    "fields",
    "holds_concepts",
    "holds_regions",
    "masks",
    "region",
    "shown",
]

_SHAPES = {"box", "box_rel", "mask", "polygon", "keypoints", "point"}
_REGION = {*_SHAPES, "label", "score", "id", "track_id", "text", "concepts"}
_CONCEPT = {"label", "score", "id"}
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class AnswerError(Exception):
    """An answer that cannot become a row; the message says what would."""


@dataclasses.dataclass(slots=True)
class Region:
    """One region; positions in pixels but for `box_rel`; empty for what it has not.

    Attributes:
        box: left, top, right, bottom.
        box_rel: the same in 0..1.
        keypoints: x, y and COCO's visibility of each, in turn.
    """

    label: str | None = None
    score: float | None = None
    id: str | None = None
    track_id: str | None = None
    text: str = ""
    concepts: Concepts = NO_CONCEPTS
    box: Sequence[float] = ()
    box_rel: Sequence[float] = ()
    mask: MaskRle | None = None
    polygon: Sequence[float] = ()
    keypoints: Sequence[float] = ()
    point: Sequence[float] = ()


def fields(value: Any) -> Mapping[Any, Any] | None:
    """A mapping or a dataclass as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return None


def holds_regions(items: Sequence[Any]) -> bool:
    """All items have a shape, and no key that regions lack."""
    named = [fields(item) for item in items]
    return bool(named) and all(
        one is not None and one.keys() & _SHAPES and one.keys() <= _REGION for one in named
    )


def holds_concepts(items: Sequence[Any]) -> bool:
    """All items have a label, and no key that concepts lack."""
    named = [fields(item) for item in items]
    return bool(named) and all(one is not None and "label" in one and one.keys() <= _CONCEPT for one in named)


def concepts(items: Any) -> Concepts:
    """Concepts as columns.

    Raises:
        AnswerError: they are none.
    """
    if not isinstance(items, Iterable) or isinstance(items, (str, bytes, Mapping)):
        raise AnswerError(f"concepts are a list, not {shown(items)}")
    ids, names, values = [], [], []
    for item in items:
        named = fields(item)
        if named is None or "label" not in named or not named.keys() <= _CONCEPT:
            raise AnswerError(
                f"a concept is {{'label': ..., 'score': ...}} and an id at most, not {shown(item)}"
            )
        score = _number("score", named.get("score"))
        ids.append(_text("id", named.get("id")) or "")
        names.append(_text("label", named["label"]) or "")
        values.append(math.nan if score is None else score)
    return ids, names, values


def region(item: Any) -> Region:
    """One region.

    Raises:
        AnswerError: it is none.
    """
    named = fields(item)
    if named is None:
        raise AnswerError(f"a region is a dict or a dataclass, not {shown(item)}")
    named = {name: value for name, value in named.items() if value is not None}
    if odd := sorted(str(name) for name in named.keys() - _REGION):
        raise AnswerError(f"a region has no {', '.join(odd)}; it has {', '.join(sorted(_REGION))}")
    if not named.keys() & _SHAPES:
        raise AnswerError(f"a region has one of {', '.join(sorted(_SHAPES))}, and this one has none of them")
    mask = None
    if "mask" in named:
        found = masks(named["mask"])
        if len(found) != 1:
            raise AnswerError(f"the mask of a region has two dimensions, not {shown(named['mask'])}")
        mask = found[0]
    return Region(
        _text("label", named.get("label")),
        _number("score", named.get("score")),
        _text("id", named.get("id")),
        _text("track_id", named.get("track_id")),
        _text("text", named.get("text")) or "",
        concepts(named["concepts"]) if "concepts" in named else NO_CONCEPTS,
        _box("box", named.get("box")),
        _box("box_rel", named.get("box_rel")),
        mask,
        _points("polygon", named.get("polygon"), (2,)),
        _keypoints(named.get("keypoints")),
        _numbers("point", named.get("point"), 2),
    )


def masks(value: Any) -> list[MaskRle]:
    """The masks in an array of two dimensions, or of three: masks x height x width.

    Raises:
        AnswerError: it is no array of booleans or integers, or an empty one.
    """
    array = np.asarray(value)
    if array.dtype.kind == "f":
        raise AnswerError(
            f"a mask is an array of booleans or integers, not of {array.dtype}; cut it, as in mask > 0.5"
        )
    if array.dtype.kind not in "biu" or array.ndim not in (2, 3) or not all(array.shape[-2:]):
        raise AnswerError(f"a mask is an array of height x width, not {shown(value)}")
    return [encode_pixels(one != 0) for one in (array[None] if array.ndim == 2 else array)]


def shown(value: Any) -> str:
    """What a value is, without what it holds."""
    if isinstance(value, Image.Image):
        return f"a PIL picture of mode {value.mode}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dict with the keys {', '.join(map(str, list(value)[:8]))}"
    return f"a value of type {type(value).__name__}"


def _text(name: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(value)  # class and track numbers
    raise AnswerError(f"{name} is text, not {shown(value)}")


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise AnswerError(f"{name} is a number, not {shown(value)}") from None


def _numbers(name: str, value: Any, count: int | None = None) -> list[float]:
    """A flat list of numbers; empty for None."""
    if value is None:
        return []
    try:
        numbers: list[float] = np.asarray(value, np.float64).reshape(-1).tolist()
    except (TypeError, ValueError):
        raise AnswerError(f"{name} is a list of numbers, not {shown(value)}") from None
    if count is not None and len(numbers) != count:
        raise AnswerError(f"{name} is {count} numbers, not {len(numbers)}")
    return numbers


def _box(name: str, value: Any) -> list[float]:
    named = fields(value)
    if named is not None:
        if set(named) != set(_SIDES):
            raise AnswerError(f"{name} is {{{', '.join(_SIDES)}}}, not {shown(value)}")
        value = [named[side] for side in _SIDES]
    return _numbers(name, value, None if value is None else 4)


def _points(name: str, value: Any, widths: tuple[int, ...]) -> list[float]:
    numbers = _numbers(name, value)
    odd = np.shape(value)[1] not in widths if np.ndim(value) == 2 else len(numbers) % 2
    if odd:
        raise AnswerError(f"{name} is a list of points, not {shown(value)}")
    return numbers


def _keypoints(value: Any) -> list[float]:
    """x, y and visibility in turn; a keypoint without one counts as visible."""
    numbers = _points("keypoints", value, (2, 3))
    if np.ndim(value) == 2 and np.shape(value)[1] == 2:
        numbers = [axis for at in range(0, len(numbers), 2) for axis in (numbers[at], numbers[at + 1], 2.0)]
    elif len(numbers) % 3:
        raise AnswerError("keypoints are [[x, y], ...] or [[x, y, visibility], ...]")
    return numbers
