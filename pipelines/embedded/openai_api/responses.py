"""POST /v1/responses: reads what is asked, and writes the answer whole or as a stream of events."""

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

_ITEMS = ("message", "function_call", "function_call_output", "reasoning")
_ROLES = ("system", "developer", "user", "assistant")
_PARTS = ("input_text", "output_text", "refusal", "input_image", "input_audio")


def ask_of(body: Mapping[str, Any]) -> Ask:
    """What a request's body asks; ApiError when something in it does not fit."""
    model = required(body, "model", str)
    given = required(body, "input", str, list)
    turns = [Turn("user", given)] if isinstance(given, str) else []
    for item, at in objects([] if turns else filled(body, "input"), "input"):
        turns.append(_turn(item, at))
    if instructions := optional(body, "instructions", str):
        turns.insert(0, Turn("system", instructions))
    if optional(body, "previous_response_id", str):
        raise invalid("previous_response_id", "This server keeps no responses; send the whole conversation.")
    schema, schema_param = None, ""
    if (form := optional(optional(body, "text", dict, default={}), "format", dict, at="text")) is not None:
        schema, schema_param = schema_of(form, "text.format", nested=False)
    tools = []
    for tool, at in objects(optional(body, "tools", list, default=[]), "tools"):
        required(tool, "type", str, at=at, choices=("function",))
        tools.append(tool_of(tool, at))
    return Ask(
        model=model,
        turns=tuple(turns),
        param="input",
        tools=tuple(tools),
        tool=choice_of(body, tools, "name"),
        schema=schema,
        schema_param=schema_param,
        max_tokens=positive(body, "max_output_tokens"),
        stream=optional(body, "stream", bool, default=False),
        body=body,
    )


def whole(ask: Ask, answer: Answer) -> dict[str, Any]:
    """The answer in one piece."""
    return _response(ask, _status(answer), [_item(answer)], answer)


def events(ask: Ask, answer: Answer) -> Iterator[tuple[str, Any]]:
    """The answer as named and numbered events, a token each."""
    numbers = iter(range(1_000_000_000))

    def event(name: str, /, **more: Any) -> tuple[str, Any]:
        return name, {"type": name, "sequence_number": next(numbers), **more}

    begun, item = _response(ask, "in_progress", []), _item(answer)
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    empty: dict[str, Any] = {"arguments": ""} if answer.tool_call is not None else {"content": []}
    opened = {**item, "status": "in_progress", **empty}
    yield event("response.output_item.added", output_index=0, item=opened)
    at: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
    if answer.tool_call is not None:
        for token in answer.tokens:
            yield event("response.function_call_arguments.delta", **at, delta=token)
        call = {"name": item["name"], "arguments": item["arguments"]}
        yield event("response.function_call_arguments.done", **at, **call)
    else:
        at["content_index"] = 0
        part = item["content"][0]
        yield event("response.content_part.added", **at, part={**part, "text": ""})
        for token in answer.tokens:
            yield event("response.output_text.delta", **at, delta=token, logprobs=[])
        yield event("response.output_text.done", **at, text=answer.text, logprobs=[])
        yield event("response.content_part.done", **at, part=part)
    yield event("response.output_item.done", output_index=0, item=item)
    status = _status(answer)
    ended = {**begun, **_ended(status, [item], answer)}
    yield event(f"response.{status}", response=ended)


def _turn(item: Mapping[str, Any], at: str) -> Turn:
    kind = optional(item, "type", str, default="message", at=at, choices=_ITEMS)
    if kind == "function_call_output":
        return Turn("tool", required(item, "output", str, at=at))
    if kind != "message":
        return Turn("assistant", "")
    role = required(item, "role", str, at=at, choices=_ROLES)
    content = required(item, "content", str, list, at=at)
    if isinstance(content, str):
        return Turn(role, content)
    parts = [_part(part, place) for part, place in objects(content, f"{at}.content")]
    texts = [part for part in parts if isinstance(part, str)]
    return Turn(role, "\n".join(texts), tuple(part for part in parts if isinstance(part, Medium)))


def _part(part: Mapping[str, Any], at: str) -> str | Medium:
    kind = required(part, "type", str, at=at, choices=_PARTS)
    if kind == "input_image":
        return medium_of("image", required(part, "image_url", str, at=at), f"{at}.image_url")
    if kind == "input_audio":
        return sound_of(part, at)
    text: str = required(part, "refusal" if kind == "refusal" else "text", str, at=at)
    return text


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish == "length" else "completed"


def _item(answer: Answer) -> dict[str, Any]:
    status, name = _status(answer), uuid.uuid4().hex
    if answer.tool_call is not None:
        call = answer.tool_call
        return {
            "type": "function_call",
            "id": f"fc_{name}",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": status,
        }
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": status, "content": [part]}


def _response(
    ask: Ask, status: str, output: list[dict[str, Any]], answer: Answer | None = None
) -> dict[str, Any]:
    body = ask.body
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "error": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "metadata": body.get("metadata") or {},
        "model": ask.model,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        **_ended(status, output, answer),
    }


def _ended(status: str, output: list[dict[str, Any]], answer: Answer | None) -> dict[str, Any]:
    """What of a response is told when it has ended."""
    usage = None
    if answer is not None:
        usage = {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(answer.tokens),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.prompt_tokens + len(answer.tokens),
        }
    incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {"status": status, "output": output, "incomplete_details": incomplete, "usage": usage}
