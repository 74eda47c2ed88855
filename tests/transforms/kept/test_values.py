"""Values of kept columns: kept as they are, or refused; never rounded, cut or turned."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import pyarrow as pa
import pytest
from bulkinfer.transforms.kept.types import kept_field
from bulkinfer.transforms.kept.values import fitting, is_utf8, python_values, to_json

NS = 1_769_904_000_123_456_789


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.5, pa.int32()),
        (1.0, pa.int64()),
        (True, pa.int64()),
        (1, pa.bool_()),
        (2**31, pa.int32()),
        (-1, pa.uint8()),
        (2**53 + 1, pa.float64()),
        (0.1, pa.float32()),
        (1e300, pa.float32()),
        (True, pa.float64()),
        (5, pa.string()),
        ("half \ud800", pa.string()),
        (["half \ud800"], pa.list_(pa.string())),
        ("5", pa.int64()),
        (datetime.datetime(2026, 1, 1, 0, 0, 0, 5), pa.timestamp("s")),
        (datetime.datetime(9999, 12, 31), pa.timestamp("ns")),
        (datetime.datetime(2026, 1, 1, 12), pa.date32()),
        ("9999-12-31 00:00:00", pa.timestamp("ns")),
        ("no time", pa.time64("ns")),
        (decimal.Decimal("1.234"), pa.decimal128(5, 2)),
        ([1, 1.5], pa.list_(pa.int64())),
        ({"a": 1, "b": 2}, pa.struct([("a", pa.int64())])),
        (b"ab", pa.binary(3)),
    ],
)
def test_a_value_that_its_column_would_change_is_refused(value: Any, kind: Any) -> None:
    with pytest.raises(ValueError, match=f"a {type(value).__name__} where the column is"):
        fitting(value, kept_field("k", kind))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([NS, None, -1], pa.timestamp("ns")),
        pa.array([NS], pa.timestamp("ns", "UTC")),
        pa.array([NS], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([NS % (86400 * 10**9)], pa.time64("ns")),
        pa.array([NS], pa.duration("ns")),
        pa.array([datetime.timedelta(seconds=5)], pa.duration("us")),
        pa.array([[NS], None], pa.list_(pa.timestamp("ns"))),
        pa.array([{"t": NS, "n": 1}], pa.struct([("t", pa.timestamp("ns")), ("n", pa.int8())])),
        pa.array([datetime.datetime(9999, 12, 31)], pa.timestamp("us")),
        pa.array([b"abc", None], pa.binary(3)),
        pa.array([1.5, None, float("inf")]),
        pa.array([0.1], pa.float32()),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([decimal.Decimal("1.50")], pa.decimal256(50, 2)),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array(["x", None]).dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_a_value_that_arrow_holds_is_kept_as_it_is(array: Any) -> None:
    field = kept_field("k", array.type)
    kept = pa.array([fitting(value, field) for value in python_values(array)], field.type)
    assert kept.equals(array.cast(field.type))


def test_a_value_that_python_cannot_hold_costs_itself() -> None:
    broken = pa.array([b"fine", b"\xff"], pa.binary()).view(pa.string())
    found = python_values(broken)
    assert found[0] == "fine"
    assert "is not UTF-8: invalid start byte at byte 0" in str(found[1])
    assert isinstance(python_values(pa.array([9 * 10**18], pa.timestamp("us")))[0], str | ValueError)


def test_json_holds_what_each_value_was() -> None:
    field = kept_field("k", pa.string(), json=True)
    kept = [fitting(value, field) for value in (1, "1", 1.5, True, {"a": [None]}, "\u00df", None)]
    assert kept == ["1", '"1"', "1.5", "true", '{"a": [null]}', '"\u00df"', None]
    times = {"t": datetime.datetime(2026, 1, 31, 12), "d": datetime.date(2026, 1, 31)}
    assert json.loads(to_json(times)) == {"t": "2026-01-31T12:00:00", "d": "2026-01-31"}
    assert to_json([float("nan"), decimal.Decimal("0.10"), b"\x00"]) == '["nan", "0.10", "AA=="]'
    assert fitting("half \ud800", field) == '"half \\ud800"'


def test_half_a_pair_of_surrogates_is_found_wherever_it_stands() -> None:
    assert is_utf8(["\u00df", {"a": ("b", 1, None)}, "\U0001f600"])
    assert not is_utf8("half \ud800")
    assert not is_utf8({"a": [{"\udc00": 1}]})
