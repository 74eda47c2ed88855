"""Texts, streams in and out, several kinds of input in one call, and tools, in a job and in one call."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import pytest
from clarifai_grpc.grpc.api import resources_pb2
from support.features import call, jsonl, predictions
from support.http_server import http_server
from support.jobs import photo, rows
from support.paths import SUPPORT
from support.vendor_server import vendor_server

MODEL = SUPPORT / "vendor_types"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
TOOL_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}


@pytest.fixture(scope="module", name="vendor")
def vendor_fixture() -> Iterator[str]:
    with vendor_server(MODEL) as address:
        yield address


def _model(
    endpoint: str, method: str, arguments: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return {"endpoint": endpoint, "method": method, "arguments": arguments or {}, **more}


def _wav(seconds: float, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(b"\x10\x20" * int(seconds * rate))
    return buffer.getvalue()


def test_templates_fill_columns_in(tmp_path, vendor):
    source = jsonl(tmp_path, {"id": "a", "body": "-", "city": "Rome", "n": 3}, keep=["city"])
    prompt = {"template": "{n:03d} pictures of {city} {{sic}}"}

    (row,) = predictions(tmp_path, source, _model(vendor, "chat", {"prompt": prompt}))

    assert (row["text"], row["city"]) == ("said 003 pictures of Rome {sic}", "Rome")
    assert call(vendor, "chat", {"prompt": "Rome"}) == "said Rome"


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_tools_are_offered_and_their_calls_have_a_column(tmp_path, vendor, method):
    choice = {"tool_choice": "auto"} if method == "chat" else {}
    arguments = {"prompt": "$content", "tools": [TOOL], **choice}

    (row,) = predictions(
        tmp_path, jsonl(tmp_path, {"id": "a", "body": "Rome"}), _model(vendor, method, arguments)
    )
    answer = call(vendor, method, {"prompt": "Rome", "tools": [TOOL], **choice})

    (found,) = json.loads(row["tool_calls"])
    assert {key: found[key] for key in TOOL_CALL} == TOOL_CALL
    assert row["text"] is None
    assert "weather" in answer


def test_a_picture_gives_a_stream_of_text_with_its_pieces_and_tokens(tmp_path, vendor):
    (tmp_path / "a.jpg").write_bytes(photo())
    arguments = {"image": "$content", "prompt": "please"}
    pieces = ["a ", f"picture of {len(photo())} bytes", " please"]

    found = predictions(
        tmp_path,
        {"files": str(tmp_path / "*.jpg")},
        _model(vendor, "describe", arguments),
        output={"pieces": True, "raw": True},
    )

    assert [row["text"] for row in found] == ["".join(pieces), *pieces]
    assert [row["output_index"] for row in found] == [0, 1, 2, 3]
    assert (found[0]["prompt_tokens"], found[0]["completion_tokens"]) == (7, 3)
    outputs = [resources_pb2.Output.FromString(row["raw"]) for row in found[1:]]
    assert [output.data.parts[0].data.string_value for output in outputs] == pieces
    given = call(vendor, "describe", {"prompt": "please"}, "--file", f"image={tmp_path / 'a.jpg'}")
    assert given == "".join(pieces)


def test_lines_of_a_text_are_streamed(tmp_path, vendor):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    model = _model(vendor, "lines", {"text": "$content", "mark": "!"})

    (row,) = predictions(tmp_path, {"files": str(tmp_path / "a.txt")}, model)

    assert row["text"] == "ONE!TWO!"
    assert call(vendor, "lines", {"mark": "!"}, "--file", f"text={tmp_path / 'a.txt'}") == "ONE!TWO!"
    assert call(vendor, "lines", {"text": "one\ntwo"}) == "ONE.TWO."


def test_a_list_column_is_streamed(tmp_path, vendor):
    source = jsonl(tmp_path, {"id": "a", "body": "-", "parts": ["x", "y", "z"]})

    (row,) = predictions(tmp_path, source, _model(vendor, "lines", {"text": "$column.parts"}))

    assert row["text"] == "X.Y.Z."
    assert call(vendor, "lines", {"text": ["x", "y", "z"]}) == "X.Y.Z."


def test_a_text_is_streamed_in_pieces_of_bytes(tmp_path, vendor):
    model = _model(vendor, "lines", {"text": "$content"}, stream={"piece_bytes": 3})

    (row,) = predictions(tmp_path, jsonl(tmp_path, {"id": "a", "body": "abcdefg"}), model)

    assert row["text"] == "ABC.DEF.G."
    assert call(vendor, "lines", {"text": "abcdefg"}, "--stream", "piece_bytes=3") == "ABC.DEF.G."


def test_audio_is_streamed_by_bytes_and_by_seconds(tmp_path, vendor):
    (tmp_path / "a.wav").write_bytes(_wav(2.5))
    source, file = {"files": str(tmp_path / "*.wav")}, f"audio={tmp_path / 'a.wav'}"
    arguments = {"audio": "$content", "language": "de"}
    expected = {
        "piece_bytes": (30000, "[de 30000][de 10044]"),
        "piece_seconds": (1, "[de 16044][de 16044][de 8044]"),
    }

    for key, (value, text) in expected.items():
        (tmp_path / key).mkdir()
        model = _model(vendor, "transcribe", arguments, stream={key: value})
        (row,) = predictions(tmp_path / key, source, model)
        assert row["text"] == text
        assert (
            call(vendor, "transcribe", {"language": "de"}, "--file", file, "--stream", f"{key}={value}")
            == text
        )
    assert call(vendor, "transcribe", None, "--file", file) == "[en 40044]"


def test_content_references_and_uris_go_in_one_call(tmp_path, vendor):
    (tmp_path / "near.jpg").write_bytes(photo(1))
    arguments = {
        "image": "$content",
        "other": "$column.other",
        "link": "$uri",
        "prompt": {"template": "in {city}"},
    }
    with http_server() as server:
        server.files["far.jpg"] = photo(2)
        link = server.link("far.jpg")
        source = jsonl(tmp_path, {"id": "a", "uri": link, "other": "near.jpg", "city": "Rome"}, media="image")
        (row,) = predictions(tmp_path, source, _model(vendor, "compare", arguments))

    assert row["text"] == f"{len(photo(2))} {len(photo(1))} {link} in Rome"
    answer = call(
        vendor,
        "compare",
        {"link": link, "prompt": "in Rome"},
        *("--file", f"image={tmp_path / 'near.jpg'}", "--file", f"other={tmp_path / 'near.jpg'}"),
    )
    assert answer == f"{len(photo(1))} {len(photo(1))} {link} in Rome"


def test_a_reference_that_is_missing_costs_its_own_row(tmp_path, vendor):
    for n in range(2):
        (tmp_path / f"{n}.jpg").write_bytes(photo(n))
    records = [{"id": f"{n}", "uri": f"{n}.jpg", "other": ("0.jpg", "gone.jpg")[n]} for n in range(2)]
    arguments = {"image": "$content", "other": "$column.other", "link": "$column.other", "prompt": "p"}

    with pytest.raises(pytest.fail.Exception, match=r"exit 3(.|\n)*1: column 'other', .*gone.jpg"):
        predictions(tmp_path, jsonl(tmp_path, *records, media="image"), _model(vendor, "compare", arguments))

    assert [row["input_id"] for row in rows(tmp_path / "out", "predictions")] == ["0"]


def test_a_job_that_passes_by_url_fetches_nothing(tmp_path, endpoint):
    with http_server() as server:
        server.files["a.jpg"] = photo()
        source = jsonl(tmp_path, {"id": "a", "uri": server.link("a.jpg")}, media="image")
        model = _model(endpoint, "segment_anything", {"image": "$uri"})
        (row,) = predictions(tmp_path, source, model)
        by_job = server.requests["a.jpg"]
        regions = call(endpoint, "segment_anything", {"image": server.link("a.jpg")})
        by_call = server.requests["a.jpg"] - by_job

    assert row["num_regions"] == len(regions) >= 1
    assert by_job == by_call  # the model server's own requests, and none of the job's


def test_a_stream_of_audio_gives_a_row_an_item(tmp_path, endpoint):
    (tmp_path / "a.wav").write_bytes(_wav(1.5))
    model = _model(endpoint, "levels", stream={"piece_seconds": 0.5})

    found = predictions(tmp_path, {"files": str(tmp_path / "*.wav")}, model)
    file = f"audio={tmp_path / 'a.wav'}"
    levels = call(endpoint, "levels", None, "--file", file, "--stream", "piece_seconds=0.5")

    assert [row["output_index"] for row in found] == [0, 1, 2]
    assert [row["float_value"] for row in found] == pytest.approx(levels)
