"""Chat completions: POST /chat/completions, https://platform.openai.com/docs/api-reference/chat."""

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

_OWN = ("system", "prompt", "image", "audio")


def bind(model: str, arguments: Mapping[str, Any], parser: Parser) -> Asked:
    """Build the call out of `system`, `prompt`, `image` and `audio`, or of whole `messages`; all else is passed on.

    Raises:
        MethodError: they do not fit.
    """
    check_one_answer(arguments)
    rest = {name: value for name, value in arguments.items() if name not in (*_OWN, "messages")}
    if "messages" in arguments:
        if both := [name for name in _OWN if name in arguments]:
            raise MethodError(
                f"model.arguments: messages stands in place of {', '.join(both)}; keep one of them"
            )
        messages = parser.structure("messages", arguments["messages"])
        if not isinstance(messages, FromStructure) or messages.keys is not None:
            raise MethodError(
                "model.arguments.messages: it is no list of messages; write [{role, content}, ...]"
            )
    else:
        messages = _messages(arguments, parser)
    streams = bool(rest.get("stream"))
    if streams:
        rest.setdefault("stream_options", {"include_usage": True})
    structure = structure_of(rest.get("response_format"), "model.arguments.response_format", nested=True)
    body = {"model": model, "messages": messages, **{k: parser.structure(k, v) for k, v in rest.items()}}
    each = FromStructure(tuple(body.values()), tuple(body))
    return asked("/chat/completions", each, streams=streams, structure=structure)


def _messages(arguments: Mapping[str, Any], parser: Parser) -> FromStructure:
    parts: list[dict[str, Any]] = []
    for value in _listed(arguments.get("image")):
        parts.append({"type": "image_url", "image_url": {"url": parser.picture("image", value)}})
    for value in _listed(arguments.get("audio")):
        parts.append({"type": "input_audio", "input_audio": parser.recording("audio", value)})
    prompt = parser.text("prompt", arguments["prompt"]) if "prompt" in arguments else None
    if prompt is None and not parts:
        raise MethodError("model.arguments: nothing is asked; write prompt, image, audio, or messages")
    content: Any = prompt
    if parts:
        told = [{"type": "text", "text": prompt}] if prompt is not None else []
        content = structure([*told, *parts])
    messages = [{"role": "user", "content": content}]
    if "system" in arguments:
        messages.insert(0, {"role": "system", "content": parser.text("system", arguments["system"])})
    made: FromStructure = structure(messages)
    return made


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else () if value is None else (value,)


def answers(data: Mapping[str, Any]) -> list[Completion | Fault]:
    """The one answer of a call.

    Raises:
        MisreadError: it has none.
    """
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise MisreadError("it holds no choices[0].message")
    finish = choice.get("finish_reason")
    if finish == "content_filter":
        return [refused("content_filter", "the answer was held back by the server's content filter")]
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        return [refused("refused", f"the model refused: {message['refusal']}")]
    calls = message.get("tool_calls")
    columns = {
        "text": _text(message.get("content")),
        "tool_calls": compact(calls) if calls else None,
        "finish_reason": finish if isinstance(finish, str) else None,
        "reasoning": _text(message.get("reasoning_content") or message.get("reasoning")),
        **tokens_of(data.get("usage"), "prompt_tokens", "completion_tokens", "prompt_tokens_details"),
    }
    return [Completion(columns, *named(data, "created"))]


def joined(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer that the chunks of a stream are the pieces of.

    Raises:
        MisreadError: the stream ended before the answer did.
    """
    whole: dict[str, Any] = {}
    texts: dict[str, list[str]] = {}
    calls: dict[Any, dict[str, Any]] = {}
    finish = None
    for event in events:
        whole.update({k: v for k, v in event.items() if k != "choices" and v is not None})
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or {}
            for name in ("content", "refusal", "reasoning_content", "reasoning"):
                if isinstance(delta.get(name), str):
                    texts.setdefault(name, []).append(delta[name])
            for piece in delta.get("tool_calls") or ():
                _add_call(calls, piece)
            finish = choice.get("finish_reason") or finish
    if finish is None:
        raise MisreadError("the stream ended before the answer did")
    message: dict[str, Any] = {name: "".join(pieces) for name, pieces in texts.items()}
    if calls:
        message["tool_calls"] = list(calls.values())
    return {**whole, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}


def _add_call(calls: dict[Any, dict[str, Any]], piece: Mapping[str, Any]) -> None:
    call = calls.setdefault(piece.get("index", len(calls)), {"function": {"name": "", "arguments": ""}})
    call.update({k: v for k, v in piece.items() if k not in ("index", "function") and v is not None})
    for name, text in (piece.get("function") or {}).items():
        call["function"][name] = (call["function"].get(name) or "") + (text or "")


def _text(content: Any) -> str | None:
    """A text, or the texts of a list of parts; an empty one of a message without content is none."""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else None
