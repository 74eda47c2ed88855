"""The responses form as OpenAI's own client sees it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pydantic
from openai import OpenAI
from support.paths import PHOTOS

TOOLS: Any = [
    {
        "type": "function",
        "name": "weather",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def test_a_text_is_answered_with_its_usage(client: OpenAI) -> None:
    found = client.responses.create(model="echo", input="one two", instructions="You are brief.")

    assert (found.output_text, found.status, found.model) == ("one two", "completed", "echo")
    assert found.instructions == "You are brief."
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.total_tokens) == (14, 2, 16)


def test_an_answer_that_is_cut_is_incomplete(client: OpenAI) -> None:
    found = client.responses.create(model="echo", input="one two three", max_output_tokens=2)
    events = list(client.responses.create(model="echo", input="one two", max_output_tokens=1, stream=True))

    assert (found.output_text, found.status) == ("one two", "incomplete")
    assert found.incomplete_details is not None and found.incomplete_details.reason == "max_output_tokens"
    assert events[-1].type == "response.incomplete"


def test_messages_with_a_picture_are_answered(client: OpenAI) -> None:
    picture = base64.b64encode((PHOTOS / "astronaut.jpg").read_bytes()).decode()
    content: Any = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{picture}", "detail": "auto"},
    ]
    found = client.responses.create(model="demo", input=[{"role": "user", "content": content}])

    assert found.output_text.startswith("A picture of 512 x 512 pixels, ")


def test_the_events_of_a_stream_are_numbered_and_join_to_the_answer(client: OpenAI) -> None:
    events: Any = list(client.responses.create(model="echo", input="one two three", stream=True))

    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events[4:7]) == events[7].text == "one two three"
    assert events[0].response.id == events[-1].response.id
    assert (events[0].response.usage, events[-1].response.usage.output_tokens) == (None, 3)
    assert events[-1].response.output_text == "one two three"


def test_a_tool_is_called_and_its_answer_is_taken(client: OpenAI) -> None:
    found = client.responses.create(model="echo", input="Berlin", tools=TOOLS)
    events: Any = list(client.responses.create(model="echo", input="Berlin", tools=TOOLS, stream=True))

    call: Any = found.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "weather",
        {"city": "Berlin"},
    )
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments
    assert events[-1].response.output[0].call_id == call.call_id

    answered: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    turns: Any = [{"role": "user", "content": "Berlin"}, call.model_dump(), answered]
    assert client.responses.create(model="echo", input=turns, tools=TOOLS).output_text == "Berlin"


def test_a_structured_answer_fits_its_schema(client: OpenAI) -> None:
    class Language(pydantic.BaseModel):
        language: str
        score: float

    found = client.responses.parse(model="classify", input="Guten Morgen euch allen", text_format=Language)

    assert found.output_parsed is not None
    assert found.output_parsed.language == "German"
    assert 0.5 < found.output_parsed.score <= 1
