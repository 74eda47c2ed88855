"""Arguments of every source as the vendor's server gets them, and inputs that do not fit."""

from __future__ import annotations

import datetime
import decimal
import json
import pickle
from typing import Any

import pytest
from bulkinfer.transforms.endpoints.clarifai.answer.answers import struct_json
from bulkinfer.transforms.endpoints.clarifai.request.binding import bind
from bulkinfer.transforms.endpoints.clarifai.request.wire import (
    encode_input,
)
from bulkinfer.transforms.endpoints.clarifai.signatures import Field, Method
from bulkinfer.transforms.errors import EncodeError, MethodError
from bulkinfer.transforms.records import Content
from clarifai.runners.utils.data_types import Video
from support.wire import answered, bound, content_of, request_of


def test_the_vendors_server_gets_content_constants_columns_and_templates():
    binding = bound(
        "predict",
        {
            "image": "$content",
            "prompt": {"template": "{a}-{{x}}-{b:>3}"},
            "max_tokens": "$column.b",
            "factor": 0,
        },
    )

    values = answered(
        binding, content_of(b"12", {"a": "é", "b": 7}), content_of(b"123", {"a": "z", "b": "8"})
    )

    assert values == ["2||é-{x}-  7|7|0.0", "3||z-{x}-  8|8|0.0"]


def test_the_vendors_server_gets_a_reference_to_fetch():
    assert answered(bound("predict", {"image": "$uri"}), content_of(None)) == ["0|https://h/x|hello|256|0.5"]


def test_a_data_uri_is_content_where_a_server_would_have_to_fetch_it():
    content = content_of(b"12345", uri="data:image/png;base64,MTIzNDU=")
    image = request_of(bound("predict", {"image": "$uri"}), content).inputs[0].data.parts[0].data.image

    assert (image.base64, image.url) == (b"12345", "")


def test_explicit_zeros_are_sent_and_arguments_left_out_get_the_defaults():
    zeros = bound("predict", {"image": "$content", "prompt": "", "max_tokens": 0, "factor": 0.0})

    assert answered(zeros, content_of(b"1")) == ["1|||0|0.0"]
    assert answered(bound("predict", {"image": "$content"}), content_of(b"1")) == ["1||hello|256|0.5"]


def test_a_null_column_is_left_out_where_the_parameter_is_optional():
    binding = bound("predict", {"image": "$content", "max_tokens": "$column.a"})

    assert answered(binding, content_of(b"1", {"a": None})) == ["1||hello|256|0.5"]


def test_the_default_of_an_absent_first_parameter_is_sent_where_the_vendor_misreads_its_absence():
    # The vendor's server would take 0.0 for the float and the part of n for the list.
    assert answered(bound("optional_float_first", {"n": "$column.a"}), content_of(columns={"a": 3})) == [0.5]
    assert answered(bound("optional_list_first", {"n": "$column.a"}), content_of(columns={"a": 3})) == [2]
    null = bound("optional_float_first", {"factor": "$column.a", "n": 3})
    assert answered(null, content_of(columns={"a": None})) == [0.5]


def test_the_vendors_server_gets_every_scalar():
    binding = bound(
        "scalars",
        {"a": "$column.a", "b": "$column.b", "c": False, "d": "$content", "e": "$uri"},
        columns=("a", "b"),
    )

    assert answered(binding, content_of(b"", {"a": "-3", "b": 2})) == [
        [-3, 2.0, False, {"base64": ""}, "https://h/x"]
    ]


@pytest.mark.parametrize(
    "prompt", [[{"point": [0.5, 0.25], "concepts": [{"name": "1"}]}, {"box": [0, 0, 1, 1]}], []]
)
@pytest.mark.parametrize("text", [True, False])
def test_the_vendors_server_gets_prompts_of_a_column(prompt, text):
    binding = bound("segment", {"image": "$content", "regions": "$column.a", "return_type": "mask"})

    [regions] = answered(binding, content_of(columns={"a": json.dumps(prompt) if text else prompt}))

    assert [region.get("point") for region in regions] == [[0.5, 0.25, 0.0], None][: len(prompt)]
    assert [region.get("box") for region in regions] == [None, [0, 0, 1, 1]][: len(prompt)]


def test_the_vendors_server_gets_dicts_of_a_column():
    binding = bound("plain_dict", {"value": "$column.a", "others": "$column.b"})
    columns = {"a": '{"points": [[1, 2]], "labels": [1]}', "b": [{"box": None}]}

    assert answered(binding, content_of(columns=columns)) == [
        [{"points": [[1, 2]], "labels": [1]}, {"box": None}]
    ]


def test_several_contents_travel_in_one_call():
    fields = (Field("a", "IMAGE"), Field("b", "IMAGE"), Field("c", "LIST", type_args=(Field("i", "IMAGE"),)))
    method = Method("m", "UNARY_UNARY", fields)
    arguments = {"a": "$content", "b": "$column.a", "c": ["$uri", "$content", "$column.a", "$column.b"]}
    binding = bound(method, arguments)

    content = content_of(b"one", {"a": "s3://x", "b": None}, {"a": b"two"})
    parts = {part.id: part.data for part in request_of(binding, content).inputs[0].data.parts}

    assert (parts["a"].image.base64, parts["b"].image.base64) == (b"one", b"two")
    images = [part.data.image for part in parts["c"].parts]
    assert [(image.base64, image.url) for image in images] == [
        (b"", "https://h/x"),
        (b"one", ""),
        (b"two", ""),
    ]


def test_raw_bytes_in_a_column_are_passed_as_they_are():
    method = Method("m", "UNARY_UNARY", (Field("v", "VIDEO", required=True), Field("d", "BYTES")))
    binding = bound(method, {"v": "$column.a", "d": "$column.b"}, "text")

    data = request_of(binding, content_of(columns={"a": b"video", "b": bytearray(b"raw")})).inputs[0].data

    assert data.parts[0].data.video == Video(bytes=b"video").to_proto()
    assert data.parts[1].data.bytes_value == b"raw"


@pytest.mark.parametrize(
    ("arguments", "content", "error_type", "said"),
    [
        (
            {"t": "$content"},
            content_of(None, inline="\ud800"),
            "not_text",
            "the content holds characters that UTF-8 does not have; mend its source",
        ),
        (
            {"t": {"template": "{a}"}},
            content_of(columns={"a": "\ud800"}),
            "not_text",
            "the template's text holds characters that UTF-8 does not have",
        ),
        (
            {"t": "$content"},
            content_of(b"\xff"),
            "not_text",
            "the content is not UTF-8 text (byte 0 is the first",
        ),
        ({"t": "$content"}, content_of(None), "no_content", "the input has no content"),
        ({"t": "$uri"}, content_of(b"x", uri=None), "no_uri", "no reference to pass as $uri; write $content"),
        (
            {"t": "$column.a"},
            content_of(),
            "null_column",
            "column 'a' is null, but the model requires 't'; fill it",
        ),
        (
            {"t": "x", "n": "$column.a"},
            content_of(columns={"a": "x"}),
            "wrong_type",
            "column 'a' does not fit 'n' (int)",
        ),
        (
            {"t": "x", "i": "$column.a"},
            content_of(columns={"a": "s3://x"}),
            "no_content",
            "'a' refers to was not fetched",
        ),
        ({"t": {"template": "{a}"}}, content_of(), "null_column", "column 'a' is null, but a template"),
        (
            {"t": {"template": "{a:d}"}},
            content_of(columns={"a": "x"}),
            "wrong_type",
            "does not take the format 'd'",
        ),
        (
            {"t": "$content", "j": "$content"},
            content_of(b"{"),
            "wrong_type",
            "the content does not fit 'j' (JSON)",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_an_encode_error(arguments, content, error_type, said):
    fields = (
        Field("t", "STR", required=True),
        Field("n", "INT"),
        Field("i", "IMAGE"),
        Field("j", "JSON_DATA"),
    )
    binding = bound(Method("m", "UNARY_UNARY", fields), arguments, "text")

    with pytest.raises(EncodeError) as error:
        encode_input(binding, content)

    assert error.value.error_type == error_type
    assert said in error.value.message


def test_content_that_the_source_holds_is_sent():
    binding = bound("tokens", {"prompt": "$content"}, "text")

    assert request_of(binding, content_of(None, inline="é")).inputs[0].data.parts[0].data.string_value == "é"


def test_content_alone_fills_a_list_of_images():
    method = Method("m", "UNARY_UNARY", (Field("images", "LIST", type_args=(Field("i", "IMAGE"),)),))

    [content] = request_of(bound(method, {}), content_of(b"one")).inputs[0].data.parts
    [reference] = request_of(bound(method, {"images": "$uri"}), content_of(None)).inputs[0].data.parts
    [column] = (
        request_of(
            bound(method, {"images": "$column.a"}),
            content_of(
                columns={"a": ["x.jpg", {"url": "https://h/a"}]},
                fetched={"a": (b"two", {"url": "https://h/a"})},
            ),
        )
        .inputs[0]
        .data.parts
    )

    assert content.data.parts[0].data.image.base64 == b"one"
    assert reference.data.parts[0].data.image.url == "https://h/x"
    assert [part.data.image.url or part.data.image.base64 for part in column.data.parts] == [
        b"two",
        "https://h/a",
    ]


def test_a_list_of_text_that_is_no_list_is_an_inputs_own_fault():
    method = Method("m", "UNARY_UNARY", (Field("texts", "LIST", type_args=(Field("t", "STR"),)),))

    for text in ("[1, ", "[" * 100_000):
        with pytest.raises(EncodeError):
            request_of(bound(method, {"texts": "$column.a"}), content_of(columns={"a": text}))


def test_text_content_may_be_json():
    binding = bound("json_value", {"value": "$content"}, "text")

    assert answered(binding, content_of(b'{"a": [1, null]}')) == [{"a": [1, None]}]


def test_a_template_fits_numbers_and_json_too():
    method = Method("m", "UNARY_UNARY", (Field("n", "INT"), Field("j", "JSON_DATA")))
    binding = bound(method, {"n": {"template": "{a}0"}, "j": {"template": '{{"city": "{b}"}}'}})

    [n, j] = request_of(binding, content_of(columns={"a": 4, "b": "Rome"})).inputs[0].data.parts

    assert n.data.int_value == 40
    assert j.data.struct_value["city"] == "Rome"


NESTED = {
    "model": "m",
    "messages": [
        {"role": "system", "content": {"template": 'Say "{a}"\n'}},
        {"role": "user", "content": "$content", "tags": ["$column.a", "$column.b", 3, None, True]},
    ],
    "source": {"uri": "$uri", "on": datetime.date(2026, 1, 31)},
}


def nested_value(kind: str, arguments: Any, content: Content) -> Any:
    """What a parameter of JSON, or of text, gets for an argument, as JSON."""
    method = Method("m", "UNARY_UNARY", (Field("v", kind, required=True),))
    binding = bind(method, {"v": arguments}, media_type="text", columns=("a", "b"))
    assert hash(binding)
    assert pickle.loads(pickle.dumps(binding)) == binding
    request = request_of(binding, content)
    data = request.inputs[0].data.parts[0].data
    if kind == "JSON_DATA":
        return struct_json(data.struct_value)
    return json.loads(data.string_value or data.text.raw)


@pytest.mark.parametrize("kind", ["STR", "TEXT", "JSON_DATA"])
def test_structures_take_the_inputs_values_where_references_stand(kind: str) -> None:
    content = content_of(b'quo"te \\ \n{x} \xc3\xa9', {"a": 'he said "no"', "b": [1, {"c": 2.5}]})

    assert nested_value(kind, NESTED, content) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": 'Say "he said "no""\n'},
            {
                "role": "user",
                "content": 'quo"te \\ \n{x} é',
                "tags": ['he said "no"', [1, {"c": 2.5}], 3, None, True],
            },
        ],
        "source": {"uri": "https://h/x", "on": "2026-01-31"},
    }


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (decimal.Decimal("2.50"), 2.5),
        (decimal.Decimal("3"), 3),
        (b"\xc3\xa9", "é"),
        ({"x": (1, 2)}, {"x": [1, 2]}),
    ],
)
def test_a_columns_value_stands_in_a_structure_as_json_has_it(value: Any, sent: Any) -> None:
    assert nested_value("STR", {"v": "$column.a"}, content_of(b"", {"a": value})) == {"v": sent}


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], b"\xff"])
def test_what_json_does_not_have_is_an_encode_error(value: Any) -> None:
    with pytest.raises(EncodeError, match="column 'a'"):
        nested_value("STR", {"v": "$column.a"}, content_of(b"", {"a": value}))


def test_a_mapping_without_references_is_json_for_a_parameter_of_text() -> None:
    method = Method("m", "UNARY_UNARY", (Field("t", "TEXT"), Field("v", "STR")))
    binding = bind(method, {"t": "$content", "v": {"a": ["é"]}}, media_type="text", columns=())

    parts = {part.id: part.data for part in request_of(binding, content_of(b"x")).inputs[0].data.parts}
    assert parts["v"].string_value == '{"a": ["é"]}'


@pytest.mark.parametrize(
    ("kind", "arguments", "media", "said"),
    [
        ("STR", {"v": ["$column.zzz"]}, "text", r"the source has no column 'zzz'"),
        ("JSON_DATA", {"v": {"template": "{zzz}"}}, "text", r"the source has no column 'zzz'"),
        ("STR", {"v": "$contnet"}, "text", r"did you mean \$content\?"),
        ("STR", {"v": "$content"}, "image", r"\$content is an image, which JSON does not hold; write \$uri"),
        ("INT", {"v": "$column.a"}, "text", r"fits a parameter of JSON or text.*the parameter is"),
        ("IMAGE", ["$uri"], "image", r"fits a parameter of JSON or text"),
    ],
)
def test_a_structure_that_cannot_be_filled_is_told_before_any_call(
    kind: str, arguments: Any, media: str, said: str
) -> None:
    method = Method("m", "UNARY_UNARY", (Field("v", kind, required=True),))

    with pytest.raises(MethodError, match=said):
        bind(method, {"v": arguments}, media_type=media, columns=("a",))
