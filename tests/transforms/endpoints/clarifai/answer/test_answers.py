"""Answers as JSON: what the server serializes comes back, and so do the plain fields of older models."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from bulkinfer.transforms.endpoints.clarifai.answer.answers import data_value, output_value, struct_json
from bulkinfer.transforms.endpoints.clarifai.request.values import encode_value
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method, legacy_method
from bulkinfer.transforms.errors import DecodeError
from clarifai_grpc.grpc.api import resources_pb2
from hypothesis import given
from hypothesis import strategies as st

units = st.floats(0, 1, width=32)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def method_of(*outputs: Field) -> Method:
    return Method("m", "UNARY_UNARY", (), outputs)


def answer(field: Field, value):
    """An Output as the vendor's server builds it: one part, called like the result."""
    output = resources_pb2.Output()
    part = output.data.parts.add(id=field.name)
    part.data.ParseFromString(encode_value(field, value))
    return output


def back(field: Field, value):
    return output_value(answer(field, value), method_of(field))


def lists(item: Field) -> Field:
    return Field("return", "LIST", type_args=(item,))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("INT", 0),
        ("INT", -7),
        ("FLOAT", 0.0),
        ("FLOAT", 2.5),
        ("BOOL", False),
        ("BOOL", True),
        ("STR", ""),
        ("STR", "é"),
        ("TEXT", ""),
        ("TEXT", "words"),
        ("BYTES", {"base64": base64.b64encode(b"\x00\xff").decode()}),
        ("IMAGE", {"base64": base64.b64encode(b"png").decode()}),
        ("VIDEO", {"url": "https://host/v.mp4"}),
        ("AUDIO", {"url": "https://host/a.wav"}),
        ("JSON_DATA", {}),
        ("JSON_DATA", []),
        ("CONCEPT", {"id": "dog", "name": "dog", "value": 0.5}),
        ("NDARRAY", {"dtype": "float32", "shape": [1, 2], "data": [[0.5, 1.0]]}),
    ],
)
def test_every_type_comes_back_as_it_went(type_, value):
    assert back(Field("return", type_), value) == value


@given(st.dictionaries(st.text(), json_values, max_size=3) | st.lists(json_values, max_size=3))
def test_json_comes_back_with_whole_numbers(value):
    result = back(Field("return", "JSON_DATA"), value)

    assert result == value
    assert json.dumps(result, sort_keys=True) == json.dumps(value, sort_keys=True)


@given(st.lists(st.tuples(st.integers(-5, 5), st.text()), max_size=3))
def test_lists_tuples_and_named_fields_nest(values):
    inner = Field("i", "TUPLE", type_args=(Field("a", "INT"), Field("b", "STR")))
    named = Field("i", "NAMED_FIELDS", type_args=(Field("x", "INT"), Field("y", "STR")))

    assert back(lists(inner), [list(value) for value in values]) == [list(value) for value in values]
    assert back(lists(named), [{"x": x, "y": y} for x, y in values]) == [{"x": x, "y": y} for x, y in values]


@given(st.lists(st.tuples(units, units, units, units), max_size=3))
def test_regions_come_back_in_the_keys_of_prompts(boxes):
    values = [
        {
            "id": "r",
            "box": list(box),
            "point": [0.5, 0.25, 0.0],
            "polygon": [[0.0, 1.0]],
            "mask": {"base64": base64.b64encode(b"png").decode()},
            "concepts": [{"id": "a", "name": "a", "value": 1.0}],
            "text": "words",
            "value": 0.5,
            "track_id": "7",
        }
        for box in boxes
    ]

    assert back(lists(Field("i", "REGION")), values) == values


def test_frames_come_back_in_the_keys_of_prompts():
    values = [{"index": 3, "number": 4, "time_ms": 120, "regions": [{"track_id": "1"}]}]

    assert back(lists(Field("i", "FRAME")), values) == values


def test_one_region_of_a_single_result_is_no_list():
    assert back(Field("return", "REGION"), {"track_id": "1"}) == {"track_id": "1"}


def test_several_results_are_named():
    output = answer(Field("a", "INT"), 1)
    output.data.parts.add(id="b").data.string_value = "x"

    assert output_value(output, method_of(Field("a", "INT"), Field("b", "STR"))) == {"a": 1, "b": "x"}


def test_a_missing_second_result_is_an_error():
    with pytest.raises(DecodeError, match=r"the model's answer lacks 'b' \(str\)"):
        output_value(answer(Field("a", "INT"), 1), method_of(Field("a", "INT"), Field("b", "STR")))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            Field("return", "TUPLE", type_args=(Field("a", "INT"), Field("b", "INT"))),
            "'return' is Tuple[int, int], but 1 values came",
        ),
        (
            Field("return", "NAMED_FIELDS", type_args=(Field("a", "INT"),)),
            "'return' is NamedFields(a: int), but a is missing in the answer",
        ),
    ],
)
def test_an_answer_of_another_shape_is_an_error(field, said):
    output = resources_pb2.Output()
    output.data.parts.add(id="return").data.parts.add(id="0").data.int_value = 1

    with pytest.raises(DecodeError) as error:
        output_value(output, method_of(field))

    assert said in str(error.value)


def test_a_broken_array_is_an_error():
    output = resources_pb2.Output()
    output.data.ndarray.buffer, output.data.ndarray.dtype = b"abc", "float32"

    with pytest.raises(DecodeError, match=r"an array of 3 bytes is no float32 of shape \[\]"):
        output_value(output, method_of(Field("return", "NDARRAY")))


def test_the_first_result_may_stand_inline():
    output = resources_pb2.Output()
    output.data.text.raw = output.data.string_value = "words"  # as the vendor answers the old format

    assert output_value(output, method_of(Field("return", "STR"))) == "words"
    assert output_value(resources_pb2.Output(), method_of(Field("return", "INT"))) == 0
    assert output_value(resources_pb2.Output(), method_of(Field("return", "IMAGE"))) is None


def test_an_older_model_answers_in_plain_fields():
    output = resources_pb2.Output()
    output.data.concepts.add(id="c", name="cat", value=0.5)
    method = legacy_method("image")

    assert output_value(output, method) == [{"id": "c", "name": "cat", "value": 0.5}]
    output.data.embeddings.add(vector=[0.5, 1.0])
    assert output_value(output, method)["embeddings"] == [[0.5, 1.0]]


def test_an_answer_of_another_type_than_declared_is_shown_as_it_is():
    output = resources_pb2.Output()
    output.data.text.raw = "words"

    assert output_value(output, method_of(Field("return", "INT"))) == "words"


def test_parts_without_a_declared_type_are_read_by_their_ids():
    data = resources_pb2.Data()
    data.parts.add(id="0").data.int_value = 1
    data.parts.add(id="1").data.string_value = "x"
    assert data_value(data) == [1, "x"]

    named = resources_pb2.Data()
    named.parts.add(id="a").data.int_value = 1
    assert data_value(named) == {"a": 1}

    returned = resources_pb2.Data()
    returned.parts.add(id="return").data.int_value = 1
    assert data_value(returned) == 1


def test_other_fields_of_data_are_shown_too():
    data = resources_pb2.Data()
    data.colors.add(raw_hex="#fff", value=0.5)
    data.geo.geo_point.latitude = 1.0

    assert data_value(data) == {
        "geo": {"geo_point": {"latitude": 1.0}},
        "colors": [{"raw_hex": "#fff", "value": 0.5}],
    }
    assert data_value(resources_pb2.Data()) is None


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_text(number):
    assert back(Field("return", "FLOAT"), number) == str(number)


def test_fractions_in_json_stay_fractions():
    data = resources_pb2.Data()
    data.struct_value.update({"a": 1.5, "_list": [2.0**60]})

    assert struct_json(data.struct_value) == {"a": 1.5, "_list": [2.0**60]}


def test_arrays_of_all_numbers_come_back():
    array = np.arange(4, dtype="int16").reshape(2, 2)

    assert back(Field("return", "NDARRAY"), array)["data"] == array.tolist()
