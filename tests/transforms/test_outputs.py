"""Every form of answer becomes the rows that the tables promise, or one error and nothing else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bulkinfer.transforms.errors import DecodeError
from bulkinfer.transforms.outputs import TableBuilder, TableOptions, Tables
from bulkinfer.transforms.records import Failure, Prediction, Reference
from bulkinfer.transforms.signatures import Field, Method
from clarifai_grpc.grpc.api import resources_pb2
from google.protobuf import struct_pb2
from pycocotools import mask as coco
from support.answers import output, part, png, prediction, region, returned, square


def tables(*predictions: Prediction, **options: Any) -> Tables:
    builder = TableBuilder(TableOptions("run", **options))
    for one in predictions:
        builder.add(one)
    built = builder.finish()
    for table in built[:3]:
        table.validate(full=True)
    return built


def rows(*predictions: Prediction, **options: Any) -> list[dict[str, Any]]:
    return tables(*predictions, **options).predictions.to_pylist()


def method(kind: str, *outputs: Field) -> Method:
    return Method("predict", kind, (), outputs)


def set_values(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The answer's columns of a row that are not null."""
    meta = {"status_code", "num_regions", "attempts", "latency_ms", "output_index", "media_type"}
    key = {"input_id", "uri", "run_id", *meta}
    return {name: value for name, value in row.items() if value is not None and name not in key}


def test_a_row_says_which_input_run_model_and_call_it_comes_from() -> None:
    message = output(resources_pb2.Data(), id="out-1", prompt_tokens=7, completion_tokens=9, cached_tokens=2)
    message.created_at.seconds, message.created_at.nanos = 1_700_000_000, 5_000

    (row,) = rows(
        prediction(message, width=640, height=480, model_version="v2"),
        model_url="https://m",
        model_version="v1",
    )

    assert {name: value for name, value in row.items() if value is not None} == {
        "input_id": "a",
        "uri": "s3://bucket/a.jpg",
        "output_index": 0,
        "run_id": "run",
        "media_type": "image",
        "width": 640,
        "height": 480,
        "output_id": "out-1",
        "status_code": 10000,
        "created_at": row["created_at"],
        "num_regions": 0,
        "prompt_tokens": 7,
        "completion_tokens": 9,
        "cached_tokens": 2,
        "latency_ms": 12.5,
        "attempts": 2,
        "model_url": "https://m",
        "model_version": "v2",
    }
    assert row["created_at"].isoformat() == "2023-11-14T22:13:20.000005+00:00"


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


def test_regions_are_light_in_predictions_and_whole_in_masks() -> None:
    mask = square(40, 80, top=10, left=20, side=16)
    shape = region(mask, id="r", track_id="t", concepts={"cat": 0.5, "dog": 0.25})

    built = tables(prediction(returned(regions=[region(box=(0.25, 0.5, 0.75, 1), value=0.125), shape])))
    (row,), (found,) = built.predictions.to_pylist(), built.masks.to_pylist()

    assert (row["num_regions"], row["width"], row["height"]) == (2, 80, 40)
    plain, light = row["regions"]
    assert (plain["bbox_rel"], plain["score"], plain["label"]) == ([0.5, 0.25, 0.5, 0.5], 0.125, None)
    assert (light["bbox"], light["label"], light["score"]) == ([20, 10, 16, 16], "cat", 0.5)
    assert {name: found[name] for name in ("region_index", "region_id", "track_id", "label_id", "area")} == {
        "region_index": 1,
        "region_id": "r",
        "track_id": "t",
        "label_id": "id-cat",
        "area": 256,
    }
    assert (found["bbox"], found["bbox_rel"]) == (
        [20, 10, 16, 16],
        [0.25, 0.25, light["bbox_rel"][2], light["bbox_rel"][3]],
    )
    assert found["bbox_source"] == "mask"
    assert np.array_equal(coco.decode(found["segmentation"]), mask)
    assert [one["name"] for one in found["concepts"]] == ["cat", "dog"]


def test_the_models_own_box_is_kept_and_told_apart() -> None:
    built = tables(prediction(returned(regions=[region(square(), (0, 0, 0.5, 0.5))]), width=100, height=50))
    (found,) = built.masks.to_pylist()

    assert (found["bbox"], found["bbox_rel"], found["bbox_source"]) == (
        [0, 0, 50, 25],
        [0, 0, 0.5, 0.5],
        "model",
    )


def test_a_box_has_no_pixels_where_the_size_is_unknown() -> None:
    (row,) = rows(prediction(returned(regions=[region(box=(0, 0, 0.5, 0.5))])))

    assert (row["regions"][0]["bbox"], row["regions"][0]["bbox_rel"]) == (None, [0, 0, 0.5, 0.5])


def test_polygons_keypoints_points_and_texts_are_rows_of_masks_in_pixels() -> None:
    shape = region()
    shape.region_info.polygon.points.add(row=0.5, col=0.25)
    shape.region_info.polygon.points.add(row=1, col=0)
    shape.region_info.keypoint_locations.add(row=0.5, col=0.5, visibility=2)
    shape.region_info.point.row, shape.region_info.point.col = 0.5, 1
    shape.data.text.raw = "STOP"

    (found,) = tables(prediction(returned(regions=[shape]), width=100, height=10)).masks.to_pylist()

    assert found["polygon"] == [[25, 5, 0, 10]]
    assert (found["keypoints"], found["point"], found["text"]) == ([50, 5, 1], [100, 5], "STOP")
    assert (found["segmentation"], found["area"]) == (None, None)


@pytest.mark.parametrize(
    ("masks", "rle", "picture"), [("rle", True, False), ("png", False, True), ("both", True, True)]
)
def test_masks_are_stored_as_asked(masks: str, rle: bool, picture: bool) -> None:
    (found,) = tables(prediction(returned(regions=[region(square())])), masks=masks).masks.to_pylist()

    assert (found["segmentation"] is not None) == rle
    assert (found["mask"] or {}).get("bytes") == (png(square()) if picture else None)
    assert found["bbox"] == [20, 10, 15, 15]


def test_masks_none_leaves_the_table_empty_and_counts_regions() -> None:
    built = tables(prediction(returned(regions=[region(b"never read")])), masks="none")

    assert (built.masks.num_rows, built.predictions["num_regions"].to_pylist()) == (0, [1])


def test_a_png_with_a_box_is_stored_without_being_decoded() -> None:
    broken = png(square())[:60]
    (found,) = tables(
        prediction(returned(regions=[region(broken, (0, 0, 0.5, 0.5))])), masks="png"
    ).masks.to_pylist()

    assert (found["mask"]["bytes"], found["bbox"]) == (broken, [0, 0, 30, 20])


def test_an_odd_mask_is_one_error_and_leaves_nothing_behind() -> None:
    builder = TableBuilder(TableOptions("run", keep_schema=pa.schema([("n", pa.int64())])))
    good = prediction(
        returned(regions=[region(square(), concepts={"cat": 1})]), input_id="good", columns={"n": 1}
    )
    bad = prediction(
        returned(regions=[region(square()), region(b"\x89PNG broken")], string_value="text"), input_id="bad"
    )
    builder.add(good)
    size = builder.nbytes

    with pytest.raises(
        DecodeError, match="region 1: the model sent 11 bytes as a mask that Pillow cannot read"
    ):
        builder.add(bad)

    assert (builder.nbytes, builder.inputs) == (size, 1)
    builder.add(dataclasses.replace(good, reference=dataclasses.replace(good.reference, input_id="last")))
    built = builder.finish()
    assert built.predictions["input_id"].to_pylist() == ["good", "last"]
    assert built.masks["input_id"].to_pylist() == ["good", "last"]
    assert built.predictions["text"].to_pylist() == [None, None]
    assert [len(one) for one in built.predictions["regions"].to_pylist()] == [1, 1]
    assert built.prediction_inputs.tolist() == built.mask_inputs.tolist() == [0, 1]


def test_a_number_too_large_for_its_column_is_one_error() -> None:
    with pytest.raises(
        DecodeError, match="the model sent prompt_tokens=4294967295, which is more than its column"
    ):
        tables(prediction(output(resources_pb2.Data(), prompt_tokens=2**32 - 1)))


def test_a_kept_value_of_another_type_is_one_error_that_names_the_column() -> None:
    keep = pa.schema([("n", pa.int64())])

    assert rows(prediction(returned(), columns={"n": 5}), keep_schema=keep)[0]["n"] == 5
    with pytest.raises(
        DecodeError, match="the kept column 'n' is int64 in the source, but this row holds a str"
    ):
        tables(prediction(returned(), columns={"n": "five"}), keep_schema=keep)


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


STREAM = method("UNARY_STREAMING", Field("return", "STR", iterator=True))


def test_a_streamed_text_is_one_row() -> None:
    outputs = [returned(string_value=piece) for piece in ("Hel", "lo")] + [returned()]
    outputs[-1].completion_tokens = 2

    (row,) = rows(prediction(*outputs), method=STREAM)

    assert (row["text"], row["string_value"], row["completion_tokens"], row["output_index"]) == (
        "Hello",
        "Hello",
        2,
        0,
    )


def test_pieces_follow_the_joined_text_when_asked_for() -> None:
    outputs = [returned(string_value=piece) for piece in ("Hel", "lo")]

    found = rows(prediction(*outputs), method=STREAM, pieces=True)

    assert [(row["output_index"], row["text"]) for row in found] == [(0, "Hello"), (1, "Hel"), (2, "lo")]


def test_a_stream_without_items_is_still_a_row() -> None:
    (row,) = rows(prediction(), method=STREAM)

    assert (row["input_id"], row["output_index"], row["status_code"], row["text"]) == ("a", 0, 10000, None)


def frame(index: int, *regions: Any) -> Any:
    message = resources_pb2.Frame(data=resources_pb2.Data(regions=regions))
    message.frame_info.index, message.frame_info.number, message.frame_info.time = (
        index,
        index + 1,
        index * 40,
    )
    return message


@pytest.mark.parametrize("streamed", [True, False])
def test_a_video_is_a_row_a_frame_and_masks_name_frame_and_track(streamed: bool) -> None:
    frames = [frame(0, region(square(), track_id="7")), frame(1), frame(2, region(square(), track_id="7"))]
    outputs = [returned(frames=[one]) for one in frames] if streamed else [returned(frames=frames)]

    built = tables(prediction(*outputs, media_type="video"))

    key = ["frame_index", "frame_number", "frame_time_ms", "output_index"]
    assert [tuple(row[name] for name in key) for row in built.predictions.to_pylist()] == [
        (0, 1, 0, 0),
        (1, 2, 40, 1),
        (2, 3, 80, 2),
    ]
    assert [
        (*(row[name] for name in key), row["track_id"], row["region_index"])
        for row in built.masks.to_pylist()
    ] == [(0, 1, 0, 0, "7", 0), (2, 3, 80, 2, "7", 0)]


def test_any_other_stream_is_a_row_an_item() -> None:
    found = rows(prediction(returned(int_value=1), returned(int_value=2)), method=method("UNARY_STREAMING"))

    assert [(row["output_index"], row["int_value"]) for row in found] == [(0, 1), (1, 2)]


def test_raw_is_the_message_itself() -> None:
    message = returned(regions=[region(square())])
    joined = [returned(string_value="a"), returned(string_value="b")]

    row, text = rows(prediction(message), prediction(*joined), raw=True)

    assert resources_pb2.Output.FromString(row["raw"]) == message
    pieces = resources_pb2.Output.FromString(text["raw"]).data.parts
    assert [one.data.string_value for one in pieces] == ["a", "b"]


def test_aliases_get_the_same_rows_under_their_own_names() -> None:
    alias = Reference("b", "s3://bucket/b.jpg", "image", columns={"n": 2})
    keep = pa.schema([("n", pa.int64())])

    built = tables(
        prediction(returned(regions=[region(square())]), aliases=(alias,), columns={"n": 1}), keep_schema=keep
    )

    first, second = built.predictions.drop_columns(["input_id", "uri", "n"]).to_pylist()
    assert first == second
    assert built.predictions["n"].to_pylist() == [1, 2]
    assert built.masks["input_id"].to_pylist() == ["a", "b"]
    assert built.masks["segmentation"][0] == built.masks["segmentation"][1]
    assert built.mask_inputs.tolist() == [0, 1]


def test_failures_are_rows_of_errors() -> None:
    builder = TableBuilder(TableOptions("run"))
    reference = Reference("a", None, "text", aliases=(Reference("b", "u", "text"),))
    builder.add_failure(
        Failure(
            reference, "call", "refused", "no", status_code=5, grpc_code="ABORTED", retryable=True, attempts=3
        )
    )

    built = builder.finish()
    first, second = built.errors.to_pylist()

    assert first.pop("failed_at") == second.pop("failed_at")
    assert {name: value for name, value in first.items() if value is not None} == {
        "input_id": "a",
        "run_id": "run",
        "stage": "call",
        "error_type": "refused",
        "message": "no",
        "status_code": 5,
        "grpc_code": "ABORTED",
        "retryable": True,
        "attempts": 3,
    }
    assert (second["input_id"], second["uri"], built.error_inputs.tolist()) == ("b", "u", [0, 1])


def test_names_that_are_not_utf8_are_escaped() -> None:
    (row,) = rows(Prediction(Reference("caf\udce9", "/caf\udce9", "image"), (returned(),)))

    assert (row["input_id"], row["uri"]) == ("caf\\udce9", "/caf\\udce9")


def test_a_builder_starts_anew_after_finish() -> None:
    builder = TableBuilder(TableOptions("run"))
    builder.add(prediction(returned(int_value=1)))
    builder.finish()

    assert (builder.nbytes, builder.inputs, builder.finish().predictions.num_rows) == (0, 0, 0)


def test_rows_that_were_sealed_on_the_way_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkinfer.transforms.outputs._SEAL_BYTES", 500)
    answers = [
        prediction(returned(regions=[region(square())] * (at % 3)), input_id=str(at)) for at in range(30)
    ]

    built = tables(*answers)

    assert built.predictions["input_id"].to_pylist() == [str(at) for at in range(30)]
    assert built.prediction_inputs.tolist() == list(range(30))
    assert built.mask_inputs.tolist() == [at for at in range(30) for _ in range(at % 3)]
    assert built.predictions["num_regions"].to_pylist() == [at % 3 for at in range(30)]
