"""Chat completions as OpenAI's own client sees them: texts, pictures, sound, streams, tools and structured answers."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import jsonschema
import numpy as np
import pydantic
import pytest
from openai import BadRequestError, OpenAI
from support.http_server import http_server
from support.paths import PHOTOS

ASTRONAUT = (PHOTOS / "astronaut.jpg").read_bytes()
GERMAN = "Guten Morgen, wie geht es euch heute? Das Wetter ist schön. Wir gehen an den Fluss."
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock"}},
]


def _data_url(content: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _picture(url: str, text: str = "What is in this picture?") -> Any:
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]


def _ask(text: str) -> Any:
    return [{"role": "system", "content": "You are brief."}, {"role": "user", "content": text}]


def test_the_models_are_listed_and_told_one_by_one(client: OpenAI) -> None:
    models = {model.id for model in client.models.list()}

    assert {"demo", "echo", "classify", "summarize", "describe", "embed_text", "embed_image"} <= models
    assert client.models.retrieve("classify").owned_by == "bulkinfer"


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("classify", "German"),
        ("https://clarifai.com/u/a/models/classify", "German"),
        ("keywords", "euch, geht, guten"),
        ("measure_text", "16 words in 3 sentences"),
        ("echo", GERMAN),
    ],
)
def test_the_models_name_picks_the_method(client: OpenAI, model: str, answer: str) -> None:
    found = client.chat.completions.create(model=model, messages=_ask(GERMAN))

    text = found.choices[0].message.content
    assert text is not None and text.startswith(answer)
    assert (found.model, found.choices[0].finish_reason) == (model, "stop")


def test_usage_counts_the_prompt_and_the_answer(client: OpenAI) -> None:
    short = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two"}])
    long = client.chat.completions.create(model="echo", messages=_ask("one two three"))

    assert short.usage is not None and long.usage is not None
    assert (short.usage.prompt_tokens, short.usage.completion_tokens, short.usage.total_tokens) == (6, 2, 8)
    # A further message costs four and its own: "You are brief." has four.
    assert (long.usage.prompt_tokens, long.usage.completion_tokens) == (15, 3)


def test_an_answer_is_cut_at_max_tokens_and_before_a_stop(client: OpenAI) -> None:
    cut = client.chat.completions.create(
        model="echo", messages=_ask("one two three"), max_completion_tokens=2
    )
    older = client.chat.completions.create(model="echo", messages=_ask("one two three"), max_tokens=3)
    stopped = client.chat.completions.create(model="echo", messages=_ask("one, two. three"), stop=[".", ","])

    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("one two", "length")
    assert (older.choices[0].message.content, older.choices[0].finish_reason) == ("one two three", "stop")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one", "stop")


def test_a_picture_is_described(client: OpenAI) -> None:
    found = client.chat.completions.create(model="demo", messages=_picture(_data_url(ASTRONAUT)))
    objects = client.chat.completions.create(
        model="segment_anything", messages=_picture(_data_url(ASTRONAUT))
    )

    text = found.choices[0].message.content
    assert text is not None and text.startswith("A picture of 512 x 512 pixels, ")
    assert objects.choices[0].message.content == "32 objects"
    assert found.usage is not None and found.usage.prompt_tokens > 85


def test_a_picture_is_fetched_from_its_url(client: OpenAI) -> None:
    with http_server() as files:
        files.files["a.jpg"] = ASTRONAUT
        found = client.chat.completions.create(model="describe", messages=_picture(files.link("a.jpg")))
        with pytest.raises(BadRequestError, match="Error while downloading") as error:
            client.chat.completions.create(model="describe", messages=_picture(files.link("gone.jpg")))

    assert "512 x 512" in (found.choices[0].message.content or "")
    assert error.value.param == "messages[0].content[1].image_url.url"


def test_a_recording_is_measured(client: OpenAI) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes((np.sin(np.arange(8000) / 5) * 8000).astype("<i2").tobytes())
    data = base64.b64encode(file.getvalue()).decode()
    part: Any = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    found = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": [part]}])

    assert (found.choices[0].message.content or "").startswith(
        "A recording of 1.0 seconds, 1 channels at 8000"
    )


def test_the_pieces_of_a_stream_join_to_the_whole_answer(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=_ask(GERMAN))
    stream = client.chat.completions.create(
        model="demo", messages=_ask(GERMAN), stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)

    assert len(chunks) > 5
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    )
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {chunk.id for chunk in chunks} == {last.id}
    assert (last.choices, last.usage) == ([], whole.usage)


def test_without_include_usage_a_stream_tells_none(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="echo", messages=_ask("one two"), stream=True))

    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize(
    "choice", ["auto", "required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_tool_is_called_with_arguments_that_fit(client: OpenAI, choice: Any) -> None:
    def call(**more: Any) -> Any:
        return client.chat.completions.create(
            model="echo", messages=_ask("Berlin"), tools=TOOLS, tool_choice=choice, **more
        )

    found, again, chunks = call(), call(), list(call(stream=True))

    (made,) = found.choices[0].message.tool_calls
    assert made.function.name == "weather"
    assert json.loads(made.function.arguments) == {"city": "Berlin", "days": 1}
    assert found.choices[0].message.content is None
    assert found.choices[0].finish_reason == ("stop" if isinstance(choice, dict) else "tool_calls")
    assert again.choices[0].message.tool_calls[0] == made
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert (deltas[0].id, deltas[0].function.name) == (made.id, "weather")
    assert "".join(delta.function.arguments for delta in deltas) == made.function.arguments


def test_the_named_tool_is_called_and_none_when_it_must_not_be(client: OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "clock"}}
    clock = client.chat.completions.create(model="echo", messages=_ask("x"), tools=TOOLS, tool_choice=named)
    none = client.chat.completions.create(model="echo", messages=_ask("x"), tools=TOOLS, tool_choice="none")

    call: Any = clock.choices[0].message.tool_calls
    assert (call[0].function.name, call[0].function.arguments) == ("clock", "{}")
    assert (none.choices[0].message.content, none.choices[0].message.tool_calls) == ("x", None)


def test_after_a_tools_answer_comes_text(client: OpenAI) -> None:
    first = client.chat.completions.create(model="echo", messages=_ask("Berlin"), tools=TOOLS)
    call: Any = first.choices[0].message.tool_calls
    turns: Any = [
        *_ask("Berlin"),
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call[0].id, "content": "sunny"},
    ]
    found = client.chat.completions.create(model="echo", messages=turns, tools=TOOLS)

    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("Berlin", "stop")


def test_a_json_object_holds_what_the_model_found(client: OpenAI) -> None:
    found = client.chat.completions.create(
        model="classify", messages=_ask(GERMAN), response_format={"type": "json_object"}
    )

    value = json.loads(found.choices[0].message.content or "")
    assert (value["language"], value["code"]) == ("German", "de")


def test_an_object_fits_its_schema_and_holds_what_the_model_found(client: OpenAI) -> None:
    class Photo(pydantic.BaseModel):
        width: int
        colors: list[str]
        subject: str
        rating: int = pydantic.Field(ge=3, le=5)

    found = client.chat.completions.parse(
        model="describe", messages=_picture(_data_url(ASTRONAUT)), response_format=Photo
    )
    stream = client.chat.completions.create(
        model="describe",
        messages=_picture(_data_url(ASTRONAUT)),
        stream=True,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "photo", "schema": Photo.model_json_schema()},
        },
    )
    joined = json.loads("".join(chunk.choices[0].delta.content or "" for chunk in stream))

    photo = found.choices[0].message.parsed
    assert photo is not None
    assert (photo.width, photo.rating) == (512, 3)
    assert "gray" in photo.colors
    assert joined == photo.model_dump()
    jsonschema.validate(joined, Photo.model_json_schema())
