"""Streams of requests: what the vendor's server reads out of them, item by item."""

from __future__ import annotations

import io
import wave

import pytest
from bulkinfer.transforms.endpoints.clarifai.request.wire import (
    stream_requests,
)
from bulkinfer.transforms.errors import EncodeError, MethodError
from bulkinfer.transforms.job.config import StreamConfig
from bulkinfer.transforms.records import CONTENT_LIST
from clarifai_grpc.grpc.api import service_pb2
from support.wire import ENVELOPE, bound, content_of, streamed


def test_a_text_streams_by_its_lines():
    binding = bound("stream_text", {"lines": "$content", "suffix": "?"}, "text")

    assert streamed(binding, content_of("one\n\nzwö\n".encode())) == ["one?", "?", "zwö?"]


def test_a_text_streams_by_pieces():
    binding = bound(
        "stream_text", {"lines": "$content", "suffix": ""}, "text", stream=StreamConfig(piece_bytes=3)
    )

    assert streamed(binding, content_of("abcdé".encode())) == ["abc", "dé"]


@pytest.mark.parametrize("value", [["one", "two"], '["one", "two"]', "one\ntwo"])
def test_a_column_streams_its_list_or_lines(value):
    binding = bound("stream_text", {"lines": "$column.a"}, "text")

    assert streamed(binding, content_of(columns={"a": value})) == ["one!", "two!"]


def test_content_that_is_a_list_streams_item_by_item():
    """As `columns.content` gives it, which names a column of lists."""
    binding = bound("stream_text", {"lines": "$content"}, "text")
    content = content_of(b'["one", "a\\nb"]', {CONTENT_LIST: ["one", "a\nb"]})

    assert streamed(binding, content) == ["one!", "a\nb!"]
    with pytest.raises(EncodeError, match="gives nothing to stream"):
        stream_requests(binding, ENVELOPE, content_of(b"[]", {CONTENT_LIST: []}))


def test_constants_and_templates_stream_too():
    constants = bound("stream_text", {"lines": ["one", "two"], "suffix": "$column.a"}, "text")
    template = bound("stream_text", {"lines": {"template": "{a}\n{b}"}}, "text")

    assert streamed(constants, content_of(columns={"a": "#"})) == ["one#", "two#"]
    assert streamed(template, content_of(columns={"a": "one", "b": "two"})) == ["one!", "two!"]


def test_audio_streams_by_bytes_by_seconds_or_whole():
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(1000)
        writer.writeframes(bytes(5000))
    data = target.getvalue()

    def lengths(**stream):
        binding = bound("stream_audio", {"audio": "$content"}, "audio", stream=StreamConfig(**stream))
        return streamed(binding, content_of(data))

    assert lengths() == [f"en:{len(data)}"]
    assert lengths(piece_bytes=3000) == ["en:3000", "en:2044"]
    assert lengths(piece_seconds=1) == ["en:2044", "en:2044", "en:1044"]


def test_a_fetched_column_streams_like_content():
    binding = bound("stream_audio", {"audio": "$column.a"}, "text", stream=StreamConfig(piece_bytes=2))

    assert streamed(binding, content_of(columns={"a": "s3://x"}, fetched={"a": b"12345"})) == [
        "en:2",
        "en:2",
        "en:1",
    ]


def test_a_reference_streams_as_one_item():
    binding = bound("stream_audio", {"audio": "$uri"}, "audio")

    [message] = stream_requests(binding, ENVELOPE, content_of(None))

    request = service_pb2.PostModelOutputsRequest.FromString(message)
    assert request.inputs[0].data.parts[0].data.audio.url == "https://h/x"


def test_every_message_of_a_stream_carries_the_envelope_and_the_method():
    binding = bound("stream_text", {"lines": "$content", "suffix": "?"}, "text")

    first, later = map(
        service_pb2.PostModelOutputsRequest.FromString,
        stream_requests(binding, ENVELOPE, content_of(b"a\nb")),
    )

    assert first.model_id == later.model_id == "sam2"
    assert [part.id for part in first.inputs[0].data.parts] == ["lines", "suffix"]
    assert [part.id for part in later.inputs[0].data.parts] == ["lines"]
    assert later.inputs[0].data.metadata["_method_name"] == "stream_text"


def test_nothing_to_stream_is_an_encode_error():
    binding = bound("stream_text", {"lines": "$content"}, "text")

    with pytest.raises(EncodeError, match="the content gives nothing to stream to 'lines'"):
        stream_requests(binding, ENVELOPE, content_of(b""))


def test_a_unary_method_takes_no_stream():
    with pytest.raises(MethodError, match="predict has no argument that streams; call it as UNARY_UNARY"):
        stream_requests(bound("predict", {}), ENVELOPE, content_of())
