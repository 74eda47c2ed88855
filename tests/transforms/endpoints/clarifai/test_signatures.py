"""Signatures: the vendor's JSON and messages become the same plain methods."""

from __future__ import annotations

import json
import pickle

import pytest
from bulkinfer.transforms.endpoints.clarifai.request.binding import find_method
from bulkinfer.transforms.endpoints.clarifai.signatures import (
    Field,
    Method,
    legacy_method,
    methods_from_json,
    methods_from_messages,
)
from bulkinfer.transforms.errors import EndpointError, MethodError
from clarifai_grpc.grpc.api import resources_pb2
from support.vendor import signature_json, signatures

METHODS = methods_from_json(signature_json())


def test_json_and_messages_give_the_same_methods():
    assert methods_from_messages(signatures().values()) == METHODS


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "predict",
            "predict(image: Image, prompt: str = 'hello', max_tokens: int = 256, factor: float = 0.5) -> str",
        ),
        (
            "scalars",
            "scalars(a: int, b: float, c: bool, d: bytes, e: str) -> Tuple[int, float, bool, bytes, str]",
        ),
        ("named", "named(point: NamedFields(x: int, y: str)) -> NamedFields(x: int, y: str)"),
        ("optional_list_first", "optional_list_first(names: List[str] = ['a', 'b'], n: int = 1) -> int"),
        ("stream_audio", "stream_audio(audio: Iterator[Audio], language: str = 'en') -> Iterator[str]"),
    ],
)
def test_a_signature_reads_like_python(name, text):
    assert METHODS[name].signature_text == text


@pytest.mark.parametrize(
    ("name", "type_"),
    [("predict", "UNARY_UNARY"), ("track", "UNARY_STREAMING"), ("stream_text", "STREAMING_STREAMING")],
)
def test_the_method_type_is_the_declared_one(name, type_):
    assert METHODS[name].type == type_


def test_choices_of_a_setting_are_known():
    field = {field.name: field for field in METHODS["segment"].inputs}["return_type"]

    assert field.choices == ("box", "mask", "all")
    assert field.is_param
    assert field.default == "all"


def test_methods_pickle_and_hash():
    method = METHODS["optional_list_first"]

    assert pickle.loads(pickle.dumps(method)) == method
    assert isinstance(hash(method), int)


def test_a_method_as_json_shows_types_and_defaults():
    shown = METHODS["segment"].to_json()

    assert json.loads(json.dumps(shown)) == shown
    assert shown["type"] == "UNARY_UNARY"
    assert shown["inputs"][0] == {"name": "image", "type": "Image", "required": True}
    assert shown["inputs"][1] == {
        "name": "regions",
        "type": "List[Region]",
        "required": False,
        "default": None,
    }
    assert shown["inputs"][4]["choices"] == ["box", "mask", "all"]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("STR", "5", "5"),
        ("STR", "null", None),
        ("STR", "", ""),
        ("INT", "5", 5),
        ("BOOL", "false", False),
        ("JSON_DATA", '{"a": [1]}', {"a": [1]}),
        ("BYTES", "b'x'", "b'x'"),
        ("FLOAT", "", None),
    ],
)
def test_a_default_has_the_declared_type(type_, text, value):
    field = resources_pb2.ModelTypeField(
        name="x", type=resources_pb2.ModelTypeField.DataType.Value(type_), default=text
    )
    method = methods_from_messages([resources_pb2.MethodSignature(name="m", input_fields=[field])])["m"]

    assert method.inputs[0].default == value
    assert type(method.inputs[0].default) is type(value)


def test_limits_of_a_setting_are_known_and_shown():
    field = resources_pb2.ModelTypeField(name="t", type=resources_pb2.ModelTypeField.FLOAT, default="1.0")
    field.model_type_range_info.min, field.model_type_range_info.max = 0.0, 2.0
    method = methods_from_messages([resources_pb2.MethodSignature(name="m", input_fields=[field])])["m"]

    assert method.inputs[0].to_json()["maximum"] == 2.0


def test_fields_of_a_newer_server_are_ignored():
    text = json.dumps({"m": {"methodType": "UNARY_UNARY", "inputFields": [], "new": {"x": 1}}})

    assert methods_from_json(text) == {"m": Method("m", "UNARY_UNARY", ())}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"m": 5}', '"x"'])
def test_what_is_no_signature_json_is_an_endpoint_error(text):
    with pytest.raises(
        EndpointError, match=r"the model's signatures cannot be read \(\w+\); .*model.endpoint"
    ):
        methods_from_json(text)


def test_a_legacy_method_takes_the_content_alone():
    method = legacy_method("image")

    assert method.legacy
    assert method.inputs[0] == Field("image", "IMAGE", required=True)
    assert "**params" in method.signature_text


def test_an_unknown_method_is_refused_with_a_near_one():
    with pytest.raises(MethodError, match=r"model.method: .* no method 'predcit'; did you mean 'predict'"):
        find_method(METHODS, "predcit")


def test_an_unknown_method_is_refused_with_all_there_are():
    with pytest.raises(MethodError, match=r"no method 'zzz'; it has array, json_value, "):
        find_method(METHODS, "zzz")
