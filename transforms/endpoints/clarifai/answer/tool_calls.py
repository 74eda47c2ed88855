"""Finds tool calls in a model's text, as OpenAI-style models write them.

Three shapes are told from plain text: a chat completion (`choices[0].message`), a message or a list with the
calls alone, and, in a stream, chunks whose deltas add up to either. A text that only looks like one stays a
text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

__all__ = ["Answer", "join_pieces", "may_hold_calls", "read_text", "read_value"]


class Answer(NamedTuple):
    """What a text turned out to hold.

    Attributes:
        text: what the model says; None when it only calls tools.
        calls: the tool calls; None when there are none.
        whole: the parsed completion around both; None for plain text and for bare calls.
    """

    text: str | None
    calls: list[Any] | None = None
    whole: Any = None


def read_text(text: str) -> Answer:
    """Tell text and tool calls apart in a whole answer.

    >>> read_text('[{"type": "function", "function": {"name": "f", "arguments": "{}"}}]').text is None
    True
    """
    if not may_hold_calls(text):
        return Answer(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Answer(text)
    answer = read_value(value)
    return Answer(text) if answer is None else answer


def may_hold_calls(text: str) -> bool:
    """Whether a text is worth parsing: JSON with a word that only tool calls and completions have."""
    start = text[:64].lstrip()[:1]
    return start in ("{", "[") and any(
        word in text for word in ('"tool_calls"', '"function"', '"function_call"', '"choices"')
    )


def read_value(value: Any) -> Answer | None:
    """The same for a parsed answer; None when it is neither a completion nor tool calls."""
    if isinstance(value, list):
        return Answer(None, value) if value and all(map(_is_call, value)) else None
    if not isinstance(value, dict):
        return None
    if _is_call(value):
        return Answer(None, [value])
    message = _message(value)
    if message is None:
        return None
    calls = message.get("tool_calls")
    content = message.get("content")
    held = calls if isinstance(calls, list) and calls and all(map(_is_call, calls)) else None
    return Answer(content if isinstance(content, str) else None, held, value)


def _message(value: dict[str, Any]) -> dict[str, Any] | None:
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        return message if isinstance(message, dict) else None
    return value if isinstance(value.get("tool_calls"), list) else None


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    function = value.get("function")
    if isinstance(function, dict):
        return isinstance(function.get("name"), str)
    return value.get("type") == "function_call" and isinstance(value.get("name"), str)


def join_pieces(pieces: Sequence[str]) -> Answer:
    """Join the pieces of a streamed text, and add up the deltas of tool calls among them."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for piece in pieces:
        delta = _delta(piece)
        if delta is None:
            texts.append(piece)
            continue
        content, deltas = delta
        texts.append(content)
        _add_deltas(calls, deltas)
    text = "".join(texts)
    return Answer(text or None, calls) if calls else read_text(text)


def _delta(piece: str) -> tuple[str, list[Any]] | None:
    """Content and tool calls of a piece that is a chunk; None when it is plain text."""
    if not (may_hold_calls(piece) or '"chat.completion.chunk"' in piece):
        return None
    try:
        value = json.loads(piece)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list):
        return ("", value) if value and all(map(_is_delta, value)) else None
    if not isinstance(value, dict) or value.get("object") != "chat.completion.chunk":
        return None
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    delta = delta if isinstance(delta, dict) else {}
    content, deltas = delta.get("content"), delta.get("tool_calls")
    return (
        content if isinstance(content, str) else "",
        [call for call in deltas if _is_delta(call)] if isinstance(deltas, list) else [],
    )


def _is_delta(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("function"), dict)
        and ("index" in value or "id" in value)
    )


def _add_deltas(calls: list[dict[str, Any]], deltas: Iterable[dict[str, Any]]) -> None:
    """Add the deltas to the calls they continue: by index, else by id, else as a new call."""
    for delta in deltas:
        open_call = next((call for call in calls if _continues(delta, call)), None)
        if open_call is None:
            calls.append({**delta, "function": dict(delta["function"])})
            continue
        function = open_call["function"]
        for key, value in delta["function"].items():
            if key == "arguments" and isinstance(value, str):
                function[key] = (function.get(key) or "") + value
            elif value is not None:
                function.setdefault(key, value)


def _continues(delta: dict[str, Any], call: dict[str, Any]) -> bool:
    if delta.get("index") is not None:
        return bool(delta["index"] == call.get("index"))
    return delta.get("id") is not None and bool(delta["id"] == call.get("id"))
