"""POST /v1/chat/completions: reads what is asked, and writes the answer whole or as a stream of chunks."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from .answering import Answer
from .api_error import invalid
from .reading import (
    Ask,
    Medium,
    Tool,
    Turn,
    decoded,
    filled,
    medium_of,
    optional,
    positive,
    required,
    schema_of,
)

__all__ = ["ask_of", "chunks", "completion", "event"]

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = ("text", "image_url", "input_audio", "refusal")


def ask_of(body: Mapping[str, Any]) -> Ask:
    """What a request's body asks; ApiError when something in it does not fit."""
    model = required(body, "model", str)
    turns = tuple(_turn(one, f"messages[{index}]") for index, one in enumerate(filled(body, "messages")))
    if (optional(body, "n", int, default=1)) != 1:
        raise invalid("n", "This server gives one choice: 'n' must be 1.")
    schema, schema_param = None, ""
    if (form := optional(body, "response_format", dict)) is not None:
        schema, schema_param = schema_of(form, "response_format", nested=True)
    stop = optional(body, "stop", str, list, default=[])
    tools = tuple(
        _tool(one, f"tools[{index}]") for index, one in enumerate(optional(body, "tools", list, default=[]))
    )
    max_tokens = positive(body, "max_completion_tokens") or positive(body, "max_tokens")
    options = optional(body, "stream_options", dict, default={})
    return Ask(
        model=model,
        turns=turns,
        param="messages",
        tools=tools,
        tool=_choice(body, tools),
        schema=schema,
        schema_param=schema_param,
        max_tokens=max_tokens,
        stop=tuple(filter(None, [stop] if isinstance(stop, str) else map(str, stop))),
        stream=optional(body, "stream", bool, default=False),
        usage=optional(options, "include_usage", bool, default=False, at="stream_options"),
        body=body,
    )


def completion(ask: Ask, answer: Answer) -> dict[str, Any]:
    """The whole answer."""
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


def chunks(ask: Ask, answer: Answer) -> Iterator[bytes]:
    """The answer as server-sent events, a token each."""
    head = _head(ask, "chat.completion.chunk")
    if ask.usage:
        head["usage"] = None

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**head, "choices": [choice]})

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
        yield event({**head, "choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def _turn(message: Any, at: str) -> Turn:
    if not isinstance(message, dict):
        raise invalid(at, f"Invalid type for '{at}': expected an object.", "invalid_type")
    role = required(message, "role", str, at=at, choices=_ROLES)
    if role == "assistant" and (message.get("tool_calls") or message.get("refusal")):
        content = optional(message, "content", str, list, default="", at=at)
    else:
        content = required(message, "content", str, list, at=at)
    if isinstance(content, str):
        return Turn(role, content)
    texts, media = [], []
    for index, part in enumerate(content):
        read = _part(part, f"{at}.content[{index}]")
        if isinstance(read, Medium):
            media.append(read)
        else:
            texts.append(read)
    return Turn(role, "\n".join(texts), tuple(media))


def _part(part: Any, at: str) -> str | Medium:
    if not isinstance(part, dict):
        raise invalid(at, f"Invalid type for '{at}': expected an object.", "invalid_type")
    kind = required(part, "type", str, at=at, choices=_PARTS)
    if kind == "image_url":
        at = f"{at}.image_url"
        return medium_of(
            "image", required(required(part, kind, dict, at=at[:-10]), "url", str, at=at), f"{at}.url"
        )
    if kind == "input_audio":
        at = f"{at}.input_audio"
        sound = required(part, kind, dict, at=at[:-12])
        required(sound, "format", str, at=at, choices=("wav", "mp3"))
        return Medium("audio", f"{at}.data", decoded(required(sound, "data", str, at=at), f"{at}.data"))
    text: str = required(part, kind, str, at=at)
    return text


def _tool(tool: Any, at: str) -> Tool:
    if not isinstance(tool, dict):
        raise invalid(at, f"Invalid type for '{at}': expected an object.", "invalid_type")
    required(tool, "type", str, at=at, choices=("function",))
    function = required(tool, "function", dict, at=at)
    return Tool(
        required(function, "name", str, at=f"{at}.function"),
        optional(function, "parameters", dict, default={"type": "object"}, at=f"{at}.function"),
    )


def _choice(body: Mapping[str, Any], tools: tuple[Tool, ...]) -> str | Tool:
    choice = optional(body, "tool_choice", str, dict, default="auto" if tools else "none")
    if isinstance(choice, str):
        return str(
            required({"tool_choice": choice}, "tool_choice", str, choices=("none", "auto", "required"))
        )
    function = required(choice, "function", dict, at="tool_choice")
    name = required(function, "name", str, at="tool_choice.function")
    found = next((tool for tool in tools if tool.name == name), None)
    if found is None:
        raise invalid("tool_choice", f"Tool choice '{name}' not found in 'tools' parameter.")
    return found


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
