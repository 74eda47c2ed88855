"""One type for a column whose files, or nights, have several: widened without loss, else JSON text.

A field's metadata says what its type alone cannot: that its texts are JSON, from which column of the source it comes,
and that its values are too large to be widened.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

__all__ = [
    "BEYOND",
    "FAR_BEYOND",
    "form_of",
    "from_text",
    "is_json",
    "kept_field",
    "one_field",
    "one_schema",
    "plain_type",
    "source_of",
    "to_text",
    "values_of",
    "with_json",
]

_AS = b"bulkinfer.as"
_FROM = b"bulkinfer.from"
_SIZE = b"bulkinfer.values"
#: Whole numbers that a double does not hold, or times that nanoseconds do not.
BEYOND = "beyond"
#: Times that no unit but their own is sure to hold.
FAR_BEYOND = "far beyond"
_UNITS = ("s", "ms", "us", "ns")
_MOST_DIGITS = 76
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}


def kept_field(name: str, kind: Any, *, source: str = "", json: bool = False, values: str = "") -> Any:
    """A kept column: its name in the table and its type.

    Args:
        name: in the predictions table.
        kind: its type in the source; one that Parquet cannot hold, or not with nulls, becomes its nearest.
        source: the column that it is a copy of, where that has another name.
        json: its texts are JSON.
        values: "", or what they are beyond: BEYOND or FAR_BEYOND.
    """
    kind = plain_type(kind)
    json = json or _is_without_fields(kind)
    noted = {_AS: "json" if json else "", _FROM: "" if source == name else source, _SIZE: values}
    metadata = {key: text for key, text in noted.items() if text}
    return pa.field(name, pa.string() if json else kind, metadata=metadata or None)


def is_json(field: Any) -> bool:
    """Whether the texts of a kept column are JSON."""
    return _note(field, _AS) == "json"


def source_of(field: Any) -> str:
    """The column of the source that a kept column is a copy of."""
    return _note(field, _FROM) or str(field.name)


def values_of(field: Any) -> str:
    """ "" or what the values of a kept column are beyond."""
    return _note(field, _SIZE)


def form_of(field: Any) -> tuple[str, str, str]:
    """What readers see of a kept column: its name, its type, and what its texts are."""
    return str(field.name), str(field.type), _note(field, _AS)


def with_json(field: Any) -> Any:
    """The same column as JSON text."""
    return kept_field(field.name, pa.string(), source=source_of(field), json=True, values=values_of(field))


def to_text(schema: Any) -> str:
    """Kept columns as a run's record holds them: serialized, in base64; "" when there are none."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode() if schema else ""


def from_text(text: str) -> Any:
    """Kept columns of a run's record, or None."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))) if text else None


def _note(field: Any, key: bytes) -> str:
    note: bytes = (field.metadata or {}).get(key, b"")
    return note.decode()


def one_schema(schemas: Iterable[Any]) -> Any:
    """All columns of these schemas, each with one type, in the order in which they come first."""
    fields: dict[str, Any] = {}
    for schema in schemas:
        for field in schema or ():
            known = fields.get(field.name)
            fields[field.name] = field if known is None else one_field(known, field)
    return pa.schema(list(fields.values()))


def one_field(one: Any, other: Any) -> Any:
    """The field that holds the values of both without loss; JSON text where no type does."""
    source = source_of(other)
    sizes = {values_of(one), values_of(other)}
    values = next((size for size in (FAR_BEYOND, BEYOND) if size in sizes), "")
    if pa.types.is_null(one.type) or pa.types.is_null(other.type):
        wide = other if pa.types.is_null(one.type) else one
        return kept_field(one.name, wide.type, source=source, json=is_json(wide), values=values)
    kind = None if is_json(one) or is_json(other) else one_type(one.type, other.type, values)
    if kind is None:
        return kept_field(one.name, pa.string(), source=source, json=True, values=values)
    return kept_field(one.name, kind, source=source, values=values)


def plain_type(kind: Any) -> Any:
    """The type without encodings, and without those that Parquet cannot hold, or not with nulls."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or _is(kind, "list_view"):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_large_list(kind) or _is(kind, "large_list_view"):
        return pa.large_list(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind])
    return _plain_scalar(kind)


def _plain_scalar(kind: Any) -> Any:
    if pa.types.is_date64(kind):
        return pa.date32()
    if _is(kind, "decimal32") or _is(kind, "decimal64"):
        return pa.decimal128(kind.precision, kind.scale)
    if _is(kind, "string_view"):
        return pa.string()
    return pa.binary() if _is(kind, "binary_view") else kind


def _is(kind: Any, name: str) -> bool:
    """Whether a type is of a kind that older versions of Arrow lack."""
    check = getattr(pa.types, f"is_{name}", None)
    return check is not None and bool(check(kind))


def _is_without_fields(kind: Any) -> bool:
    """Whether the type holds a struct of nothing, which Parquet cannot write."""
    if pa.types.is_struct(kind):
        return not kind.num_fields or any(_is_without_fields(field.type) for field in kind)
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return nested and _is_without_fields(kind.value_type)


def one_type(one: Any, other: Any, values: str = FAR_BEYOND) -> Any:
    """The type that holds the values of both; None where there is none.

    Args:
        values: what the values are beyond, "" for nothing; of nested ones nobody knows.
    """
    types = pa.types
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    for holds, widen in (
        (_is_number, lambda: _one_number(one, other, values)),
        (_is_text, pa.large_string),
        (_is_bytes, lambda: pa.large_binary() if _any(types.is_large_binary, one, other) else pa.binary()),
        (types.is_time, lambda: _one_time(one, other, values)),
        (types.is_timestamp, lambda: _one_timestamp(one, other, values)),
        (_is_list, lambda: _one_list(one, other)),
        (types.is_struct, lambda: _one_struct(one, other)),
    ):
        if holds(one) and holds(other):
            return widen()
    return None


def _any(check: Any, *kinds: Any) -> bool:
    return any(check(kind) for kind in kinds)


def _is_number(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: Any) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _one_number(one: Any, other: Any, values: str) -> Any:
    types = pa.types
    if types.is_decimal(one) or types.is_decimal(other):
        return None if _any(types.is_floating, one, other) else _one_decimal(one, other)
    widest = max(one, other, key=lambda kind: int(kind.bit_width))
    if types.is_floating(one) != types.is_floating(other):
        whole = other if types.is_floating(one) else one
        if whole.bit_width == 64:
            return None if values else pa.float64()
        needed = pa.float64() if whole.bit_width == 32 else pa.float32()
        real = one if types.is_floating(one) else other
        return max(needed, real, key=lambda kind: int(kind.bit_width))
    if types.is_floating(one) or types.is_signed_integer(one) == types.is_signed_integer(other):
        return widest
    signed, unsigned = (one, other) if types.is_signed_integer(one) else (other, one)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(max(signed.bit_width, 2 * unsigned.bit_width))


def _one_decimal(one: Any, other: Any) -> Any:
    def digits(kind: Any) -> tuple[int, int]:
        """Digits before the point, and behind it."""
        if pa.types.is_decimal(kind):
            return kind.precision - kind.scale, kind.scale
        return _DIGITS[kind.bit_width], 0

    before, behind = (max(pair) for pair in zip(digits(one), digits(other), strict=True))
    if before + behind > _MOST_DIGITS:
        return None
    make = pa.decimal128 if before + behind <= 38 else pa.decimal256
    return make(before + behind, behind)


def _one_time(one: Any, other: Any, values: str) -> Any:
    if values == FAR_BEYOND:
        return None  # inside of a list or a struct, where Python's times and texts would meet
    unit = max(one.unit, other.unit, key=_UNITS.index)
    return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)


def _one_timestamp(one: Any, other: Any, values: str) -> Any:
    if (one.tz is None) != (other.tz is None):
        return None
    unit = max(one.unit, other.unit, key=_UNITS.index)
    if one.unit != other.unit and (values == FAR_BEYOND or (values and unit == "ns")):
        return None
    return pa.timestamp(unit, one.tz if one.tz == other.tz else "UTC")


def _one_list(one: Any, other: Any) -> Any:
    item = one_type(one.value_type, other.value_type)
    if item is None:
        return None
    return pa.large_list(item) if _any(pa.types.is_large_list, one, other) else pa.list_(item)


def _one_struct(one: Any, other: Any) -> Any:
    fields = {field.name: field.type for field in one}
    if len(fields) < one.num_fields or len({field.name for field in other}) < other.num_fields:
        return None  # names that come twice cannot be told apart
    for field in other:
        kind = one_type(fields[field.name], field.type) if field.name in fields else field.type
        if kind is None:
            return None
        fields[field.name] = kind
    return pa.struct(list(fields.items()))
