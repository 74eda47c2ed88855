"""Each value of an answer finds its column, and what is composed becomes JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bulkinfer.transforms.endpoints.clarifai.signatures import Field
from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf import struct_pb2
from support.answers import method, output, part, png, prediction, region, returned, rows, square, tables

STREAM = method("UNARY_STREAMING", Field("return", "STR", iterator=True))


def set_values(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The answer's columns of a row that are not null."""
    meta = {"status_code", "num_regions", "attempts", "latency_ms", "output_index", "media_type"}
    key = {"input_id", "uri", "run_id", *meta}
    return {name: value for name, value in row.items() if value is not None and name not in key}


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        ({"int_value": 3}, {"int_value": 3}),
        ({"float_value": 0.5}, {"float_value": 0.5}),
        ({"bool_value": True}, {"bool_value": True}),
        ({"bytes_value": b"xyz"}, {"bytes_value": b"xyz"}),
        ({"string_value": "hi"}, {"string_value": "hi", "text": "hi"}),
        ({"text": resources_pb2.Text(raw="hi")}, {"text": "hi"}),
        ({"embeddings": [resources_pb2.Embedding(vector=[1, 2])]}, {"embedding": [1.0, 2.0]}),
        (
            {"ndarray": resources_pb2.NDArray(buffer=b"\1\2", shape=[2], dtype="uint8")},
            {"ndarray": {"buffer": b"\1\2", "shape": [2], "dtype": "uint8"}},
        ),
        ({"image": resources_pb2.Image(base64=b"png")}, {"image": {"bytes": b"png", "path": None}}),
        ({"heatmaps": [resources_pb2.Image(url="u")]}, {"heatmaps": [{"bytes": None, "path": "u"}]}),
        (
            {"audio": resources_pb2.Audio(base64=b"wav")},
            {"bytes_value": b"wav", "json": '{"audio":{"bytes":3}}'},
        ),
        (
            {"colors": [resources_pb2.Color(raw_hex="#fff", value=0.5)]},
            {"colors": [{"raw_hex": "#fff", "w3c_hex": None, "w3c_name": None, "value": 0.5}]},
        ),
    ],
)
def test_each_type_of_value_has_its_column_in_a_part_and_inline(data: dict, columns: dict) -> None:
    in_part, inline = rows(prediction(returned(**data)), prediction(output(resources_pb2.Data(**data))))

    assert set_values(in_part) == columns
    assert set_values(inline) == columns


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [
        ("INT", "int_value", 0),
        ("BOOL", "bool_value", False),
        ("FLOAT", "float_value", 0.0),
        ("STR", "text", ""),
    ],
)
def test_a_zero_that_is_not_sent_is_told_by_the_signature(kind: str, column: str, value: object) -> None:
    (row,) = rows(prediction(returned()), method=method("UNARY_UNARY", Field("return", kind)))

    assert row[column] == value
    assert rows(prediction(returned()))[0][column] is None


def test_the_best_concept_is_the_label() -> None:
    concepts = [
        resources_pb2.Concept(id="d", name="dog", value=0.25),
        resources_pb2.Concept(id="c", value=0.75),
    ]

    (row,) = rows(prediction(output(resources_pb2.Data(concepts=concepts))))

    assert (row["label"], row["score"]) == ("c", 0.75)
    assert row["concepts"] == [
        {"id": "d", "name": "dog", "value": 0.25},
        {"id": "c", "name": None, "value": 0.75},
    ]


def test_a_list_of_scalars_is_json() -> None:
    field = Field("return", "LIST", type_args=(Field("item", "INT"),))
    answer = returned(parts=[part(int_value=1), part(), part(int_value=3)])

    (row,) = rows(prediction(answer), method=method("UNARY_UNARY", field))

    assert set_values(row) == {"json": "[1,0,3]"}


def test_a_tuple_uses_the_columns_of_its_kinds_and_json_keeps_the_whole() -> None:
    answer = returned(
        parts=[
            part("0", string_value="a cat"),
            part("1", float_value=0.5),
            part("2", regions=[region(square())]),
        ]
    )

    built = tables(prediction(answer))
    (row,) = built.predictions.to_pylist()

    assert (row["text"], row["float_value"], row["num_regions"], built.masks.num_rows) == ("a cat", 0.5, 1, 1)
    whole = json.loads(row["json"])
    assert whole[:2] == ["a cat", 0.5]
    assert whole[2]["region_info"]["mask"]["image"] == {"bytes": len(png(square()))}


def test_named_fields_keep_their_names() -> None:
    in_return = returned(parts=[part("caption", string_value="x"), part("alt", string_value="y")])
    of_method = output(resources_pb2.Data(parts=[part("caption", string_value="x"), part("n", int_value=2)]))

    first, second = rows(prediction(in_return), prediction(of_method))

    assert (first["text"], first["json"]) == (None, '{"caption":"x","alt":"y"}')
    assert (second["text"], second["int_value"], second["json"]) == ("x", 2, '{"caption":"x","n":2}')


def test_a_zero_among_several_results_is_told_by_the_signature() -> None:
    results = (Field("caption", "STR"), Field("n", "INT"))
    answer = output(resources_pb2.Data(parts=[part("caption", string_value="x"), part("n")]))

    (row,) = rows(prediction(answer), method=method("UNARY_UNARY", *results))

    assert (row["text"], row["int_value"], row["json"]) == ("x", 0, '{"caption":"x","n":0}')


def test_a_text_sent_in_both_of_its_fields_counts_once() -> None:
    both = {"string_value": "hi", "text": resources_pb2.Text(raw="hi")}

    (row,) = rows(prediction(output(resources_pb2.Data(**both))))
    (streamed,) = rows(
        prediction(output(resources_pb2.Data(**both)), returned(string_value="!")), method=STREAM
    )

    assert (row["text"], row["string_value"], row["json"]) == ("hi", "hi", None)
    assert streamed["text"] == "hi!"


def test_several_pictures_stand_in_heatmaps() -> None:
    pictures = [part(image=resources_pb2.Image(base64=body)) for body in (b"1", b"2")]

    (row,) = rows(prediction(returned(parts=pictures)))

    assert [one["bytes"] for one in row["heatmaps"]] == [b"1", b"2"]
    assert row["json"] == '[{"bytes":1},{"bytes":1}]'


def test_a_struct_and_a_bare_list_are_json() -> None:
    struct, listed = struct_pb2.Struct(), struct_pb2.Struct()
    struct.update({"a": 1, "b": [1.5, "é"]})
    listed.update({"_list": [1, 2]})

    texts = [
        row["json"]
        for row in rows(prediction(returned(struct_value=struct)), prediction(returned(struct_value=listed)))
    ]

    assert json.loads(texts[0]) == {"a": 1, "b": [1.5, "é"]}
    assert json.loads(texts[1]) == [1, 2]


def test_tool_calls_have_their_column_and_the_string_stays_whole() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    struct = struct_pb2.Struct()
    struct.update({"choices": [{"message": {"content": "see", "tool_calls": calls}}]})

    by_text, by_struct = rows(
        prediction(returned(string_value=json.dumps(calls))), prediction(returned(struct_value=struct))
    )

    assert json.loads(by_text["tool_calls"]) == calls
    assert (by_text["text"], by_text["string_value"]) == (None, json.dumps(calls))
    assert (by_struct["text"], json.loads(by_struct["tool_calls"])) == ("see", calls)
    assert "choices" in json.loads(by_struct["json"])
