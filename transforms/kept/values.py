"""Values of kept columns on their way from the source to the table; none is ever changed.

Python has no times of nanoseconds, so these travel as text. `fitting` refuses what Arrow would round or cut in silence.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from .types import is_json, plain_type

__all__ = ["converted", "fitting", "is_utf8", "python_values", "readable_type", "to_json"]

_NANOSECONDS = re.compile(r"(?P<hours>\d\d):(?P<minutes>\d\d):(?P<seconds>\d\d)\.(?P<nanoseconds>\d{9})")


def to_json(value: Any) -> str:
    """A value as JSON text; bytes in base64, times in ISO 8601, decimals and what is no number as their text."""
    return json.dumps(_jsonable(value), ensure_ascii=not is_utf8(value), allow_nan=False)


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def is_utf8(value: Any) -> bool:
    """Whether Arrow and protobuf can hold all texts of a value: half a pair of surrogates they cannot."""
    if isinstance(value, str):
        if value.isascii():
            return True
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, Mapping):
        return all(is_utf8(key) and is_utf8(inner) for key, inner in value.items())
    return all(map(is_utf8, value)) if isinstance(value, list | tuple) else True


def fitting(value: Any, field: Any) -> Any:
    """The value as Arrow takes it for a kept column, unchanged.

    Raises:
        ValueError: the column's type does not hold it.
    """
    if value is None:
        return None
    return to_json(value) if is_json(field) else _check_of(field.type)(value)


def _check_of(kind: Any) -> Callable[[Any], Any]:
    check = _checks.get(kind)
    if check is None:
        check = _checks[kind] = _make_check(kind)
    return check


_checks: dict[Any, Callable[[Any], Any]] = {}


def _make_check(kind: Any) -> Callable[[Any], Any]:
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind):
        return lambda value: value if type(value) is str and is_utf8(value) else _refuse(value, kind)
    if types.is_boolean(kind):
        return lambda value: value if type(value) is bool else _refuse(value, kind)
    if types.is_integer(kind):
        return _integer_check(kind)
    if types.is_floating(kind):
        return _float_check(kind)
    if types.is_timestamp(kind) or types.is_time(kind):
        return lambda value: _of_text(value, kind) if isinstance(value, str) else _of_time(value, kind)
    return lambda value: _same(value, kind)


def _refuse(value: Any, kind: Any) -> Any:
    raise ValueError(f"a {type(value).__name__} where the column is {kind}")


def _integer_check(kind: Any) -> Callable[[Any], Any]:
    low = -(2 ** (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
    high = low + 2**kind.bit_width
    return lambda value: value if type(value) is int and low <= value < high else _refuse(value, kind)


def _float_check(kind: Any) -> Callable[[Any], Any]:
    number = np.dtype(kind.to_pandas_dtype()).type

    def check(value: Any) -> Any:
        if type(value) is float or type(value) is int:
            with np.errstate(over="ignore"):
                same = float(number(value))
            if same == value or value != value:  # noqa: PLR0124  (not a number is unlike itself)
                return number(value)
        return _refuse(value, kind)

    return check


def _of_text(text: str, kind: Any) -> Any:
    """A time that Python cannot hold, from its text."""
    try:
        if pa.types.is_timestamp(kind):
            return pa.array([text]).cast(kind)[0]
    except pa.ArrowException:
        return _refuse(text, kind)
    parts = _NANOSECONDS.fullmatch(text)
    if parts is None:
        return _refuse(text, kind)
    seconds = 3600 * int(parts["hours"]) + 60 * int(parts["minutes"]) + int(parts["seconds"])
    return seconds * 10**9 + int(parts["nanoseconds"])


def _of_time(value: Any, kind: Any) -> Any:
    """A time of Python, which in a column of nanoseconds has none."""
    if kind.unit != "ns":
        return _same(value, kind)
    own = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.time64("us")
    try:
        return pa.array([_same(value, own)], own).cast(kind)[0]
    except pa.ArrowException:
        return _refuse(value, kind)


def _same(value: Any, kind: Any) -> Any:
    """A value that is the same when Arrow gives it back; of times inside of it the text counts."""
    try:
        if (readable := readable_type(kind)) != kind:
            item = pa.array([value], readable).cast(kind)
            back = item.cast(readable)[0].as_py()
        else:
            item = pa.array([value], kind)
            back = item[0].as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return _refuse(value, kind)
    return item[0] if _alike(value, back) else _refuse(value, kind)


def _alike(value: Any, back: Any) -> bool:
    """Whether nothing of a value got lost; a struct may have got further fields that are null."""
    if isinstance(value, Mapping) and isinstance(back, Mapping):
        return value.keys() <= back.keys() and all(_alike(inner, back[key]) for key, inner in value.items())
    if isinstance(value, list | tuple) and isinstance(back, list | tuple):
        return len(value) == len(back) and all(map(_alike, value, back))
    if isinstance(value, bool) != isinstance(back, bool):
        return False
    if isinstance(value, decimal.Decimal) or isinstance(back, decimal.Decimal):
        return not isinstance(value, float) and not isinstance(back, float) and bool(value == back)
    return bool(value == back or (value != value and back != back))  # noqa: PLR0124


def readable_type(kind: Any, *, inside: bool = False) -> Any:
    """The type as which Python reads values without loss: times of nanoseconds as their text, or as a number.

    Args:
        inside: of a list or a struct, where Arrow makes no such time of a text.
    """
    kind, types = plain_type(kind), pa.types
    if types.is_list(kind):
        return pa.list_(readable_type(kind.value_type, inside=True))
    if types.is_large_list(kind):
        return pa.large_list(readable_type(kind.value_type, inside=True))
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, readable_type(field.type, inside=True)) for field in kind])
    if not (types.is_temporal(kind) and getattr(kind, "unit", "") == "ns"):
        return kind
    return pa.int64() if types.is_duration(kind) or (inside and types.is_time(kind)) else pa.string()


def python_values(array: Any) -> list[Any]:
    """The values of an Arrow array, none of them rounded; one that Python cannot hold is a ValueError in its place."""
    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    readable = readable_type(array.type)
    if readable != array.type:
        array = array.cast(readable)
    try:
        values: list[Any] = array.to_pylist()
    except (ValueError, OverflowError):
        return list(_one_by_one(array))
    return values


def _one_by_one(array: Any) -> Iterator[Any]:
    for scalar in array:
        try:
            yield scalar.as_py()
        except UnicodeDecodeError as error:
            yield ValueError(f"is not UTF-8: {error.reason} at byte {error.start}")
        except (ValueError, OverflowError) as error:
            yield _text_of(scalar, error)


def _text_of(scalar: Any, error: Exception) -> Any:
    """A time that Python cannot hold, as its text."""
    try:
        return scalar.cast(pa.string()).as_py()
    except pa.ArrowException:
        return ValueError(f"cannot be read: {error}")


def converted(array: Any, before: Any, after: Any) -> Any:
    """A kept column of files that exist, in the type that the table has by now.

    Args:
        array: its values.
        before: its field, as it was written.
        after: its field now, from `one_field`.
    """
    if is_json(after):
        if is_json(before):
            return array
        texts = [None if value is None else to_json(value) for value in python_values(array)]
        return pa.array(texts, after.type)
    return array if array.type == after.type else array.cast(after.type)
