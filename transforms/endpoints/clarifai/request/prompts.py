"""Fills messages from JSON: regions, frames and concepts, of which prompts of segmentation models are made.

Shapes and defaults follow `clarifai/runners/utils/data_types/data_types.py`; coordinates run from 0 to 1.

    concept   "1" | {name, value = 1, id}
    region    {point: [x, y, z?]} | {box: [x1, y1, x2, y2]}, with concepts, mask, polygon, track_id, text, id, value
    frame     {index, number, time (seconds) | time_ms, regions, image, id}
"""

from __future__ import annotations

import base64
import binascii
import difflib
import math
import re
from collections.abc import Collection
from typing import Any

__all__ = ["MisfitError", "fill_concept", "fill_frame", "fill_media", "fill_region", "kind", "unbase64"]

_REGION_KEYS = ("box", "point", "concepts", "mask", "polygon", "track_id", "text", "id", "value")
_FRAME_KEYS = ("index", "number", "time", "time_ms", "regions", "image", "id")
_CONCEPT_KEYS = ("name", "value", "id")


class MisfitError(ValueError):
    """A value does not fit its type; the message says what fits and never shows the value."""


def fill_media(message: Any, value: Any) -> None:
    """Fill an Image, Video or Audio from bytes, a URL, {"url": ...} or {"base64": ...}.

    Raises:
        MisfitError: the value is none of these.
    """
    message.SetInParent()
    if isinstance(value, (bytes, bytearray, memoryview)):
        message.base64 = bytes(value)
    elif isinstance(value, str) and "://" in value:
        message.url = value
    elif isinstance(value, dict) and value.keys() == {"url"} and isinstance(value["url"], str):
        message.url = value["url"]
    elif isinstance(value, dict) and value.keys() == {"base64"}:
        message.base64 = unbase64(value["base64"])
    else:
        raise MisfitError(f'it takes bytes, a URL, {{"url": ...}} or {{"base64": ...}}, not {kind(value)}')


def unbase64(text: Any) -> bytes:
    """The bytes that Base64 text stands for.

    Raises:
        MisfitError: it is no Base64 text.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise MisfitError('"base64" holds something else than Base64 text') from None


def fill_concept(concept: Any, value: Any) -> None:
    """Fill a Concept from its name or from {name, value, id}.

    Raises:
        MisfitError: the value is neither.
    """
    if isinstance(value, str):
        value = {"name": value}
    _check_keys(value, _CONCEPT_KEYS, "a concept")
    name = value.get("name")
    if not isinstance(name, str):
        raise MisfitError(f'a concept needs a name that is text, as in {{"name": "1"}}, not {kind(name)}')
    concept.name = name
    concept.value = number(value.get("value", 1.0), "a concept's value")
    # As Concept._concept_name_to_id does it.
    concept.id = str(value.get("id") or re.sub(r"[^a-zA-Z0-9\s]", "", name).replace(" ", "-"))


def fill_region(region: Any, value: Any) -> None:
    """Fill a Region from JSON; see the module for its keys.

    The vendor's class gives every region a random id. Here a region has the id it is given, so that a request
    is the same each time it is built.

    Raises:
        MisfitError: the value is no such JSON.
    """
    _check_keys(value, _REGION_KEYS, "a region")
    info = region.region_info
    if value.get("box") is not None:
        box = info.bounding_box
        box.SetInParent()
        box.left_col, box.top_row, box.right_col, box.bottom_row = _numbers(
            value["box"], (4,), "a region's box", "[x1, y1, x2, y2]"
        )
    if value.get("point") is not None:
        x, y, *z = _numbers(value["point"], (2, 3), "a region's point", "[x, y] or [x, y, z]")
        info.point.SetInParent()
        info.point.col, info.point.row, info.point.z = x, y, z[0] if z else 0.0
    for corner in _items(value, "polygon", "a region's polygon"):
        x, y, *_ = _numbers(corner, (2, 3), "a polygon's corner", "[x, y]")
        info.polygon.points.add(col=x, row=y)
    if value.get("mask") is not None:
        fill_media(info.mask.image, value["mask"])
    for concept in _items(value, "concepts", "a region's concepts"):
        fill_concept(region.data.concepts.add(), concept)
    if value.get("text") is not None:
        region.data.text.raw = str(value["text"])
    if value.get("value") is not None:
        region.value = number(value["value"], "a region's value")
    # JSON often numbers its objects, while the message has text there.
    region.track_id = str(value["track_id"]) if value.get("track_id") is not None else ""
    region.id = str(value["id"]) if value.get("id") is not None else ""


def fill_frame(frame: Any, value: Any) -> None:
    """Fill a Frame from JSON; see the module for its keys.

    Raises:
        MisfitError: the value is no such JSON.
    """
    _check_keys(value, _FRAME_KEYS, "a frame")
    frame.frame_info.SetInParent()
    for key in ("index", "number"):
        if value.get(key) is not None:
            setattr(frame.frame_info, key, _count(value[key], f"a frame's {key}"))
    if value.get("time_ms") is not None:
        frame.frame_info.time = _count(value["time_ms"], "a frame's time_ms")
    elif value.get("time") is not None:
        frame.frame_info.time = _count(int(number(value["time"], "a frame's time") * 1000), "a frame's time")
    for region in _items(value, "regions", "a frame's regions"):
        fill_region(frame.data.regions.add(), region)
    if value.get("image") is not None:
        fill_media(frame.data.image, value["image"])
    frame.id = str(value["id"]) if value.get("id") is not None else ""


def number(value: Any, what: str) -> float:
    """A finite number out of a value.

    Raises:
        MisfitError: it is none; a bool is none either.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MisfitError(f"{what} takes a number, not {kind(value)}")
    return float(value)


def kind(value: Any) -> str:
    """What a value is, in the words of a job file and without showing it."""
    if value is None:
        return "null"
    names = {str: "text", dict: "a mapping", list: "a list", tuple: "a list", bool: "true or false"}
    names |= {int: "a whole number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def _count(value: Any, what: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise MisfitError(f"{what} takes a whole number from 0, not {kind(value)}")
    return value


def _numbers(value: Any, lengths: Collection[int], what: str, form: str) -> list[float]:
    if not isinstance(value, (list, tuple)) or len(value) not in lengths:
        size = f" of {len(value)}" if isinstance(value, (list, tuple)) else ""
        raise MisfitError(f"{what} takes {form}, not {kind(value)}{size}")
    return [number(item, what) for item in value]


def _items(value: dict[str, Any], key: str, what: str) -> list[Any]:
    items = value.get(key)
    if items is None:
        return []
    if not isinstance(items, (list, tuple)):
        raise MisfitError(f"{what} takes a list, not {kind(items)}")
    return list(items)


def _check_keys(value: Any, known: tuple[str, ...], what: str) -> None:
    if not isinstance(value, dict):
        raise MisfitError(f"{what} is a mapping with keys of {', '.join(known)}, not {kind(value)}")
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(known)}"
            raise MisfitError(f"{what} has no key {key!r}{hint}")
