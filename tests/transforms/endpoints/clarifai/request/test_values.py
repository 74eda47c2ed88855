"""Values of every type against the vendor's own serializer, and what does not fit."""

from __future__ import annotations

import base64
import datetime
import decimal
import json

import numpy as np
import pytest
from bulkinfer.transforms.endpoints.clarifai.request.values import MisfitError, encode_value
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, methods_from_json
from clarifai.runners.utils import data_types
from clarifai.runners.utils.method_signatures import serialize
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from support.vendor import signature_json, signatures

METHODS = methods_from_json(signature_json())
VENDOR = signatures()

units = st.floats(0, 1, width=32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def field_of(method: str, name: str) -> Field:
    return next(field for field in METHODS[method].inputs if field.name == name)


def ours(method, name, value, **options):
    data = resources_pb2.Data()
    part = data.parts.add(id=name)
    part.data.ParseFromString(encode_value(field_of(method, name), value, **options))
    return data


def vendors(method, name, value):
    fields = [field for field in VENDOR[method].input_fields if field.name == name]
    data = serialize({name: value}, fields)
    data.parts[0].data.SetInParent()  # of an empty list it leaves `data` out, which reads the same
    return data


def decoded(field, value, **options):
    return resources_pb2.Data.FromString(encode_value(field, value, **options))


@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.binary(), st.text())
def test_scalars_are_as_the_vendor_sends_them(a, b, c, d, e):
    for name, value in {"a": a, "b": b, "c": c, "d": d, "e": e}.items():
        assert ours("scalars", name, value) == vendors("scalars", name, value)


@given(st.dictionaries(st.text(), json_values, max_size=4) | st.lists(json_values, max_size=4))
def test_json_is_as_the_vendor_sends_it(value):
    assert ours("json_value", "value", value) == vendors("json_value", "value", value)
    assert ours("json_value", "value", json.dumps(value), lenient=True) == vendors(
        "json_value", "value", value
    )


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=2), max_size=3))
def test_lists_of_json_are_nested_parts(values):
    assert ours("plain_dict", "others", values) == vendors("plain_dict", "others", values)


@given(st.integers(-9, 9), st.text())
def test_named_fields_are_parts_by_name(x, y):
    value = {"x": x, "y": y}

    assert ours("named", "point", value) == vendors("named", "point", value)


@given(st.lists(st.text(), max_size=3))
def test_lists_of_text_are_nested_parts(names):
    assert ours("optional_list_first", "names", names) == vendors("optional_list_first", "names", names)


def test_a_tuple_has_numbered_parts():
    item = Field("t_item", "INT")
    data = decoded(Field("t", "TUPLE", type_args=(item, Field("t_item", "STR"))), [0, ""])

    assert [part.id for part in data.parts] == ["0", "1"]


@given(st.lists(st.tuples(units, units, units), min_size=1, max_size=3), st.sampled_from(["0", "1"]))
def test_points_are_as_the_vendor_sends_them(points, label):
    regions = [
        data_types.Region(point=point, concepts=[data_types.Concept(label)], id="", track_id="7")
        for point in points
    ]
    values = [{"point": list(point), "concepts": [{"name": label}], "track_id": 7} for point in points]

    assert ours("segment", "regions", values) == vendors("segment", "regions", regions)


@given(st.tuples(units, units, units, units), st.text(min_size=1), units)
def test_boxes_are_as_the_vendor_sends_them(box, name, score):
    region = data_types.Region(
        box=list(box), concepts=[data_types.Concept(name, score)], id="r", text="words"
    )
    value = {"box": list(box), "concepts": [{"name": name, "value": score}], "id": "r", "text": "words"}

    assert ours("segment", "regions", [value]) == vendors("segment", "regions", [region])


def test_a_region_carries_masks_polygons_and_scores():
    value = {"mask": b"png", "polygon": [[0, 0], [1, 0], [1, 1]], "value": 0.5, "point": [0, 0]}

    region = decoded(Field("r", "REGION"), value).regions[0]

    assert region.region_info.mask.image.base64 == b"png"
    assert [(point.col, point.row) for point in region.region_info.polygon.points] == [(0, 0), (1, 0), (1, 1)]
    assert region.value == 0.5
    assert region.region_info.HasField("point")


@given(st.integers(0, 999), st.integers(0, 10**6))
def test_frames_are_as_the_vendor_sends_them(index, milliseconds):
    frame = data_types.Frame(
        regions=[data_types.Region(point=(0.5, 0.25, 0.0), track_id="1", id="")],
        index=index,
        time=milliseconds / 1000,
    )
    if not frame.proto.HasField("frame_info"):
        frame.proto.frame_info.SetInParent()
    value = {
        "index": index,
        "time": milliseconds / 1000,
        "regions": [{"point": [0.5, 0.25], "track_id": "1"}],
    }

    assert ours("track", "frames", [value]) == vendors("track", "frames", [frame])
    assert (
        decoded(field_of("track", "frames"), [{"index": index, "time_ms": 40}]).frames[0].frame_info.time
        == 40
    )


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "float64"])
def test_arrays_are_as_the_vendor_sends_them(dtype):
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    described = {"data": array.tolist(), "shape": [2, 3], "dtype": dtype}

    assert ours("array", "values", array) == vendors("array", "values", array)
    assert ours("array", "values", described) == vendors("array", "values", array)


@settings(max_examples=20)
@given(st.binary(min_size=1))
def test_media_are_bytes_base64_or_a_url(data):
    image = data_types.Image(bytes=data)
    encoded = {"base64": base64.b64encode(data).decode()}

    assert ours("predict", "image", data) == vendors("predict", "image", image)
    assert ours("predict", "image", encoded) == vendors("predict", "image", image)


@pytest.mark.parametrize("value", ["https://host/a.jpg", {"url": "https://host/a.jpg"}])
def test_media_by_url_are_as_the_vendor_sends_them(value):
    image = data_types.Image(url="https://host/a.jpg")

    assert ours("predict", "image", value) == vendors("predict", "image", image)
    assert ours("texts", "images", [value]) == vendors("texts", "images", [image])


def test_text_and_concepts_are_as_the_vendor_sends_them():
    concepts = [data_types.Concept("a dog!", 0.5), data_types.Concept("cat")]

    assert ours("texts", "value", "hello") == vendors("texts", "value", data_types.Text("hello"))
    assert ours("texts", "value", "") == vendors("texts", "value", data_types.Text(""))
    assert ours("texts", "concepts", [{"name": "a dog!", "value": 0.5}, "cat"]) == vendors(
        "texts", "concepts", concepts
    )


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        ("INT", "5", "it takes a whole number, not text"),
        ("INT", 2.5, "it takes a whole number, not a number"),
        ("INT", True, "it takes a whole number, not true or false"),
        ("INT", 2**63, "it takes a whole number of at most 64 bits"),
        ("INT", None, "null cannot be sent as int; leave it out"),
        ("FLOAT", "1.5", "it takes a number, not text"),
        ("FLOAT", True, "it takes a number, not true or false"),
        ("FLOAT", 10**400, "it takes a number, but the value is none"),
        ("BOOL", 1, "it takes true or false, not a whole number"),
        ("STR", 5, "it takes text, not a whole number; put it in quotes"),
        ("STR", {"a": 1}, "it takes text, not a mapping; put it in quotes"),
        ("TEXT", 1.5, "it takes text, not a number"),
        ("BYTES", 5, 'it takes bytes, text or {"base64": ...}, not a whole number'),
        ("BYTES", {"base64": "%"}, '"base64" holds something else than Base64 text'),
        ("IMAGE", "photo.jpg", 'it takes bytes, a URL, {"url": ...} or {"base64": ...}, not text'),
        ("IMAGE", {"url": 1}, "it takes bytes, a URL"),
        ("JSON_DATA", "text", "it takes a mapping or a list, not text"),
        ("JSON_DATA", {1: 2}, "it takes JSON: keys that are text"),
        ("JSON_DATA", {"a": b"x"}, "it takes JSON: keys that are text"),
        ("NDARRAY", ["a"], "it takes an array of numbers, not of"),
        ("NDARRAY", {"shape": [1]}, "it takes nested lists of numbers, or"),
        ("REGION", [0.5, 0.5], "a region is a mapping with keys of box, point, "),
        ("REGION", {"pont": [0, 0]}, "a region has no key 'pont'; did you mean 'point'?"),
        ("REGION", {"zzz": 1}, "a region has no key 'zzz'; it has box, point, "),
        ("REGION", {"point": [1]}, "a region's point takes [x, y] or [x, y, z], not a list of 1"),
        ("REGION", {"box": [0, 0, "1", 1]}, "a region's box takes a number, not text"),
        ("REGION", {"concepts": "1"}, "a region's concepts takes a list, not text"),
        ("REGION", {"value": float("nan")}, "a region's value takes a number"),
        ("CONCEPT", {"value": 1}, 'a concept needs a name that is text, as in {"name": "1"}, not null'),
        ("FRAME", {"index": -1}, "a frame's index takes a whole number from 0"),
        ("FRAME", {"regions": {}}, "a frame's regions takes a list, not a mapping"),
        ("STR", "\ud800", "it cannot be encoded as str (UnicodeEncodeError)"),
        ("JSON_DATA", {"a": 10**400}, "it cannot be encoded as JSON (OverflowError)"),
        ("REGION", {"point": [10**400, 0]}, "it cannot be encoded as Region (OverflowError)"),
        ("NOT_SET", 1, "the type NOT_SET is unknown to this client; upgrade bulkinfer"),
    ],
)
def test_what_does_not_fit_is_refused_without_showing_it(type_, value, said):
    with pytest.raises(MisfitError) as error:
        encode_value(Field("x", type_), value)

    assert said in str(error.value)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (field_of("optional_list_first", "names"), "abc", "it takes a list, not text"),
        (field_of("optional_list_first", "names"), ["a", 5], "item 1: it takes text, not a whole number"),
        (field_of("segment", "regions"), [{"point": [0, 0]}, {"box": []}], "item 1: a region's box takes"),
        (
            field_of("named", "point"),
            {"x": 1},
            "it takes a mapping with exactly the keys x, y, not a mapping",
        ),
        (field_of("named", "point"), {"x": "1", "y": ""}, "field x: it takes a whole number, not text"),
        (Field("t", "TUPLE", type_args=(Field("i", "INT"),)), [1, 2], "it takes a list of exactly 1 values"),
    ],
)
def test_a_misfit_inside_a_value_says_where(field, value, said):
    with pytest.raises(MisfitError) as error:
        encode_value(field, value)

    assert said in str(error.value)


@pytest.mark.parametrize(
    ("type_", "value", "strict"),
    [
        ("INT", "5", 5),
        ("INT", 5.0, 5),
        ("INT", decimal.Decimal(5), 5),
        ("INT", np.int32(5), 5),
        ("FLOAT", "1.5", 1.5),
        ("FLOAT", decimal.Decimal("1.5"), 1.5),
        ("BOOL", "TRUE", True),
        ("BOOL", "0", False),
        ("BOOL", 1, True),
        ("STR", 5, "5"),
        ("STR", b"ab", "ab"),
        ("STR", datetime.date(2026, 1, 2), "2026-01-02"),
        ("STR", {"a": [1]}, '{"a": [1]}'),
        ("JSON_DATA", '{"a": 1}', {"a": 1}),
        (
            "JSON_DATA",
            {"at": datetime.date(2026, 1, 2), "n": decimal.Decimal(2)},
            {"at": "2026-01-02", "n": 2},
        ),
        ("REGION", '{"point": [0, 1]}', {"point": [0, 1]}),
        ("NDARRAY", "[1, 2]", [1, 2]),
    ],
)
def test_a_column_may_hold_the_value_in_another_form(type_, value, strict):
    field = Field("x", type_)

    assert encode_value(field, value, lenient=True) == encode_value(field, strict)


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        ("INT", "5.5", "it takes a whole number, but the value is none"),
        ("INT", 5.5, "it takes a whole number, but the value has a fraction"),
        ("FLOAT", "x", "it takes a number, but the value is none"),
        ("BOOL", "maybe", "it takes true or false, not text"),
        ("STR", b"\xff", "it takes text, but the bytes are not UTF-8"),
        ("LIST", "[", "its text is not JSON"),
        ("LIST", "[" * 100_000, "its text is not JSON"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(type_, value, said):
    with pytest.raises(MisfitError, match=said):
        encode_value(Field("x", type_, type_args=(Field("i", "STR"),)), value, lenient=True)
