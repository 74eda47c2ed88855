"""Encodes one value of a declared type as the `Data` message that carries it.

The mapping is that of `clarifai/runners/utils/method_signatures.py` and `serializers.py`. The
reverse, from a model's answer to JSON, is `answer.answers`.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf import struct_pb2

from ..signatures import Field
from .prompts import MisfitError, fill_concept, fill_frame, fill_media, fill_region, kind, unbase64

__all__ = ["REPEATED", "MisfitError", "encode_value"]

#: Types whose lists are the repeated field itself, not nested parts.
REPEATED = {"REGION": "regions", "CONCEPT": "concepts", "FRAME": "frames"}
#: Types whose value in a column may be JSON text.
_STRUCTURED = {"LIST", "TUPLE", "NAMED_FIELDS", "JSON_DATA", "NDARRAY", *REPEATED}


def encode_value(field: Field, value: Any, *, lenient: bool = False) -> bytes:
    """The serialized `Data` that carries a value.

    Args:
        field: the parameter, or an item type inside one.
        value: Python or JSON value; an explicit zero, false or empty value stays what it is.
        lenient: True for values of columns, where CSV knows only text and a nullable whole number comes as
            3.0. Constants of the job file are taken by their own type instead, so that a slip is found before
            any call.

    Raises:
        MisfitError: the value does not fit; the message does not show it.
    """
    data = resources_pb2.Data()
    try:
        _fill(data, field, value, lenient)
    except MisfitError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # Lone surrogates, numbers beyond a double, JSON nested too deep: one value's fault, never the job's.
        raise MisfitError(f"it cannot be encoded as {field.item_text} ({type(error).__name__})") from None
    return bytes(data.SerializeToString())


def _fill(data: Any, field: Field, value: Any, lenient: bool) -> None:
    fill = _FILL.get(field.type)
    if fill is None:
        raise MisfitError(f"the type {field.type} is unknown to this client; upgrade bulkinfer")
    if value is None:
        raise MisfitError(f"null cannot be sent as {field.item_text}; leave it out")
    if lenient and isinstance(value, (str, bytes)) and field.type in _STRUCTURED:
        value = _json_text(value)
    fill(data, field, value, lenient)


def _json_text(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise MisfitError("its text is not JSON") from None


def _fill_str(data: Any, _: Field, value: Any, lenient: bool) -> None:
    data.string_value = _text(value, lenient)


def _fill_text(data: Any, _: Field, value: Any, lenient: bool) -> None:
    data.text.SetInParent()  # an empty text is a text
    if isinstance(value, dict) and value.keys() == {"url"} and isinstance(value["url"], str):
        data.text.url = value["url"]
    else:
        data.text.raw = _text(value, lenient)


def _text(value: Any, lenient: bool) -> str:
    if isinstance(value, str):
        return value
    if lenient:
        if isinstance(value, bytes):
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise MisfitError("it takes text, but the bytes are not UTF-8") from None
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (dict, list)):
            return json.dumps(value, ensure_ascii=False, default=str)
        return str(value)
    raise MisfitError(f"it takes text, not {kind(value)}; put it in quotes")


def _fill_int(data: Any, _: Field, value: Any, lenient: bool) -> None:
    if lenient and isinstance(value, (str, float, decimal.Decimal)):
        try:
            number = int(value)
        except (ValueError, OverflowError):
            raise MisfitError("it takes a whole number, but the value is none") from None
        if not isinstance(value, str) and number != value:
            raise MisfitError("it takes a whole number, but the value has a fraction")
        value = number
    data.int_value = _whole(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise MisfitError(f"it takes a whole number, not {kind(value)}")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise MisfitError("it takes a whole number of at most 64 bits")
    return number


def _fill_float(data: Any, _: Field, value: Any, lenient: bool) -> None:
    fits = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not fits and not (lenient and isinstance(value, (str, decimal.Decimal))):
        raise MisfitError(f"it takes a number, not {kind(value)}")
    try:
        data.float_value = float(value)
    except (ValueError, OverflowError):
        raise MisfitError("it takes a number, but the value is none") from None


def _fill_bool(data: Any, _: Field, value: Any, lenient: bool) -> None:
    if lenient and isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower(), value)
    elif lenient and isinstance(value, (int, float, np.bool_)) and value in (0, 1):
        value = bool(value)
    if not isinstance(value, bool):
        raise MisfitError(f"it takes true or false, not {kind(value)}")
    data.bool_value = value


def _fill_bytes(data: Any, _: Field, value: Any, lenient: bool) -> None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        data.bytes_value = bytes(value)
    elif isinstance(value, str):
        data.bytes_value = value.encode()
    elif isinstance(value, dict) and value.keys() == {"base64"}:
        data.bytes_value = unbase64(value["base64"])
    else:
        raise MisfitError(f'it takes bytes, text or {{"base64": ...}}, not {kind(value)}')


def _fill_ndarray(data: Any, _: Field, value: Any, lenient: bool) -> None:
    try:
        if isinstance(value, dict):
            array = np.asarray(value["data"], dtype=value.get("dtype")).reshape(value.get("shape", (-1,)))
        else:
            array = np.asarray(value)
    except (KeyError, TypeError, ValueError):
        raise MisfitError(
            'it takes nested lists of numbers, or {"data": ..., "shape": ..., "dtype": ...}'
        ) from None
    if not np.issubdtype(array.dtype, np.number):
        raise MisfitError(f"it takes an array of numbers, not of {array.dtype}")
    data.ndarray.buffer = array.tobytes()
    data.ndarray.shape.extend(array.shape)
    data.ndarray.dtype = str(array.dtype)


def _fill_json(data: Any, _: Field, value: Any, lenient: bool) -> None:
    if not isinstance(value, (dict, list)):
        # The vendor's Struct cannot hold a bare number or text either (JSONSerializer.serialize).
        raise MisfitError(f"it takes a mapping or a list, not {kind(value)}")
    plain = _plain(value) if lenient else value
    struct = struct_pb2.Struct()
    try:
        struct.update({"_list": plain} if isinstance(plain, list) else plain)
    except (TypeError, ValueError, AttributeError):
        raise MisfitError(
            "it takes JSON: keys that are text; values of text, numbers, true, false, null"
        ) from None
    data.struct_value.CopyFrom(struct)


def _plain(value: Any) -> Any:
    """A column's value with only the types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (decimal.Decimal, np.number)):
        return float(value)
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def _fill_list(data: Any, field: Field, value: Any, lenient: bool) -> None:
    if not isinstance(value, (list, tuple)):
        raise MisfitError(f"it takes a list, not {kind(value)}")
    item_type = field.type_args[0]
    if item_type.type in REPEATED:
        for number, item in enumerate(value):
            with _at(f"item {number}"):
                _FILL[item_type.type](data, item_type, item, lenient)
        return
    for number, item in enumerate(value):
        with _at(f"item {number}"):
            _fill(data.parts.add().data, item_type, item, lenient)


def _fill_tuple(data: Any, field: Field, value: Any, lenient: bool) -> None:
    if not isinstance(value, (list, tuple)) or len(value) != len(field.type_args):
        raise MisfitError(f"it takes a list of exactly {len(field.type_args)} values, not {kind(value)}")
    for number, (item_type, item) in enumerate(zip(field.type_args, value, strict=True)):
        part = data.parts.add(id=str(number))
        with _at(f"item {number}"):
            _fill(part.data, item_type, item, lenient)


def _fill_named(data: Any, field: Field, value: Any, lenient: bool) -> None:
    names = [item.name for item in field.type_args]
    if not isinstance(value, dict) or sorted(value, key=str) != sorted(names):
        # The vendor needs every field (NamedFieldsSerializer.serialize) and drops others silently.
        raise MisfitError(f"it takes a mapping with exactly the keys {', '.join(names)}, not {kind(value)}")
    for item_type in field.type_args:
        part = data.parts.add(id=item_type.name)
        with _at(f"field {item_type.name}"):
            _fill(part.data, item_type, value[item_type.name], lenient)


@contextlib.contextmanager
def _at(place: str) -> Iterator[None]:
    """Add to an error where in a list, tuple or mapping it is."""
    try:
        yield
    except MisfitError as error:
        raise MisfitError(f"{place}: {error}") from None


def _media(name: str) -> Callable[..., None]:
    return lambda data, _field, value, _lenient: fill_media(getattr(data, name), value)


_FILL: Mapping[str, Callable[..., None]] = {
    "STR": _fill_str,
    "TEXT": _fill_text,
    "INT": _fill_int,
    "FLOAT": _fill_float,
    "BOOL": _fill_bool,
    "BYTES": _fill_bytes,
    "NDARRAY": _fill_ndarray,
    "JSON_DATA": _fill_json,
    "IMAGE": _media("image"),
    "VIDEO": _media("video"),
    "AUDIO": _media("audio"),
    "REGION": lambda data, _field, value, _lenient: fill_region(data.regions.add(), value),
    "FRAME": lambda data, _field, value, _lenient: fill_frame(data.frames.add(), value),
    "CONCEPT": lambda data, _field, value, _lenient: fill_concept(data.concepts.add(), value),
    "LIST": _fill_list,
    "TUPLE": _fill_tuple,
    "NAMED_FIELDS": _fill_named,
}
