"""Tool calls are told from text, whole and in pieces; a text that only looks like one stays a text."""

from __future__ import annotations

import json

import pytest
from bulkinfer.transforms.endpoints.clarifai.answer.tool_calls import (
    Answer,
    join_pieces,
    read_text,
    read_value,
)

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


def completion(content: str | None, calls: list[dict] | None) -> dict:
    return {"object": "chat.completion", "choices": [{"message": {"content": content, "tool_calls": calls}}]}


def test_what_only_begins_like_calls_stays_a_text() -> None:
    for text in (
        '{"tool_calls":' * 50_000,
        "[" * 50_000 + '"function"',
        '{"object": "chat.completion.chunk", "choices": {"a": 1}}',
    ):
        assert read_text(text).text == text
        assert join_pieces([text, "x"]).text in (text + "x", "x")


def test_a_list_of_calls_is_calls_and_no_text() -> None:
    assert read_text(json.dumps([CALL])) == Answer(None, [CALL])


def test_a_message_with_calls_keeps_its_text() -> None:
    message = {"content": "let me look", "tool_calls": [CALL]}

    assert read_text(json.dumps(message)) == Answer("let me look", [CALL], message)


def test_a_chat_completion_gives_the_text_of_its_message() -> None:
    whole = completion("hello", None)

    assert read_text(json.dumps(whole)) == Answer("hello", None, whole)


def test_a_parsed_completion_gives_its_calls() -> None:
    whole = completion(None, [CALL])

    assert read_value(whole) == Answer(None, [CALL], whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "[1, 2]",
        '{"function": "of the heart"}',
        '{"tool_calls": [broken',
        '[{"function": {}}]',
        '{"choices": []}',
        'Use "function" calls',
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert read_text(text) == Answer(text)


def test_pieces_of_text_are_joined() -> None:
    assert join_pieces(["a ", "", "b"]) == Answer("a b")


def test_calls_cut_into_pieces_of_one_text_are_found() -> None:
    text = json.dumps([CALL])

    assert join_pieces([text[:20], text[20:]]) == Answer(None, [CALL])


def test_deltas_add_up_by_index() -> None:
    pieces = [
        "I will ask. ",
        json.dumps(
            [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]
        ),
        json.dumps([{"index": 0, "function": {"arguments": '{"x"'}}]),
        json.dumps(
            [{"index": 1, "id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]
        ),
        json.dumps([{"index": 0, "function": {"arguments": ": 1}"}}]),
    ]

    answer = join_pieces(pieces)

    assert answer.text == "I will ask. "
    assert [(call["id"], call["function"]) for call in answer.calls or ()] == [
        ("c1", {"name": "f", "arguments": '{"x": 1}'}),
        ("c2", {"name": "g", "arguments": "{}"}),
    ]


def test_chunks_of_a_chat_completion_add_up() -> None:
    deltas = [
        {"role": "assistant", "content": "It "},
        {"content": "rains"},
        {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
        {},
    ]
    pieces = [
        json.dumps({"object": "chat.completion.chunk", "choices": [{"delta": delta}]}) for delta in deltas
    ]

    answer = join_pieces(pieces)

    assert answer.text == "It rains"
    assert answer.calls == [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]
