"""Reads the values of an `Output`: typed leaves that have columns of their own, and composed values as JSON.

An answer is one `Data` message: in a part named `return`, inline, or, for older models, in plain fields.
Lists, tuples and named fields nest further parts inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from clarifai_grpc.grpc.api import resources_pb2

from ....errors import DecodeError
from ..request.values import REPEATED
from ..signatures import Field
from .answers import struct_json

__all__ = [
    "Leaf",
    "answer_data",
    "is_composed",
    "json_text",
    "leaves",
    "plain_leaf",
    "plain_value",
]

Leaf = tuple[str, Any]  # the name of a field of `Data`, and its value

TEXTS = {"text", "string_value"}  #: fields of a text
_PARTS = "parts"
# proto3 does not send zeros: these types stand for their empty value when nothing came.
_ZEROS: dict[str, Leaf] = {
    "INT": ("int_value", 0),
    "FLOAT": ("float_value", 0.0),
    "BOOL": ("bool_value", False),
    "STR": ("string_value", ""),
    "BYTES": ("bytes_value", b""),
    "TEXT": ("text", resources_pb2.Text()),
}


def answer_data(output: Any, field: Field | None) -> tuple[Any, Field | None]:
    """The `Data` that holds the answer, and its declared type where it is one value."""
    data = output.data
    parts = data.parts
    if len(parts) == 1 and parts[0].id == (field.name if field is not None else "return"):
        return parts[0].data, field
    return data, field


def is_composed(data: Any) -> bool:
    """True when the answer is made of parts: a list, a tuple or named fields."""
    return len(data.parts) > 0


def leaves(data: Any, field: Field | None) -> list[Leaf]:
    """All typed values of an answer, in order, at whatever depth."""
    found = [(descriptor.name, value) for descriptor, value in data.ListFields()]
    if any(name == _PARTS for name, _ in found):
        found = list(_walk(data, field))
    if not found and field is not None and field.type in _ZEROS:
        return [_ZEROS[field.type]]
    return found


def _walk(data: Any, field: Field | None) -> Iterator[Leaf]:
    for descriptor, value in data.ListFields():
        if descriptor.name != _PARTS:
            yield descriptor.name, value
            continue
        for part, inner in _parts(value, field):
            yield from leaves(part.data, inner)


def _parts(parts: Sequence[Any], field: Field | None) -> Iterator[tuple[Any, Field | None]]:
    """Each part with its declared type, by the part's name or position."""
    args = field.type_args if field is not None else ()
    by_name = (
        {inner.name: inner for inner in args} if field is not None and field.type == "NAMED_FIELDS" else {}
    )
    for at, part in enumerate(parts):
        if by_name:
            yield part, by_name.get(part.id)
        elif field is not None and field.type == "LIST" and args:
            yield part, args[0]
        else:
            yield part, args[at] if at < len(args) else None


def spoken(found: list[Leaf]) -> list[str]:
    """The texts of an answer; one that is sent as `str` and as `Text`, for old clients, counts once."""
    texts = [value if isinstance(value, str) else value.raw for name, value in found if name in TEXTS]
    if len(texts) == 2 and texts[0] == texts[1] and {name for name, _ in found} == TEXTS:
        return texts[:1]
    return texts


def plain_value(data: Any, field: Field | None) -> Any:
    """An answer as JSON values, with the names it came with.

    Pictures, sounds and masks stay in their columns: here they are given by their size, and so are bytes.
    """
    if is_composed(data):
        return _plain_parts(data, field)
    if field is not None and field.type == "LIST":
        inner = field.type_args[0].type if field.type_args else ""
        return [_plain_item(item) for item in getattr(data, REPEATED[inner])] if inner in REPEATED else []
    found = leaves(data, field)
    if not found:
        return None
    if len(found) == 1:
        return plain_leaf(*found[0])
    return {name: plain_leaf(name, value) for name, value in found}


def _plain_parts(data: Any, field: Field | None) -> Any:
    parts = data.parts
    values = [plain_value(part.data, inner) for part, inner in _parts(parts, field)]
    names = [part.id for part in parts]
    named = field is not None and field.type == "NAMED_FIELDS"
    if not named and (not any(names) or names == [str(at) for at in range(len(names))]):
        return values
    whole = dict(zip(names, values, strict=True))
    for descriptor, value in data.ListFields():  # the first value may be inline beside the others
        if descriptor.name not in (_PARTS, "metadata"):
            whole.setdefault("return", plain_leaf(descriptor.name, value))
    return whole


def plain_leaf(name: str, value: Any) -> Any:
    """One typed value as JSON."""
    if name == "struct_value":
        return struct_json(value)
    if name == "text":
        return value.raw or ({"url": value.url} if value.url else "")
    if name == "ndarray":
        return _array_json(value)
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, (str, int, float, bool)):
        return value
    return _plain_message(name, value)


def _plain_message(name: str, value: Any) -> Any:
    if hasattr(value, "ListFields"):
        return _plain_item(value)
    items = [list(item.vector) if name == "embeddings" else _plain_item(item) for item in value]
    return items[0] if len(items) == 1 else items


def _plain_item(message: Any) -> Any:
    """A message as JSON with every blob in it replaced by its size."""
    if message.DESCRIPTOR.name == "Struct":
        return struct_json(message)
    if message.DESCRIPTOR.name == "Timestamp":
        return message.ToJsonString()
    plain: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if isinstance(value, bytes):
            plain["bytes"] = len(value)
        elif isinstance(value, (str, int, float, bool)):
            plain[descriptor.name] = value
        elif hasattr(value, "ListFields"):
            plain[descriptor.name] = _plain_item(value)
        else:
            plain[descriptor.name] = [
                _plain_item(one) if hasattr(one, "ListFields") else one for one in value
            ]
    return plain


def _array_json(array: Any) -> Any:
    try:
        return np.frombuffer(array.buffer, np.dtype(array.dtype)).reshape(tuple(array.shape)).tolist()
    except (TypeError, ValueError) as error:
        raise DecodeError(
            "ndarray",
            f"the model sent an array of dtype {array.dtype[:20]!r} and shape {list(array.shape)} in "
            f"{len(array.buffer)} bytes; they do not fit each other",
        ) from error


def json_text(value: Any) -> str:
    """JSON for a column: readable, and valid UTF-8 even where a model escaped half a character."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text if text.isascii() or _is_utf8(text) else json.dumps(value, separators=(",", ":"), default=str)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
