"""POST /v1/chat/completions: reads what is asked, and writes the answer whole or as a stream of chunks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from .answering import Answer
from .api_error import invalid
from .reading import (
    Ask,
    Medium,
    Turn,
    choice_of,
    filled,
    medium_of,
    objects,
    optional,
    positive,
    required,
    schema_of,
    sound_of,
    tool_of,
)

__all__ = ["ask_of", "events", "whole"]

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def ask_of(body: Mapping[str, Any]) -> Ask:
    """What a request's body asks; ApiError when something in it does not fit."""
    model = required(body, "model", str)
    turns = tuple(_turn(message, at) for message, at in objects(filled(body, "messages"), "messages"))
    if optional(body, "n", int, default=1) != 1:
        raise invalid("n", "This server gives one choice: 'n' must be 1.")
    schema, schema_param = None, ""
    if (form := optional(body, "response_format", dict)) is not None:
        schema, schema_param = schema_of(form, "response_format", nested=True)
    stop = optional(body, "stop", str, list, default=[])
    tools = []
    for tool, at in objects(optional(body, "tools", list, default=[]), "tools"):
        required(tool, "type", str, at=at, choices=("function",))
        tools.append(tool_of(required(tool, "function", dict, at=at), f"{at}.function"))
    options = optional(body, "stream_options", dict, default={})
    return Ask(
        model=model,
        turns=turns,
        param="messages",
        tools=tuple(tools),
        tool=choice_of(body, tools, "function", "name"),
        schema=schema,
        schema_param=schema_param,
        max_tokens=positive(body, "max_completion_tokens") or positive(body, "max_tokens"),
        stop=tuple(filter(None, [stop] if isinstance(stop, str) else map(str, stop))),
        stream=optional(body, "stream", bool, default=False),
        usage=optional(options, "include_usage", bool, default=False, at="stream_options"),
        body=body,
    )


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.tool_call else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.tool_call is not None:
        message["tool_calls"] = [_call(answer)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {**_head(ask, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def events(ask: Ask, answer: Answer) -> Iterator[tuple[str, Any]]:
    """The answer as events without names, a token each."""
    head = _head(ask, "chat.completion.chunk")
    if ask.usage:
        head["usage"] = None

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> tuple[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return "", {**head, "choices": [choice]}

    if answer.tool_call is not None:
        opened = _call(answer)
        opened["function"]["arguments"] = ""
        yield chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **opened}]})
        for token in answer.tokens:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
    else:
        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for token in answer.tokens:
            yield chunk({"content": token})
    yield chunk({}, answer.finish)
    if ask.usage:
        yield "", {**head, "choices": [], "usage": _usage(answer)}
    yield "", "[DONE]"


def _turn(message: Mapping[str, Any], at: str) -> Turn:
    role = required(message, "role", str, at=at, choices=_ROLES)
    may_be_silent = role == "assistant" and (message.get("tool_calls") or message.get("refusal"))
    take = optional if may_be_silent else required
    content = take(message, "content", str, list, at=at) or ""
    if isinstance(content, str):
        return Turn(role, content)
    parts = [_part(part, place) for part, place in objects(content, f"{at}.content")]
    texts = [part for part in parts if isinstance(part, str)]
    return Turn(role, "\n".join(texts), tuple(part for part in parts if isinstance(part, Medium)))


def _part(part: Mapping[str, Any], at: str) -> str | Medium:
    kind = required(part, "type", str, at=at, choices=("text", "image_url", "input_audio", "refusal"))
    if kind == "image_url":
        image, at = required(part, kind, dict, at=at), f"{at}.{kind}"
        return medium_of("image", required(image, "url", str, at=at), f"{at}.url")
    if kind == "input_audio":
        return sound_of(part, at)
    text: str = required(part, kind, str, at=at)
    return text


def _call(answer: Answer) -> dict[str, Any]:
    assert answer.tool_call is not None
    call = answer.tool_call
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _head(ask: Ask, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": "fp_embedded",
    }


def _usage(answer: Answer) -> dict[str, Any]:
    prompt, completed = answer.prompt_tokens, len(answer.tokens)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completed,
        "total_tokens": prompt + completed,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
