"""Contents as the API has them, and streams that break anywhere."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import pytest
from bulkinfer.transforms.endpoints.openai.address import parse_api
from bulkinfer.transforms.endpoints.openai.endpoint import OpenAIEndpoint
from bulkinfer.transforms.endpoints.openai.events import EventParser
from bulkinfer.transforms.endpoints.openai.methods import chat, embeddings, responses
from bulkinfer.transforms.endpoints.openai.methods.arguments import Parser
from bulkinfer.transforms.endpoints.openai.methods.completion import MisreadError
from bulkinfer.transforms.endpoints.openai.methods.media import media_type
from bulkinfer.transforms.errors import EncodeError, MethodError
from bulkinfer.transforms.records import Content, Reference
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

STREAM = b': hello\ndata: {"a": 1}\n\nevent: x\nid: 3\ndata: first\r\ndata:second\r\n\r\ndata: [DONE]\n\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_events_are_the_same_wherever_their_bytes_are_broken(cuts: list[int]) -> None:
    parser, events = EventParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        events += parser.feed(STREAM[start:end])

    assert events == [b'{"a": 1}', b"first\nsecond", b"[DONE]"]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
    ],
)
def test_pictures_say_what_they_are(form: str, name: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, form)
    assert media_type(buffer.getvalue()) == name
    assert media_type(buffer.getvalue()[:2]) in (None, "image/bmp")


def body_of(method: Any, arguments: dict[str, Any], data: bytes, media: str = "text") -> Any:
    parser = Parser(media, ("city", "photo"))
    asked = method.bind("m", arguments, parser)
    content = Content(Reference("a", "s3://b/a", media, columns={"city": "Bern", "photo": None}), data)
    return json.loads(asked.body([asked.encode(content)]))


def test_recordings_go_in_base64_with_their_format() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 800)
    body = body_of(chat, {"prompt": "What is said?", "audio": "$content"}, buffer.getvalue(), "audio")

    text, sound_part = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is said?"}
    assert sound_part["type"] == "input_audio"
    assert sound_part["input_audio"]["format"] == "wav"
    assert base64.b64decode(sound_part["input_audio"]["data"]) == buffer.getvalue()
    with pytest.raises(EncodeError, match="neither WAV nor MP3"):
        body_of(chat, {"audio": "$content"}, b"fLaC....", "audio")


def test_the_reference_is_passed_for_the_server_to_fetch() -> None:
    for method, image in (
        (chat, {"type": "image_url", "image_url": {"url": "s3://b/a"}}),
        (responses, {"type": "input_image", "image_url": "s3://b/a"}),
    ):
        body = body_of(method, {"prompt": {"template": "In {city}?"}, "image": "$uri"}, b"", "image")
        messages = body["messages"] if method is chat else body["input"]
        text, part = messages[0]["content"]
        assert (text["text"], part) == ("In Bern?", image)


@pytest.mark.parametrize(
    ("address", "image", "fetched_by"),
    [
        ("https://h/v1", "$uri", "https://h:443/v1"),
        ("http://localhost/v1", "$uri", ""),
        ("https://h/v1", "$content", ""),
    ],
)
def test_a_server_on_another_machine_fetches_what_is_passed_by_reference(
    address: str, image: str, fetched_by: str
) -> None:
    asked = chat.bind("m", {"image": image}, Parser("image", ()))
    needs = OpenAIEndpoint(parse_api(address), "m", "chat", asked).needs

    assert (needs.content, needs.fetched_by) == (image == "$content", fetched_by)


def test_streams_of_chats_ask_for_their_usage() -> None:
    assert body_of(chat, {"prompt": "$content", "stream": True}, b"x")["stream_options"] == {
        "include_usage": True
    }


@pytest.mark.parametrize(
    ("method", "arguments", "told"),
    [
        (chat, {"prompt": "$content", "messages": ["$content"]}, "messages stands in place of prompt"),
        (chat, {"messages": "$content"}, "no list of messages"),
        (chat, {"system": "$content"}, "nothing is asked"),
        (chat, {"prompt": "$content", "model": "x"}, "named in model.name"),
        (chat, {"prompt": "$content", "stream": "yes"}, "write true or false"),
        (responses, {"messages": ["$content"]}, "calls it input"),
        (responses, {"prompt": "$content", "input": "$content"}, "input stands in place of prompt"),
        (embeddings, {"text": "$content"}, "write input: \\$content"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(method: Any, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(MethodError, match=told):
        body_of(method, arguments, b"x")


def test_a_column_without_a_value_is_the_inputs_own_error() -> None:
    with pytest.raises(EncodeError, match="column 'photo' is null"):
        body_of(chat, {"prompt": "$content", "image": "$column.photo"}, b"x")
    with pytest.raises(EncodeError, match="UTF-8"):
        body_of(chat, {"prompt": "$content"}, b"\xff")


@pytest.mark.parametrize(
    "data",
    [
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"embedding": "no base64"}]},
        {"data": [{"embedding": [[1.0]]}]},
        {"data": ["x"]},
        {},
    ],
    ids=["twice", "another index", "no base64", "a matrix", "no object", "nothing"],
)
def test_embeddings_that_are_none_are_told(data: dict[str, Any]) -> None:
    with pytest.raises(MisreadError):
        embeddings.answers(data)


def test_responses_are_read_whole() -> None:
    (answer,) = responses.answers(
        {
            "id": "r1",
            "created_at": 1_760_000_000,
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "It has ears."}]},
                {"type": "message", "content": [{"type": "output_text", "text": "A "}, {"text": "cat"}]},
            ],
            "usage": {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2}},
        }
    )
    assert answer.columns == {
        "text": "A cat",
        "tool_calls": None,
        "finish_reason": "stop",
        "reasoning": "It has ears.",
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "cached_tokens": 2,
    }
    assert (answer.id, answer.created_us) == ("r1", 1_760_000_000_000_000)
    (filtered,) = responses.answers({"output": [], "incomplete_details": {"reason": "content_filter"}})
    assert filtered.error_type == "content_filter"
