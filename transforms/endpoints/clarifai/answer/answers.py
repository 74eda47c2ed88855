"""Converts a model's answer to JSON, the reverse of `request.values`; for `bulkinfer call` and columns of JSON.

Binary values become {"base64": ...}, so that what a model answers can be handed to a model again.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict

from ....errors import DecodeError
from ..request.values import REPEATED
from ..signatures import Field, Method

__all__ = ["concept_json", "data_value", "frame_json", "output_value", "region_json", "struct_json"]


def output_value(output: Any, method: Method) -> Any:
    """The value of an `Output` as JSON.

    A result stands in a part with its name, or inline in `data` where it is the first (`deserialize` in the
    vendor's `method_signatures.py`). Data that fits no declared result, as of older models, becomes {field:
    value}.

    Args:
        output: the message.
        method: what was called.

    Returns:
        The one result, {name: result} for several, or None where the model answered nothing.

    Raises:
        DecodeError: the data does not have the declared type.
    """
    data = output.data
    if method.legacy or not method.outputs:
        return data_value(data)
    parts = {part.id: part for part in data.parts}
    results: dict[str, Any] = {}
    for position, field in enumerate(method.outputs):
        if field.name in parts:
            results[field.name] = _decode(field, parts[field.name].data)
        elif position == 0:
            results[field.name] = _inline(field, data, parts)
        else:
            raise DecodeError(
                "missing_result", f"the model's answer lacks {field.name!r} ({field.type_text})"
            )
    return results[method.outputs[0].name] if len(method.outputs) == 1 else results


def data_value(data: Any) -> Any:
    """A `Data` message of no declared type: its one value, {field: value} for several, None for none.

    The vendor's server answers requests of the old format with a text both in `string_value` and in
    `text.raw` (`DataConverter.convert_output_data_to_old_format`); it counts once.
    """
    found: dict[str, Any] = {}
    for descriptor, value in data.ListFields():
        name = descriptor.name
        if name == "metadata":
            continue
        convert = _GENERIC.get(name)
        if convert is not None:
            found[name] = convert(value)
        elif name in ("regions", "concepts", "frames"):
            found[name] = [_ITEM[name](item) for item in value]
        elif name == "parts":
            found[name] = _parts(value)
        elif hasattr(value, "DESCRIPTOR"):
            found[name] = MessageToDict(value, preserving_proto_field_name=True)
        else:
            found[name] = [MessageToDict(item, preserving_proto_field_name=True) for item in value]
    if found.get("text") == found.get("string_value"):
        found.pop("string_value", None)
    return next(iter(found.values())) if len(found) == 1 else found or None


def region_json(region: Any) -> dict[str, Any]:
    """A Region as JSON, in the keys that prompts have; see `prompts`."""
    info, shown = region.region_info, {}
    if region.id:
        shown["id"] = region.id
    if info.HasField("bounding_box"):
        box = info.bounding_box
        shown["box"] = [box.left_col, box.top_row, box.right_col, box.bottom_row]
    if info.HasField("point"):
        shown["point"] = [info.point.col, info.point.row, info.point.z]
    if info.HasField("polygon"):
        shown["polygon"] = [[point.col, point.row] for point in info.polygon.points]
    if info.HasField("mask"):
        shown["mask"] = _media_json(info.mask.image)
    if info.keypoint_locations:
        shown["keypoints"] = [[point.col, point.row] for point in info.keypoint_locations]
    if region.data.concepts:
        shown["concepts"] = [concept_json(concept) for concept in region.data.concepts]
    if region.data.text.raw:
        shown["text"] = region.data.text.raw
    if region.value:
        shown["value"] = region.value
    if region.track_id:
        shown["track_id"] = region.track_id
    return shown


def concept_json(concept: Any) -> dict[str, Any]:
    """A Concept as JSON."""
    return {"id": concept.id, "name": concept.name, "value": concept.value}


def frame_json(frame: Any) -> dict[str, Any]:
    """A Frame as JSON, in the keys that prompts have; see `prompts`."""
    info = frame.frame_info
    shown: dict[str, Any] = {"index": info.index, "number": info.number, "time_ms": info.time}
    if frame.id:
        shown["id"] = frame.id
    if frame.data.HasField("image"):
        shown["image"] = _media_json(frame.data.image)
    if frame.data.concepts:
        shown["concepts"] = [concept_json(concept) for concept in frame.data.concepts]
    shown["regions"] = [region_json(region) for region in frame.data.regions]
    return shown


def struct_json(struct: Any) -> Any:
    """A Struct as JSON; the wrapping of a bare list is undone, and whole numbers, sent as doubles, are whole again."""
    value = _whole_numbers(MessageToDict(struct))
    return value["_list"] if value.keys() == {"_list"} else value


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


def _inline(field: Field, data: Any, parts: Mapping[str, Any]) -> Any:
    """The first result where no part has its name: in the fields of `data` itself, if it is there at all."""
    if not parts and field.type not in ("TUPLE", "NAMED_FIELDS"):
        value = _decode(field, data)
        # A zero sent inline leaves no trace; anything else of another type does.
        if value not in (None, "", 0, []) or not data.ListFields():
            return value
    return data_value(data)


def _decode(field: Field, data: Any) -> Any:
    decode = _DECODE.get(field.type)
    if decode is not None:
        return decode(data)
    args = field.type_args
    if field.type in REPEATED:
        name = REPEATED[field.type]
        items = [_ITEM[name](item) for item in getattr(data, name)]
        # The vendor gives the list where one was declared and several came (MessageSerializer.deserialize).
        return items if len(items) > 1 else next(iter(items), None)
    if field.type == "LIST":
        repeated = REPEATED.get(args[0].type)
        if repeated is not None:
            return [_ITEM[repeated](item) for item in getattr(data, repeated)]
        return [_decode(args[0], part.data) for part in data.parts]
    if field.type in ("TUPLE", "NAMED_FIELDS"):
        return _decode_together(field, data)
    return data_value(data)


def _decode_together(field: Field, data: Any) -> Any:
    if field.type == "TUPLE":
        if len(data.parts) != len(field.type_args):
            raise DecodeError(
                "wrong_type",
                f"{field.name!r} is {field.type_text}, but {len(data.parts)} values came; is the signature "
                "stale?",
            )
        return [_decode(item, part.data) for item, part in zip(field.type_args, data.parts, strict=True)]
    named = {part.id: part.data for part in data.parts}
    missing = [item.name for item in field.type_args if item.name not in named]
    if missing:
        raise DecodeError(
            "wrong_type",
            f"{field.name!r} is {field.type_text}, but {', '.join(missing)} is missing in the answer",
        )
    return {item.name: _decode(item, named[item.name]) for item in field.type_args}


def _parts(parts: Any) -> Any:
    ids = [part.id for part in parts]
    values = [data_value(part.data) for part in parts]
    if ids == ["return"]:
        return values[0]
    named = all(ids) and len(set(ids)) == len(ids) and ids != [str(number) for number in range(len(ids))]
    return dict(zip(ids, values, strict=True)) if named else values


def _bytes_json(value: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(value).decode()}


def _media_json(media: Any) -> dict[str, str]:
    return {"url": media.url} if media.url and not media.base64 else _bytes_json(media.base64)


def _text_json(text: Any) -> Any:
    return {"url": text.url} if text.url and not text.raw else text.raw


def _float_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has no NaN


def _ndarray_json(array: Any) -> dict[str, Any]:
    try:
        values = np.frombuffer(array.buffer, dtype=np.dtype(array.dtype)).reshape(tuple(array.shape))
    except (TypeError, ValueError) as error:
        raise DecodeError(
            "wrong_type",
            f"an array of {len(array.buffer)} bytes is no {array.dtype[:20]} of shape {list(array.shape)}",
        ) from error
    return {"dtype": array.dtype, "shape": list(array.shape), "data": values.tolist()}


def _present(name: str, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: convert(getattr(data, name)) if data.HasField(name) else None


_ITEM: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "regions": region_json,
    "concepts": concept_json,
    "frames": frame_json,
}
_GENERIC: Mapping[str, Callable[[Any], Any]] = {
    "image": _media_json,
    "video": _media_json,
    "audio": _media_json,
    "text": _text_json,
    "ndarray": _ndarray_json,
    "struct_value": struct_json,
    "bytes_value": _bytes_json,
    "int_value": int,
    "float_value": _float_json,
    "bool_value": bool,
    "string_value": str,
    "embeddings": lambda embeddings: [list(embedding.vector) for embedding in embeddings],
}
_DECODE: Mapping[str, Callable[[Any], Any]] = {
    "STR": lambda data: data.string_value,
    "INT": lambda data: data.int_value,
    "FLOAT": lambda data: _float_json(data.float_value),
    "BOOL": lambda data: data.bool_value,
    "BYTES": lambda data: _bytes_json(data.bytes_value),
    "TEXT": _present("text", _text_json),
    "IMAGE": _present("image", _media_json),
    "VIDEO": _present("video", _media_json),
    "AUDIO": _present("audio", _media_json),
    "NDARRAY": _present("ndarray", _ndarray_json),
    "JSON_DATA": _present("struct_value", struct_json),
}
