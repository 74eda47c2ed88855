"""Every form of answer becomes the rows that the tables promise, or one error and nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pytest
from bulkinfer.transforms.endpoints.clarifai.signatures import Field
from bulkinfer.transforms.errors import DecodeError
from bulkinfer.transforms.metrics import process_metrics
from bulkinfer.transforms.records import Failure, Prediction, Reference
from clarifai_grpc.grpc.api import resources_pb2
from support.answers import (
    add,
    builder_of,
    method,
    output,
    png,
    prediction,
    region,
    returned,
    rows,
    square,
    tables,
)


def test_a_row_says_which_input_run_model_and_call_it_comes_from() -> None:
    message = output(resources_pb2.Data(), id="out-1", prompt_tokens=7, completion_tokens=9, cached_tokens=2)
    message.created_at.seconds, message.created_at.nanos = 1_700_000_000, 5_000

    (row,) = rows(
        prediction(message, width=640, height=480, model_version="v2", orientation=3),
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
        "orientation": 3,
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


def test_an_odd_mask_costs_its_own_region_alone() -> None:
    odd = region(b"\x89PNG broken", id="odd", concepts={"cat": 0.5})
    answer = returned(regions=[region(square()), odd, region(square(side=3))], string_value="text")
    told = process_metrics().snapshot()["masks_unreadable"]

    built = tables(prediction(answer, width=60, height=40))

    (row,), found = built.predictions.to_pylist(), built.masks.to_pylist()
    assert (row["num_regions"], row["text"]) == (3, "text")
    assert [mask["area"] for mask in found] == [225, None, 9]
    assert [mask["segmentation"] is None for mask in found] == [False, True, False]
    assert (found[1]["region_id"], found[1]["label"], found[1]["bbox"]) == ("odd", "cat", None)
    assert [mask["note"] for mask in found] == [
        None,
        "unreadable: the model sent 11 bytes as a mask that Pillow cannot read: UnidentifiedImageError",
        None,
    ]
    assert process_metrics().snapshot()["masks_unreadable"] == told + 1


def test_an_odd_answer_is_one_error_and_leaves_nothing_behind() -> None:
    builder = builder_of(keep_schema=pa.schema([("n", pa.int64())]))
    good = prediction(
        returned(regions=[region(square(), concepts={"cat": 1})]), input_id="good", columns={"n": 1}
    )
    odd = returned(regions=[region(square()), region(b"\x89PNG broken")], string_value="text")
    bad = prediction(odd, input_id="bad", columns={"n": "no number"})
    add(builder, good)
    size, told = builder.nbytes, process_metrics().snapshot()["masks_unreadable"]

    with pytest.raises(DecodeError, match="the kept column 'n' is int64"):
        add(builder, bad)

    assert (builder.nbytes, builder.inputs) == (size, 1)
    add(builder, dataclasses.replace(good, reference=dataclasses.replace(good.reference, input_id="last")))
    built = builder.finish()
    assert built.predictions["input_id"].to_pylist() == ["good", "last"]
    assert built.masks["input_id"].to_pylist() == ["good", "last"]
    assert built.predictions["text"].to_pylist() == [None, None]
    assert [len(one) for one in built.predictions["regions"].to_pylist()] == [1, 1]
    assert built.prediction_inputs.tolist() == built.mask_inputs.tolist() == [0, 1]
    assert process_metrics().snapshot()["masks_unreadable"] == told


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
    builder = builder_of()
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


def test_no_table_holds_the_secrets_of_references() -> None:
    uri = "https://me:hunter2@h/a.jpg?sig=hunter3"
    keep = pa.schema([("u", pa.string()), ("other", pa.string()), ("many", pa.list_(pa.string()))])
    columns = {"u": uri, "other": "https://h/b?sig=hunter4", "many": ["https://h/c?sig=hunter5"]}
    reference = Reference("https://h/a.jpg", uri, "image", columns=columns)
    message = output(resources_pb2.Data(regions=[region(mask=png(square()))]))
    failure = Failure(reference, "call", "refused", f"cannot fetch {uri}: hunter3 is no signature")

    builder = builder_of(keep_schema=keep)
    add(builder, Prediction(reference, (message,)))
    builder.add_failure(failure)
    built = builder.finish()

    [row], [mask], [error] = (table.to_pylist() for table in built[:3])
    assert "hunter" not in str([row, mask, error])
    assert row["uri"] == row["u"] == mask["uri"] == error["uri"] == "https://***@h/a.jpg?sig=***"
    assert (row["other"], row["many"]) == ("https://h/b?sig=***", ["https://h/c?sig=***"])
    assert error["message"] == "cannot fetch https://***@h/a.jpg?***: *** is no signature"


def test_content_in_a_data_uri_stands_in_no_table() -> None:
    uri = "data:image/png;base64," + "A" * 500
    reference = Reference("a", uri, "image", columns={"u": uri})
    builder = builder_of(keep_schema=pa.schema([("u", pa.string())]))
    add(builder, Prediction(reference, (returned(),)))
    builder.add_failure(Failure(reference, "call", "refused", f"cannot fetch {uri}"))
    built = builder.finish()

    [row], [error] = built.predictions.to_pylist(), built.errors.to_pylist()
    assert row["uri"] == row["u"] == error["uri"]
    assert row["uri"].startswith("data:image/png,blake2b:")
    assert error["message"] == f"cannot fetch data:image/png;base64,... ({len(uri)} characters)"


def test_names_that_are_not_utf8_are_escaped() -> None:
    (row,) = rows(Prediction(Reference("caf\udce9", "/caf\udce9", "image"), (returned(),)))

    assert (row["input_id"], row["uri"]) == ("caf\\udce9", "/caf\\udce9")


def test_a_builder_starts_anew_after_finish() -> None:
    builder = builder_of()
    add(builder, prediction(returned(int_value=1)))
    builder.finish()

    assert (builder.nbytes, builder.inputs, builder.finish().predictions.num_rows) == (0, 0, 0)


def test_rows_that_were_sealed_on_the_way_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkinfer.transforms.rows.table_builder._SEAL_BYTES", 500)
    answers = [
        prediction(returned(regions=[region(square())] * (at % 3)), input_id=str(at)) for at in range(30)
    ]

    built = tables(*answers)

    assert built.predictions["input_id"].to_pylist() == [str(at) for at in range(30)]
    assert built.prediction_inputs.tolist() == list(range(30))
    assert built.mask_inputs.tolist() == [at for at in range(30) for _ in range(at % 3)]
    assert built.predictions["num_regions"].to_pylist() == [at % 3 for at in range(30)]
