"""Values of every type make a round trip through the vendor's own server, in a job and in one call."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.features import call, command, jsonl, predictions
from support.jobs import photo
from support.paths import SUPPORT
from support.vendor_server import vendor_server

MODEL = SUPPORT / "vendor_types"
REGION = {"box": [0.125, 0.25, 0.5, 0.75], "concepts": [{"name": "cup", "value": 0.5}], "track_id": "t1"}
FRAME = {"index": 3, "time_ms": 1500, "regions": [REGION]}


@pytest.fixture(scope="module", name="endpoint")
def endpoint_fixture() -> Iterator[str]:
    with vendor_server(MODEL) as address:
        yield address


def _json(row: dict[str, Any]) -> Any:
    return json.loads(row["json"])


def _array(row: dict[str, Any]) -> Any:
    array = row["ndarray"]
    return np.frombuffer(array["buffer"], array["dtype"]).reshape(array["shape"]).tolist()


def _region(row: dict[str, Any]) -> Any:
    (region,) = row["regions"]
    return region["bbox_rel"], region["label"], region["score"], region["track_id"]


def _frame(row: dict[str, Any]) -> Any:
    return (row["frame_index"], row["frame_time_ms"]), _region(row)


def _concepts(row: dict[str, Any]) -> Any:
    return [(concept["name"], round(concept["value"], 4)) for concept in row["concepts"]]


BOX = ([0.125, 0.25, 0.375, 0.5], "cup", 0.5, "t1")  # x, y, width, height
CASES: list[tuple[str, list[Any], Any, list[Any]]] = [
    ("a_str", ["x", "", "ü"], "string_value", ["x", "", "ü"]),
    ("a_text", ["x", "ü"], "text", ["x", "ü"]),
    ("an_int", [7, 0, -(2**40)], "int_value", [7, 0, -(2**40)]),
    ("a_float", [0.5, 0.0, -2.0], "float_value", [0.5, 0.0, -2.0]),
    ("a_bool", [True, False], "bool_value", [True, False]),
    ("some_bytes", ["xy"], "bytes_value", [b"xy"]),
    ("a_dict", [{"k": [1, {"n": None}]}], _json, [{"k": [1, {"n": None}]}]),
    ("a_json", [{"k": True}], _json, [{"k": True}]),
    ("an_array", [[[1.5, 2], [3, 4]], [0.0]], _array, [[[1.5, 2], [3, 4]], [0.0]]),
    ("a_concept", [{"name": "cup", "value": 0.25}], _concepts, [[("cup", 0.25)]]),
    ("some_concepts", [[{"name": "a", "value": 0.5}, "b"]], _concepts, [[("a", 0.5), ("b", 1.0)]]),
    ("a_region", [REGION], _region, [BOX]),
    ("some_regions", [[REGION]], _region, [BOX]),
    ("a_frame", [FRAME], _frame, [((3, 1500), BOX)]),
    ("some_frames", [[FRAME]], _frame, [((3, 1500), BOX)]),
    ("some_numbers", [[1, 0, 3]], _json, [[1, 0, 3]]),
    ("some_words", [["a", ""], ["b"]], _json, [["a", ""], ["b"]]),
    ("some_dicts", [[{"a": 1}, {"b": "c"}]], _json, [[{"a": 1}, {"b": "c"}]]),
    ("a_tuple", [[1, "x", 2.5]], _json, [[1, "x", 2.5]]),
    ("named_fields", [{"x": 0, "y": ""}], _json, [{"x": 0, "y": ""}]),
]


@pytest.mark.parametrize(("method", "values", "column", "expected"), CASES, ids=[case[0] for case in CASES])
def test_a_column_goes_in_and_comes_out(tmp_path, endpoint, method, values, column, expected):
    # One value a column, so that the type inferred from JSON Lines is the value's own.
    records = [{"id": f"{n}", "body": "-", "v": value} for n, value in enumerate(values)]
    model = {"endpoint": endpoint, "method": method, "arguments": {"value": "$column.v"}}

    found = predictions(tmp_path, jsonl(tmp_path, *records), model)

    assert [column(row) if callable(column) else row[column] for row in found] == expected


def test_one_call_takes_and_gives_them_too(endpoint):
    same = [
        "a_str",
        "a_text",
        "an_int",
        "a_float",
        "a_bool",
        "a_dict",
        "a_json",
        "some_numbers",
        "some_words",
    ]
    same += ["some_dicts", "a_tuple", "named_fields"]
    given = {method: values for method, values, _, _ in CASES}

    for method in same:
        assert call(endpoint, method, {"value": given[method][-1]}) == given[method][-1], method
    assert call(endpoint, "some_bytes", {"value": "xy"}) == {"base64": base64.b64encode(b"xy").decode()}
    assert call(endpoint, "an_array", {"value": [1.5, 2]})["data"] == [1.5, 2]
    assert call(endpoint, "a_concept", {"value": "cup"})["name"] == "cup"
    assert call(endpoint, "some_concepts", {"value": ["a", "b"]})[1]["name"] == "b"
    assert call(endpoint, "a_region", {"value": REGION})["box"] == REGION["box"]
    assert call(endpoint, "some_regions", {"value": [REGION]})[0]["track_id"] == "t1"
    frames = [
        call(endpoint, "a_frame", {"value": FRAME}),
        call(endpoint, "some_frames", {"value": [FRAME]})[0],
    ]
    assert [(frame["index"], frame["time_ms"]) for frame in frames] == [(3, 1500)] * 2


MEDIA = [
    ("an_image", "image", "a.jpg", photo(), lambda row: row["image"]["bytes"]),
    ("an_audio", "audio", "a.wav", b"RIFF....WAVE", lambda row: row["bytes_value"]),
    ("a_video", "video", "a.mp4", b"....ftypmp42", lambda row: row["bytes_value"]),
]


@pytest.mark.parametrize(
    ("method", "media", "name", "data", "column"), MEDIA, ids=[case[0] for case in MEDIA]
)
def test_files_go_in_and_come_out(tmp_path, endpoint, method, media, name, data, column):
    (tmp_path / name).write_bytes(data)

    (row,) = predictions(tmp_path, {"files": str(tmp_path / name)}, {"endpoint": endpoint, "method": method})
    answer = call(endpoint, method, None, "--file", f"value={tmp_path / name}")

    assert row["media_type"] == media
    assert column(row) == data
    assert base64.b64decode(answer["base64"]) == data


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_list_of_references_is_fetched(tmp_path, endpoint, suffix):
    sizes = []
    for n in range(2):
        (tmp_path / f"{n}.jpg").write_bytes(photo(n))
        sizes.append(len(photo(n)))
    if suffix == "jsonl":
        source = jsonl(tmp_path, {"id": "x", "body": "both", "pictures": ["0.jpg", "1.jpg"]})
    else:
        (tmp_path / "refs.csv").write_text('id,body,pictures\nx,both,"[""0.jpg"", ""1.jpg""]"\n')
        source = {
            "manifest": str(tmp_path / "refs.csv"),
            "media": "text",
            "columns": {"content": "body", "id": "id"},
        }
    arguments = {"images": "$column.pictures", "note": "$content"}

    (row,) = predictions(tmp_path, source, {"endpoint": endpoint, "method": "sizes", "arguments": arguments})
    files = [word for n in range(2) for word in ("--file", f"images={tmp_path / f'{n}.jpg'}")]

    assert _json(row) == sizes == call(endpoint, "sizes", None, *files)


DEFAULTS = {"count": 5, "factor": 0.5, "flag": True, "word": "w", "names": ["a"], "temperature": 0.7}
EMPTY = {"count": 0, "factor": 0.0, "flag": False, "word": "", "names": [], "temperature": 0.0}


@pytest.mark.parametrize(
    "given", [{}, EMPTY, {"temperature": 1.5, "count": -1}], ids=["none", "empty", "some"]
)
def test_constants_arrive_as_they_are_and_defaults_where_none_is_given(tmp_path, endpoint, given):
    model = {"endpoint": endpoint, "method": "settings", "arguments": {"text": "$content", **given}}

    (row,) = predictions(tmp_path, jsonl(tmp_path, {"id": "x", "body": "hi"}), model)

    assert _json(row) == {"text": "hi", **DEFAULTS, **given}
    assert call(endpoint, "settings", {"text": "hi", **given}) == {"text": "hi", **DEFAULTS, **given}


def test_methods_lists_parameters_types_and_defaults(endpoint):
    listed = command("methods", "--endpoint", endpoint)

    assert "some_frames(value: List[Frame]) -> List[Frame]    # UNARY_UNARY" in listed
    assert "describe(image: Image, prompt: str = '') -> Iterator[str]    # UNARY_STREAMING" in listed
    assert "temperature: float = 0.7" in listed
