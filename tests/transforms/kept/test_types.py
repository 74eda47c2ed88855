"""One type for a column that has several: what each pair becomes, and that no value is changed by it."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from typing import Any

import pyarrow as pa
import pytest
from bulkinfer.transforms.kept.types import (
    BEYOND,
    FAR_BEYOND,
    form_of,
    from_text,
    is_json,
    kept_field,
    one_field,
    one_schema,
    source_of,
    to_text,
)
from bulkinfer.transforms.kept.values import converted, fitting, python_values
from hypothesis import given
from hypothesis import strategies as st


def kept(kind: Any, **notes: Any) -> Any:
    return kept_field("k", kind, **notes)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.null(), pa.string(), pa.string()),
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.int8(), pa.float32(), pa.float32()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.int64(), pa.decimal128(5, 2), pa.decimal128(22, 2)),
        (pa.decimal128(38, 0), pa.decimal128(10, 10), pa.decimal256(48, 10)),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.string()),
        (pa.binary(3), pa.binary(), pa.binary()),
        (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("us", "Europe/Berlin"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC")),
        (pa.time32("s"), pa.time64("ns"), pa.time64("ns")),
        (pa.list_(pa.null()), pa.list_(pa.string()), pa.list_(pa.string())),
        (pa.list_(pa.float32(), 2), pa.list_(pa.float64()), pa.list_(pa.float64())),
        (
            pa.struct([("a", pa.int32())]),
            pa.struct([("b", pa.string()), ("a", pa.int64())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
    ],
)
def test_a_pair_of_types_is_widened_in_either_order(one: Any, other: Any, both: Any) -> None:
    assert one_field(kept(one), kept(other)).type == both
    swapped = one_field(kept(other), kept(one)).type
    assert swapped == both or pa.types.is_struct(both)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (kept(pa.int64()), kept(pa.string())),
        (kept(pa.bool_()), kept(pa.int64())),
        (kept(pa.int64(), values=BEYOND), kept(pa.float64())),
        (kept(pa.uint64()), kept(pa.int64())),
        (kept(pa.float64()), kept(pa.decimal128(5, 2))),
        (kept(pa.date32()), kept(pa.timestamp("us"))),
        (kept(pa.timestamp("us")), kept(pa.timestamp("us", "UTC"))),
        (kept(pa.timestamp("us"), values=BEYOND), kept(pa.timestamp("ns"))),
        (kept(pa.timestamp("ms"), values=FAR_BEYOND), kept(pa.timestamp("us"))),
        (kept(pa.list_(pa.int64())), kept(pa.list_(pa.float64()))),
        (kept(pa.string(), json=True), kept(pa.int64())),
        (kept(pa.struct([])), kept(pa.struct([]))),
    ],
)
def test_what_no_type_holds_without_loss_becomes_json(one: Any, other: Any) -> None:
    assert is_json(one_field(one, other))
    assert is_json(one_field(other, one))


def test_the_columns_of_all_schemas_stand_once_with_what_is_known_of_them() -> None:
    both = one_schema(
        [
            pa.schema([kept_field("a", pa.null(), source="x")]),
            None,
            pa.schema([kept_field("b", pa.int8()), kept_field("a", pa.string(), source="x")]),
        ]
    )
    assert list(map(form_of, both)) == [("a", "string", ""), ("b", "int8", "")]
    assert (source_of(both.field("a")), source_of(both.field("b"))) == ("x", "b")
    assert from_text(to_text(both)).equals(both, check_metadata=True)
    assert (to_text(pa.schema([])), from_text("")) == ("", None)


FILES = [
    pa.array([1, None, -128], pa.int8()),
    pa.array([2**31 - 1], pa.int32()),
    pa.array([2**32 - 1], pa.uint32()),
    pa.array([2**53, -(2**53)], pa.int64()),
    pa.array([0.1], pa.float32()),
    pa.array([0.1, float("inf")], pa.float64()),
    pa.array([decimal.Decimal("1.50")], pa.decimal128(5, 2)),
    pa.array([decimal.Decimal("0.001")], pa.decimal128(38, 30)),
    pa.array(["\u00df", ""]),
    pa.array(["\u00df"], pa.large_string()),
    pa.array([b"\xff"]),
    pa.array([b"abc"], pa.binary(3)),
    pa.array([datetime.time(1, 2, 3)], pa.time32("s")),
    pa.array([datetime.time(1, 2, 3, 4)], pa.time64("us")),
    pa.array([5], pa.time64("ns")),
    pa.array([datetime.datetime(2026, 1, 31)], pa.timestamp("ms")),
    pa.array([datetime.datetime(2026, 1, 31, 0, 0, 0, 5)], pa.timestamp("us")),
    pa.array([1_769_904_000_123_456_789], pa.timestamp("ns")),
    pa.array([1_769_904_000_123_456], pa.timestamp("us", "Europe/Berlin")),
    pa.array([1_769_904_000_123_456_789], pa.timestamp("ns", "UTC")),
    pa.array([datetime.date(2026, 1, 31)]),
    pa.array([True, None]),
    pa.array([[1], None, []], pa.list_(pa.int32())),
    pa.array([[0.5]], pa.list_(pa.float64())),
    pa.array([[decimal.Decimal("1.5")]], pa.list_(pa.decimal128(3, 1))),
    pa.array([[datetime.time(1)]], pa.list_(pa.time64("us"))),
    pa.array([[5]], pa.list_(pa.time64("ns"))),
    pa.array([{"a": 1}, None], pa.struct([("a", pa.int32())])),
    pa.array([{"a": 1.5, "b": "x"}], pa.struct([("a", pa.float64()), ("b", pa.string())])),
    pa.nulls(2),
]


@pytest.mark.parametrize("one", FILES, ids=lambda array: str(array.type))
def test_rows_read_anew_and_rows_of_older_files_are_the_same_in_the_common_type(one: Any) -> None:
    for other in FILES:
        field = one_field(kept(one.type), kept(other.type))
        for array in (one, other):
            before = converted(array, kept(array.type), field)
            read = [fitting(value, field) for value in python_values(array)]
            assert pa.array(read, field.type).equals(before), (field, array)
            assert before.null_count == array.null_count


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.datetimes(),
    st.dates(),
    st.binary(max_size=3),
    st.lists(st.integers(-(2**31), 2**31 - 1) | st.text("ab"), max_size=2),
)


def file_of(found: list[Any]) -> tuple[Any, Any] | None:
    """A file's column of these values, as a scan describes it; None when they have no type in common."""
    try:
        array = pa.array(found)
    except (pa.ArrowException, OverflowError):
        return None
    kinds = {type(value) for value in found if value is not None}
    if len(kinds) > 1:  # Arrow would turn one into the other
        return None
    large = pa.types.is_integer(array.type) and any(
        abs(value) > 2**53 for value in found if value is not None
    )
    return array, kept_field("k", array.type, values=BEYOND if large else "")


def in_json(value: Any, back: Any) -> tuple[Any, Any]:
    """A value and what its JSON holds, comparable."""
    if isinstance(value, datetime.date):
        return str(value), back.replace("T", " ")
    if isinstance(value, bytes):
        return value, base64.b64decode(back)
    return (value, float(back)) if isinstance(value, float) else (value, back)


@given(st.lists(values, min_size=1, max_size=3), st.lists(values, min_size=1, max_size=3))
def test_no_value_is_changed_by_the_type_of_another_file(first: list[Any], second: list[Any]) -> None:
    one, other = file_of(first), file_of(second)
    if one is None or other is None:
        return
    field = one_field(one[1], other[1])
    for (array, own), found in ((one, first), (other, second)):
        back = python_values(converted(array, own, field))
        for value, got in zip(found, back, strict=True):
            known, same = (
                in_json(value, json.loads(got)) if is_json(field) and value is not None else (value, got)
            )
            assert known == same, (field, value, got)
            assert isinstance(known, bool) == isinstance(same, bool)
