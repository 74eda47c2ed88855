"""Responses: POST /responses, https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ....calls.endpoint import Fault
from ....errors import MethodError
from ...arguments.sources import FromStructure
from .arguments import Parser
from .asked import Asked, asked, check_one_answer
from .completion import Completion, MisreadError, compact, named, refused, structure, tokens_of
from .structured import structure_of

__all__ = ["answers", "bind", "joined"]

_OWN = ("system", "prompt", "image")
_ENDED = ("response.completed", "response.incomplete", "response.failed")


def bind(model: str, arguments: Mapping[str, Any], parser: Parser) -> Asked:
    """Build the call out of `system`, `prompt` and `image`, or of a whole `input`; all else is passed on.

    Raises:
        MethodError: they do not fit.
    """
    check_one_answer(arguments)
    if "messages" in arguments:
        raise MethodError(
            "model.arguments.messages: method responses calls it input; write input, or method: chat"
        )
    rest = {name: value for name, value in arguments.items() if name not in (*_OWN, "input")}
    if "input" in arguments:
        if both := [name for name in _OWN if name in arguments]:
            raise MethodError(
                f"model.arguments: input stands in place of {', '.join(both)}; keep one of them"
            )
        asks = {"input": _input(arguments["input"], parser)}
    else:
        asks = _asks(arguments, parser)
    form = rest["text"].get("format") if isinstance(rest.get("text"), Mapping) else None
    wanted = structure_of(form, "model.arguments.text.format", nested=False)
    body = {"model": model, **asks, **{k: parser.structure(k, v) for k, v in rest.items()}}
    each = FromStructure(tuple(body.values()), tuple(body))
    return asked("/responses", each, streams=bool(rest.get("stream")), structure=wanted)


def _input(value: Any, parser: Parser) -> Any:
    return parser.text("input", value) if isinstance(value, str) else parser.structure("input", value)


def _asks(arguments: Mapping[str, Any], parser: Parser) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    if "prompt" in arguments:
        parts.append({"type": "input_text", "text": parser.text("prompt", arguments["prompt"])})
    images = arguments.get("image")
    for value in images if isinstance(images, list) else [images] if images is not None else []:
        parts.append({"type": "input_image", "image_url": parser.picture("image", value)})
    if not parts:
        raise MethodError("model.arguments: nothing is asked; write prompt, image, or input")
    asks: dict[str, Any] = {"input": structure([{"role": "user", "content": parts}])}
    if "system" in arguments:
        asks["instructions"] = parser.text("system", arguments["system"])
    return asks


def answers(data: Mapping[str, Any]) -> list[Completion | Fault]:
    """The one answer of a call.

    Raises:
        MisreadError: it has none.
    """
    output = data.get("output")
    if not isinstance(output, list):
        raise MisreadError("it holds no output")
    details = data.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    if reason == "content_filter":
        return [refused("content_filter", "the answer was held back by the server's content filter")]
    items = [item for item in output if isinstance(item, Mapping)]
    parts = [part for item in items if item.get("type") == "message" for part in _parts(item, "content")]
    if refusal := next((part["refusal"] for part in parts if part.get("refusal")), None):
        return [refused("refused", f"the model refused: {refusal}")]
    calls = [_call(item) for item in items if item.get("type") == "function_call"]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
    thought = [
        part["text"]
        for item in items
        if item.get("type") == "reasoning"
        for part in _parts(item, "summary")
        if isinstance(part.get("text"), str)
    ]
    columns = {
        "text": "".join(texts) if texts else None,
        "tool_calls": compact(calls) if calls else None,
        "finish_reason": "length"
        if reason == "max_output_tokens"
        else reason or ("tool_calls" if calls else "stop"),
        "reasoning": "\n".join(thought) if thought else None,
        **tokens_of(data.get("usage"), "input_tokens", "output_tokens", "input_tokens_details"),
    }
    return [Completion(columns, *named(data, "created_at"))]


def joined(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer that the last event of a stream holds.

    Raises:
        MisreadError: the stream ended before the answer did.
    """
    for event in events:
        if event.get("type") in _ENDED and isinstance(event.get("response"), Mapping):
            return dict(event["response"])
    raise MisreadError("the stream ended before the answer did")


def _parts(item: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = item.get(name)
    return [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else ()


def _call(item: Mapping[str, Any]) -> dict[str, Any]:
    """A call as chat completions have it, so that the column is the same for both."""
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}
